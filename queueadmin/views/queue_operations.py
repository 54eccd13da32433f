"""Operations on queues as the admin offers them: what each is called, needs, asks, and says when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from queueadmin import operations
from queueadmin.operations import MAX_LIMIT, MAX_PARTITION_KEY, LimitResult, QueueResult
from queueadmin.search.fields import span
from queueadmin.search.language import SearchError
from queueadmin.views.base import number_of_jobs


class QueueForm(forms.Form):
    """What a confirmation asks beside the reason. `options` are keyword arguments of the operation."""

    def options(self) -> dict[str, Any]:
        return dict(self.cleaned_data)


class PauseForm(QueueForm):
    """When the pause ends by itself."""

    length = forms.CharField(
        label="Resume by itself after", required=False, max_length=8,
        help_text="Such as 30m, 2h or 1d. Empty: it stays paused until somebody resumes it.",
    )  # fmt: skip

    def clean_length(self) -> timedelta | None:
        text = self.cleaned_data["length"].strip()
        if not text:
            return None
        try:
            length = span(text)
        except SearchError as error:
            raise forms.ValidationError(str(error)) from error
        if not timedelta() < length <= operations.LONGEST_PAUSE:
            raise forms.ValidationError(f"From 1s to {operations.LONGEST_PAUSE.days}d.")
        return length

    def options(self) -> dict[str, Any]:
        length = self.cleaned_data["length"]
        return {"resume_at": None if length is None else timezone.now() + length}


class PurgeForm(QueueForm):
    """The depth that the confirmation named."""

    expected = forms.IntegerField(widget=forms.HiddenInput, min_value=0, max_value=2**62)


class LimitForm(QueueForm):
    """How many jobs may run at once, of whom."""

    limit = forms.IntegerField(
        label="At most so many at once", required=False, min_value=0, max_value=MAX_LIMIT,
        help_text="0 lets none run. Empty: no limit.",
    )  # fmt: skip
    partition = forms.CharField(
        label="Only of this tenant", required=False, max_length=MAX_PARTITION_KEY, empty_value=None,
        help_text="Empty: of the whole queue.",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class QueueOperation:
    """An operation on a queue. `tell` says what became of it, and whether it changed anything."""

    name: str
    label: str
    permission: str
    explanation: str
    act: Callable[..., Any]
    tell: Callable[[Any], tuple[bool, str]]
    form: type[QueueForm] = QueueForm
    is_destructive: bool = False


def _paused(result: QueueResult) -> tuple[bool, str]:
    if result.changed:
        return True, f"The queue {result.queue} is paused. What runs goes on; the page tells when nothing does."
    return False, f"The queue {result.queue} was already paused."


def _resumed(result: QueueResult) -> tuple[bool, str]:
    state = "is running again" if result.changed else "was already running"
    return bool(result.changed), f"The queue {result.queue} {state}."


def _purged(result: QueueResult) -> tuple[bool, str]:
    return True, f"{number_of_jobs(result.changed).capitalize()} of {result.queue} cancelled."


def _limited(result: LimitResult) -> tuple[bool, str]:
    whose = f"the queue {result.queue}" if result.partition is None else f"{result.partition} in {result.queue}"
    if result.limit is None:
        return True, f"There is no limit for {whose} any more."
    return True, f"At most {number_of_jobs(result.limit)} of {whose} at once; workers heed it within a second."


_CONTROL = "queueadmin.pause_queue"
QUEUE_OPERATIONS = {
    operation.name: operation
    for operation in (
        QueueOperation(
            name="pause", label="Pause", permission=_CONTROL, act=operations.pause, tell=_paused, form=PauseForm,
            explanation="Workers take nothing more from it. What runs goes on, and new jobs are still accepted.",
        ),
        QueueOperation(
            name="drain", label="Drain", permission=_CONTROL, act=operations.drain, tell=_paused, form=PauseForm,
            explanation=(
                "A pause, for whoever waits until nothing runs any more: workers take nothing more from it, what runs "
                "ends, and the page says so. Jobs are still accepted and wait."
            ),
        ),
        QueueOperation(
            name="resume", label="Resume", permission=_CONTROL, act=operations.resume, tell=_resumed,
            explanation="Workers take jobs from it again.",
        ),
        QueueOperation(
            name="limit", label="Limit", permission="queueadmin.limit_queue", act=operations.set_limit, tell=_limited,
            form=LimitForm,
            explanation=(
                "At most so many of its jobs run at once, on all workers together. What runs already goes on; others "
                "wait their turn without holding up other queues or tenants."
            ),
        ),
        QueueOperation(
            name="purge", label="Purge", permission="queueadmin.purge_job", act=operations.purge, tell=_purged,
            form=PurgeForm, is_destructive=True,
            explanation=(
                "Every pending job of the queue is cancelled. Scheduled, retrying and running jobs stay. "
                "Cancelled jobs can be retried until retention removes them."
            ),
        ),
    )
}  # fmt: skip
