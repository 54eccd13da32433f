"""What people do to single jobs: retry, cancel, discard, change the priority."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Unpack
from uuid import UUID

from queueadmin import edges, selectors
from queueadmin.audit import Who, audited
from queueadmin.jobs import Changes
from queueadmin.models import Job
from queueadmin.operations.batches import BATCH, HIGHEST_PRIORITY, LOWEST_PRIORITY, Author, carry_out
from queueadmin.operations.batches import retry_changed as retry_changed_job
from queueadmin.operations.results import (
    CANCEL_REQUESTED,
    CLEANED_UP,
    NOT_FOUND,
    UNIQUE_KEY_HELD,
    Eligibility,
    InvalidChange,
    OperationResult,
    Progress,
    untold,
)
from queueadmin.states import State

MAX_ATTEMPTS = 100
LONGEST_DELAY_SECONDS = 366 * 24 * 3600.0
_REMEMBERED_IDS = 100
"""Ids that an audit row lists; each job's own events say who did what in any case."""


def retry(
    ids: Iterable[UUID], *, now: bool = False, on_progress: Progress = untold, **who: Unpack[Who]
) -> OperationResult:
    """Queue failed, dead-lettered and cancelled jobs again, with fresh attempts and the same ids.

    With `now`, jobs that wait for their time (scheduled, retrying) become due at once as well.
    """
    return _on_jobs("retry_now" if now else "retry", ids, who, on_progress)


def cancel(ids: Iterable[UUID], *, on_progress: Progress = untold, **who: Unpack[Who]) -> OperationResult:
    """Stop jobs: waiting ones at once, running ones by asking their workers, which takes a second or two."""
    return _on_jobs("cancel", ids, who, on_progress)


def discard(ids: Iterable[UUID], *, on_progress: Progress = untold, **who: Unpack[Who]) -> OperationResult:
    """Give dead letters up: they become cancelled."""
    return _on_jobs("discard", ids, who, on_progress)


def change_priority(ids: Iterable[UUID], *, priority: int, **who: Unpack[Who]) -> OperationResult:
    """Give waiting jobs another priority, and with it another place in line. Raises ValueError out of range."""
    if not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise ValueError(f"A priority is a number from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}.")
    return _on_jobs("priority", ids, who, priority=priority)


def retry_changed(job_id: UUID, changes: Changes, **who: Unpack[Who]) -> OperationResult:
    """Queue one failed, dead-lettered or cancelled job again with other options. Raises InvalidChange."""
    _require_sound(changes)
    with audited("retry", str(job_id), 1, **who) as log:
        job = Job.objects.filter(pk=job_id).first()
        log.done = int(job is not None and retry_changed_job(job, changes, Author.of(log)))
        refused = {} if log.done else why_not([job_id], "retry")
        log.detail = _detail([job_id], refused) | {"changes": changes.described()}
    return OperationResult(log_id=log.pk, done=(job_id,) if log.done else (), refused=refused)


def _require_sound(changes: Changes) -> None:
    if changes.priority is not None and not LOWEST_PRIORITY <= changes.priority <= HIGHEST_PRIORITY:
        raise InvalidChange(f"A priority is a number from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}.")
    if changes.max_attempts is not None and not 1 <= changes.max_attempts <= MAX_ATTEMPTS:
        raise InvalidChange(f"A job may have from 1 to {MAX_ATTEMPTS} attempts.")
    if not 0 <= changes.delay <= LONGEST_DELAY_SECONDS:
        raise InvalidChange("A job runs now or later, within a year.")


_TAKES: dict[str, tuple[State, ...]] = {
    "retry": edges.ENDED,
    "retry_now": (*edges.ENDED, State.SCHEDULED, State.RETRYING),
    "cancel": (*edges.WAITING, State.PROCESSING),
    "discard": (State.DEAD_LETTER,),
    "purge": (State.PENDING,),
    "priority": edges.WAITING,
}
"""Operation -> the states whose jobs it takes."""


def takes(operation: str) -> frozenset[State]:
    """The states whose jobs an operation takes."""
    return frozenset(_TAKES[operation])


def eligible(operation: str, ids: Iterable[UUID], *, now: bool = False) -> Eligibility:
    """Which of `ids` an operation ("retry", "retry_now", "cancel", "discard", "priority") would take now."""
    wanted = list(dict.fromkeys(ids))
    states = selectors.job_states(wanted)
    takes = set(_TAKES["retry_now" if now and operation == "retry" else operation])
    operation = operation.removesuffix("_now")
    taken = tuple(job_id for job_id in wanted if _is_taken(states.get(job_id), takes, operation))
    left = set(wanted) - set(taken)
    return Eligibility(
        eligible=taken,
        refused={job_id: _reason(states.get(job_id), operation) for job_id in wanted if job_id in left},
    )


def _is_taken(job: selectors.JobState | None, takes: set[State], operation: str) -> bool:
    if job is None or job.state not in takes:
        return False
    if operation == "retry":
        return not job.is_cleaned
    return not (operation == "cancel" and job.state == State.PROCESSING and job.cancel_requested)


def _on_jobs(
    operation: str, ids: Iterable[UUID], who: Who, on_progress: Progress = untold, **options: Any
) -> OperationResult:
    wanted = list(dict.fromkeys(ids))
    target = str(wanted[0]) if len(wanted) == 1 else f"{len(wanted)} jobs"
    named = "retry" if operation == "retry_now" else operation
    with audited(named, target, len(wanted), **who) as log:
        done: set[UUID] = set()
        for start in range(0, len(wanted), BATCH):
            done.update(carry_out(operation, wanted[start : start + BATCH], Author.of(log), **options))
            log.done = len(done)
            on_progress(min(start + BATCH, len(wanted)))
        refused = why_not([job_id for job_id in wanted if job_id not in done], named)
        log.detail = _detail(wanted, refused) | options
    return OperationResult(log_id=log.pk, done=tuple(job_id for job_id in wanted if job_id in done), refused=refused)


def why_not(ids: Sequence[UUID], operation: str) -> dict[UUID, str]:
    """Why an operation did not take these jobs: their states, or one of the reasons above."""
    states = selectors.job_states(ids)
    return {job_id: _reason(states.get(job_id), operation) for job_id in ids}


def _reason(job: selectors.JobState | None, operation: str) -> str:
    if job is None:
        return NOT_FOUND
    if operation == "retry" and job.state in edges.ENDED:
        return CLEANED_UP if job.is_cleaned else UNIQUE_KEY_HELD
    if operation == "cancel" and job.state == State.PROCESSING and job.cancel_requested:
        return CANCEL_REQUESTED
    return job.state


def _detail(ids: Sequence[UUID], refused: dict[UUID, str]) -> dict[str, Any]:
    detail: dict[str, Any] = {"jobs": [str(job_id) for job_id in ids[:_REMEMBERED_IDS]]}
    if refused:
        detail["refused"] = dict(Counter(refused.values()))
    return detail
