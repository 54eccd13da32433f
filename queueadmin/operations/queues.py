"""What people do to queues: pause, drain, resume, purge; and the repair of the broker's ready sets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Unpack
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from queueadmin import lookup, selectors
from queueadmin.audit import Who, audited
from queueadmin.broker import get_ledger_broker
from queueadmin.jobs import Ready
from queueadmin.models import QueueControl
from queueadmin.operations.batches import BATCH, Author, cancel_waiting
from queueadmin.operations.results import DepthChanged, InvalidTime, Progress, QueueResult, UnknownQueue, untold
from queueadmin.sanitize import clean_text
from queueadmin.sweep import Swept, sweep

LONGEST_PAUSE = timedelta(days=366)
_EVER = 2**62
_SLACK = 10
"""So many jobs more or less than shown are no other depth, nor is a fifth of it."""
_POLL_SECONDS = 0.5


# -- purge ---------------------------------------------------------------------------------------


def purge(
    queue: str, *, expected: int | None = None, on_progress: Progress = untold, **who: Unpack[Who]
) -> QueueResult:
    """Cancel the pending jobs of a queue, batch by batch; scheduled, retrying and running ones stay.

    It ends after as many jobs as were pending when it began, so that it never chases new ones. `expected` is the depth
    that was shown to whoever confirmed. Raises UnknownQueue, DepthChanged.
    """
    require_known(queue)
    depth = selectors.pending_count(queue)
    if expected is not None and abs(depth - expected) > max(_SLACK, expected // 5):
        raise DepthChanged(queue, expected=expected, depth=depth)
    with audited("purge", queue, depth, **who) as log:
        seen, after, author = 0, None, Author.of(log)
        while seen < depth and (page := _page(queue, after, min(BATCH, depth - seen))):
            log.done += len(cancel_waiting([job.id for job in page], author))
            seen += len(page)
            after = (page[-1].order_key, page[-1].id)
            on_progress(seen)
    return QueueResult(log_id=log.pk, queue=queue, requested=depth, changed=log.done)


def _page(queue: str, after: tuple[int, UUID] | None, limit: int) -> list[Ready]:
    return lookup.pending_page(queue, after=after, due_before=_EVER, limit=limit)


# -- pause, drain, resume ------------------------------------------------------------------------


def pause(queue: str, *, resume_at: datetime | None = None, **who: Unpack[Who]) -> QueueResult:
    """Let no worker claim from a queue; what runs goes on, and submissions are accepted.

    With `resume_at`, the dispatcher resumes it then; given for a queue that is paused already, only that moment is
    set. Raises UnknownQueue, InvalidTime.
    """
    return _pause("pause", queue, resume_at, who)


def drain(queue: str, *, resume_at: datetime | None = None, **who: Unpack[Who]) -> QueueResult:
    """As `pause`, for whoever waits until nothing runs any more: `running` says how much does.

    Raises UnknownQueue, InvalidTime.
    """
    return _pause("drain", queue, resume_at, who)


def _pause(operation: str, queue: str, resume_at: datetime | None, who: Who) -> QueueResult:
    require_known(queue)
    if resume_at is not None and not timedelta() < resume_at - timezone.now() <= LONGEST_PAUSE:
        raise InvalidTime(f"A queue is resumed in the future, within {LONGEST_PAUSE.days} days.")
    with audited(operation, queue, 1, **who) as log:
        QueueControl.objects.get_or_create(queue=queue)
        rows = QueueControl.objects.filter(queue=queue)
        log.done = rows.filter(paused_at=None).update(
            paused_at=timezone.now(), paused_by=log.by[:150], reason=clean_text(who.get("reason", "")),
            resume_at=resume_at,
        )  # fmt: skip
        if resume_at is not None:
            log.done = log.done or rows.update(resume_at=resume_at)
            log.detail = {"resume_at": resume_at.isoformat()}
    return QueueResult(log_id=log.pk, queue=queue, requested=1, changed=log.done)


def running(queue: str) -> int:
    """How many jobs of a queue workers hold now."""
    return selectors.running_count(queue)


def wait_until_drained(
    queue: str, *, seconds: float, on_progress: Progress = untold, sleep: Callable[[float], object] = time.sleep
) -> int:
    """Wait until nothing of a paused queue runs, at most `seconds`; returns how many jobs still run."""
    ends = time.monotonic() + seconds
    while (left := running(queue)) and time.monotonic() < ends:
        on_progress(left)
        sleep(_POLL_SECONDS)
    return left


def resume(queue: str, **who: Unpack[Who]) -> QueueResult:
    """Let workers claim from a paused queue again. Raises UnknownQueue."""
    require_known(queue)
    with audited("resume", queue, 1, **who) as log:
        paused = QueueControl.objects.filter(queue=queue, paused_at__isnull=False)
        log.done = paused.update(paused_at=None, paused_by="", reason="", resume_at=None)
        _publish_head(queue)
    return QueueResult(log_id=log.pk, queue=queue, requested=1, changed=log.done)


def _publish_head(queue: str) -> None:
    """What was popped while it was being paused waits for the next sweep; the head need not, and stays the head."""
    head = [replace(job, given_back=True) for job in _page(queue, None, BATCH)]
    transaction.on_commit(lambda: get_ledger_broker().publisher.publish(head))


def resume_due() -> list[str]:
    """Resume the queues whose time has come, in the name of the dispatcher; returns their names."""
    due = QueueControl.objects.filter(paused_at__isnull=False, resume_at__lte=timezone.now())
    resumed = []
    for control in due:
        reason = f"The pause by {control.paused_by} was to end at {control.resume_at:%Y-%m-%d %H:%M:%S %Z}."
        if resume(control.queue, by="dispatcher", source="system", reason=reason).changed:
            resumed.append(control.queue)
    return resumed


# -- the broker ----------------------------------------------------------------------------------


def repair(*, on_progress: Progress = untold, **who: Unpack[Who]) -> Swept:
    """Publish every pending job that the broker lacks, now. Raises BrokerUnavailable."""
    with audited("repair", "all queues", 0, **who) as log:
        sets = get_ledger_broker().ready_sets
        sets.ping()  # with nothing pending the sweep asks nobody, and "repaired" would be a guess
        swept = sweep(sets, on_progress=on_progress)
        log.requested, log.done = swept.republished, swept.republished
        log.detail = {"pending": swept.pending}
    return swept


def require_known(queue: str) -> None:
    """Raises UnknownQueue."""
    known = selectors.known_queues()
    if queue not in known:
        raise UnknownQueue(queue, known)
