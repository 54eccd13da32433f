"""What people do to the queue: retry, cancel, discard, purge, pause, resume, set limits, repair.

The admin, the API and the command line all come here. Each operation first commits an audit row
that says who wants what, then acts, then completes the row with the outcome: an operation that
dies midway has left its row as "started".
"""

from __future__ import annotations

import getpass
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from queueadmin import edges, lifecycle, lookup, selectors
from queueadmin.audit import audited
from queueadmin.broker import get_ledger_broker
from queueadmin.exceptions import BrokerUnavailable, QueueAdminError
from queueadmin.jobs import Ready, order_key_now
from queueadmin.models import PartitionLimit, QueueControl
from queueadmin.sanitize import clean_text
from queueadmin.states import State
from queueadmin.sweep import Swept, sweep

logger = logging.getLogger(__name__)

BATCH = 500
"""Jobs per transaction: short enough locks, few enough round trips."""
_REMEMBERED_IDS = 100
"""Ids that an audit row lists; each job's own events say who did what in any case."""
_NAME = 200
"""Characters of a name that are kept."""
_EVER = 2**62
MAX_LIMIT = 1_000_000
MAX_PARTITION_KEY = 64
"""Characters, as Job.partition_key."""
LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100

NOT_FOUND = "not_found"
UNIQUE_KEY_HELD = "unique_key_held"
CLEANED_UP = "cleaned_up"
CANCEL_REQUESTED = "cancel_requested"


@dataclass(frozen=True, kw_only=True)
class OperationResult:
    """What an operation on single jobs did.

    `done` in the order asked for. `refused` says per job why not: the state it is in, or one of
    `not_found`, `unique_key_held` (another live job holds its key), `cleaned_up` (retention has
    emptied it) and `cancel_requested` (its worker was asked already).
    """

    log_id: UUID | None
    """Its audit row; None when there was nothing to do."""
    done: tuple[UUID, ...]
    refused: dict[UUID, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class QueueResult:
    """What an operation on a queue did: `changed` jobs for a purge; 1 or 0 for pause and resume."""

    log_id: UUID
    queue: str
    requested: int
    changed: int


@dataclass(frozen=True, kw_only=True)
class LimitResult:
    """A limit as it is now and as it was `before`; None is none. `partition` None means the whole queue."""

    log_id: UUID
    queue: str
    partition: str | None
    limit: int | None
    before: int | None


@dataclass(frozen=True, kw_only=True)
class Eligibility:
    """What an operation would do if it ran now: the jobs it takes, and why it refuses the others."""

    eligible: tuple[UUID, ...]
    refused: dict[UUID, str]


class UnknownQueue(QueueAdminError):
    """There is no queue of that name."""

    code = "unknown_queue"
    retryable = False

    def __init__(self, queue: str, known: Sequence[str]) -> None:
        names = ", ".join(known) or "none yet"
        super().__init__(f"There is no queue {clean_text(queue, 80)!r}. Known queues: {names}.")
        self.queue, self.known = queue, tuple(known)


class InvalidLimit(QueueAdminError):
    """The limit cannot be set."""

    code = "invalid_limit"
    retryable = False


def shell_user() -> str:
    """Who runs this process, for the audit row of a command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        return "unknown"


# -- on single jobs ------------------------------------------------------------------------------


Progress = Callable[[int], object]
"""Told how many jobs an operation has looked at so far."""


def _untold(done: int) -> None:
    """Progress that nobody asked for."""


def retry(
    ids: Iterable[UUID],
    *,
    by: str,
    source: str,
    user: Any = None,
    reason: str = "",
    now: bool = False,
    on_progress: Progress = _untold,
) -> OperationResult:
    """Queue failed, dead-lettered and cancelled jobs again, with fresh attempts and the same ids.

    With `now`, jobs that wait for their time (scheduled, retrying) become due at once as well.
    """
    operation = "retry_now" if now else "retry"
    return _on_jobs(operation, ids, by=by, source=source, user=user, reason=reason, on_progress=on_progress)


def cancel(
    ids: Iterable[UUID],
    *,
    by: str,
    source: str,
    user: Any = None,
    reason: str = "",
    on_progress: Progress = _untold,
) -> OperationResult:
    """Stop jobs: waiting ones at once, running ones by asking their workers, which takes a second or two."""
    return _on_jobs("cancel", ids, by=by, source=source, user=user, reason=reason, on_progress=on_progress)


def discard(
    ids: Iterable[UUID],
    *,
    by: str,
    source: str,
    user: Any = None,
    reason: str = "",
    on_progress: Progress = _untold,
) -> OperationResult:
    """Give dead letters up: they become cancelled."""
    return _on_jobs("discard", ids, by=by, source=source, user=user, reason=reason, on_progress=on_progress)


def change_priority(
    ids: Iterable[UUID], *, priority: int, by: str, source: str, user: Any = None, reason: str = ""
) -> OperationResult:
    """Give waiting jobs another priority, and with it another place in line. Raises ValueError out of range."""
    if not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise ValueError(f"A priority is a number from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}.")
    return _on_jobs("priority", ids, by=by, source=source, user=user, reason=reason, priority=priority)


_TAKES: dict[str, tuple[State, ...]] = {
    "retry": edges.ENDED,
    "retry_now": (*edges.ENDED, State.SCHEDULED, State.RETRYING),
    "cancel": (*edges.WAITING, State.PROCESSING),
    "discard": (State.DEAD_LETTER,),
    "priority": edges.WAITING,
}
"""Operation -> the states whose jobs it takes."""


def takes(operation: str) -> frozenset[State]:
    """The states whose jobs an operation takes."""
    return frozenset(_TAKES[operation])


def eligible(operation: str, ids: Iterable[UUID], *, now: bool = False) -> Eligibility:
    """Which of `ids` an operation ("retry", "cancel", "discard", "priority") would take. Changes nothing."""
    wanted = list(dict.fromkeys(ids))
    states = selectors.job_states(wanted)
    takes = set(_TAKES["retry_now" if now and operation == "retry" else operation])
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
    operation: str,
    ids: Iterable[UUID],
    *,
    by: str,
    source: str,
    user: Any,
    reason: str,
    on_progress: Progress = _untold,
    **options: Any,
) -> OperationResult:
    wanted = list(dict.fromkeys(ids))
    target = str(wanted[0]) if len(wanted) == 1 else f"{len(wanted)} jobs"
    named = "retry" if operation == "retry_now" else operation
    with audited(named, target, len(wanted), by=by, source=source, user=user, reason=reason) as log:
        done: set[UUID] = set()
        for start in range(0, len(wanted), BATCH):
            done.update(carry_out(operation, wanted[start : start + BATCH], by=by, **options))
            log.done = len(done)
            on_progress(min(start + BATCH, len(wanted)))
        refused = why_not([job_id for job_id in wanted if job_id not in done], named)
        log.detail = _detail(wanted, refused) | options
    return OperationResult(log_id=log.pk, done=tuple(job_id for job_id in wanted if job_id in done), refused=refused)


def carry_out(operation: str, ids: Sequence[UUID], *, by: str, priority: int = 0) -> set[UUID]:
    """Do an operation to up to `BATCH` jobs, without a row in the audit; returns those that took it."""
    by = clean_text(by, _NAME)
    match operation:
        case "retry":
            return set(_retry(ids, by))
        case "retry_now":
            done = set(_retry(ids, by))
            return done | set(_retry_now(_left(ids, done), by))
        case "cancel":
            return _cancel_or_ask(ids, by)
        case "discard":
            return set(_discard(ids, by))
        case "priority":
            return set(_change_priority(ids, by, priority))
    raise ValueError(f"There is no operation {operation!r}.")


def _left(ids: Sequence[UUID], done: set[UUID]) -> list[UUID]:
    return [job_id for job_id in ids if job_id not in done]


def _cancel_or_ask(ids: Sequence[UUID], by: str) -> set[UUID]:
    """A running job may be released between the first two steps; the third catches it."""
    done = set(_cancel(ids, by))
    done |= set(_request_cancel(_left(ids, done), by))
    return done | set(_cancel(_left(ids, done), by))


def _change_priority(ids: Sequence[UUID], by: str, priority: int) -> list[UUID]:
    changed = lifecycle.change_priority(ids, priority=priority, by=by)
    waiting = [job for state, job in changed if state == State.PENDING]
    # Out of both bands: the old priority is not known any more. With Redis down they keep both, which is harmless.
    places = [replace(job, priority=band) for job in waiting for band in (LOWEST_PRIORITY, HIGHEST_PRIORITY)]
    transaction.on_commit(partial(_forget, places))
    _publish(waiting)
    return [job.id for _, job in changed]


def _retry(ids: Sequence[UUID], by: str) -> list[UUID]:
    """The guard of the edge sees keys that were held before its own statement; the index sees the rest."""
    try:
        with transaction.atomic():
            ready = lifecycle.retry(ids, by=by, order_key=order_key_now())
    except IntegrityError:
        if len(ids) == 1:
            return []
        return [done for job_id in ids for done in _retry([job_id], by)]
    return _publish(ready)


def _retry_now(ids: Sequence[UUID], by: str) -> list[UUID]:
    return _publish(lifecycle.retry_now(ids, by=by, order_key=order_key_now()))


def _publish(ready: list[Ready]) -> list[UUID]:
    transaction.on_commit(partial(get_ledger_broker().publish, ready))
    return [job.id for job in ready]


def _cancel(ids: Sequence[UUID], by: str) -> list[UUID]:
    waiting = lookup.waiting(ids)
    ended, follow_ups = lifecycle.cancel(ids, by=by)
    _publish(follow_ups)
    gone = set(ended)
    transaction.on_commit(partial(_forget, [job for job in waiting if job.id in gone]))
    return ended


def _request_cancel(ids: Sequence[UUID], by: str) -> list[UUID]:
    return lifecycle.request_cancel(ids, by=by)


def _discard(ids: Sequence[UUID], by: str) -> list[UUID]:
    ended, follow_ups = lifecycle.discard(ids, by=by)
    _publish(follow_ups)
    return ended


def _forget(jobs: Sequence[Ready]) -> None:
    """Take cancelled jobs out of the ready sets. Only tidiness: a claim would refuse them anyway."""
    try:
        get_ledger_broker().ready_sets.remove(jobs)
    except BrokerUnavailable as error:
        logger.info("cancelled ids stay in the broker until they are popped", extra={"error": str(error)})


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


# -- on queues -----------------------------------------------------------------------------------


def purge(
    queue: str, *, by: str, source: str, user: Any = None, reason: str = "", on_progress: Progress = _untold
) -> QueueResult:
    """Cancel the pending jobs of a queue, batch by batch; scheduled, retrying and running ones stay.

    It ends after as many jobs as were pending when it began, so that it never chases new ones.
    Raises UnknownQueue.
    """
    _require_known(queue)
    by = clean_text(by, _NAME)
    depth = selectors.pending_count(queue)
    with audited("purge", queue, depth, by=by, source=source, user=user, reason=reason) as log:
        seen, after = 0, None
        while seen < depth and (page := _page(queue, after, min(BATCH, depth - seen))):
            log.done += len(_cancel([job.id for job in page], by))
            seen += len(page)
            after = (page[-1].order_key, page[-1].id)
            on_progress(seen)
    return QueueResult(log_id=log.pk, queue=queue, requested=depth, changed=log.done)


def _page(queue: str, after: tuple[int, UUID] | None, limit: int) -> list[Ready]:
    return lookup.pending_page(queue, after=after, due_before=_EVER, limit=limit)


def pause(queue: str, *, by: str, source: str, user: Any = None, reason: str = "") -> QueueResult:
    """Let no worker claim from a queue; what runs goes on, and submissions are accepted. Raises UnknownQueue."""
    _require_known(queue)
    with audited("pause", queue, 1, by=by, source=source, user=user, reason=reason) as log:
        QueueControl.objects.get_or_create(queue=queue)
        log.done = QueueControl.objects.filter(queue=queue, paused_at=None).update(
            paused_at=timezone.now(), paused_by=clean_text(by, 150), reason=clean_text(reason)
        )
    return QueueResult(log_id=log.pk, queue=queue, requested=1, changed=log.done)


def resume(queue: str, *, by: str, source: str, user: Any = None, reason: str = "") -> QueueResult:
    """Let workers claim from a paused queue again. Raises UnknownQueue."""
    _require_known(queue)
    with audited("resume", queue, 1, by=by, source=source, user=user, reason=reason) as log:
        log.done = QueueControl.objects.filter(queue=queue, paused_at__isnull=False).update(
            paused_at=None, paused_by="", reason=""
        )
        # What was popped while it was being paused waits for the next sweep; the head need not, and stays the head.
        head = [replace(job, given_back=True) for job in _page(queue, None, BATCH)]
        transaction.on_commit(lambda: get_ledger_broker().publisher.publish(head))
    return QueueResult(log_id=log.pk, queue=queue, requested=1, changed=log.done)


def set_limit(
    limit: int | None,
    *,
    queue: str = "",
    partition: str | None = None,
    by: str,
    source: str,
    user: Any = None,
    reason: str = "",
) -> LimitResult:
    """Let at most `limit` jobs run at once; None lifts the limit, 0 lets none run. What runs already goes on.

    Of a queue, of a partition in one queue, or of a partition in all queues together (without `queue`). Workers heed
    it within a second. Raises UnknownQueue, InvalidLimit.
    """
    if queue:
        _require_known(queue)
    if limit is not None and not 0 <= limit <= MAX_LIMIT:
        raise InvalidLimit(f"A limit is a whole number from 0 to {MAX_LIMIT:,}, or none.")
    if partition is None and not queue:
        raise InvalidLimit("Name the queue or the partition whose jobs are to be limited.")
    if partition is not None and partition != clean_text(partition, MAX_PARTITION_KEY):
        raise InvalidLimit(f"A partition key is at most {MAX_PARTITION_KEY} characters without control characters.")
    target = " in ".join(filter(None, (partition, queue))) or "jobs without a partition"
    with audited("set_limit", target, 1, by=by, source=source, user=user, reason=reason) as log:
        before = _replace_limit(limit, queue, partition)
        log.done, log.detail = 1, {"queue": queue, "partition": partition, "limit": limit, "before": before}
    return LimitResult(log_id=log.pk, queue=queue, partition=partition, limit=limit, before=before)


def _replace_limit(limit: int | None, queue: str, partition: str | None) -> int | None:
    """Returns the limit that was set before."""
    with transaction.atomic():
        if partition is None:
            control, _ = QueueControl.objects.get_or_create(queue=queue)
            QueueControl.objects.filter(queue=queue).update(concurrency_limit=limit)
            return control.concurrency_limit
        rows = PartitionLimit.objects.filter(queue=queue, partition_key=partition)
        before = rows.values_list("concurrency_limit", flat=True).first()
        if limit is None:
            rows.delete()
        else:
            PartitionLimit.objects.update_or_create(
                queue=queue, partition_key=partition, defaults={"concurrency_limit": limit}
            )
        return before


def repair(*, by: str, source: str, user: Any = None, reason: str = "", on_progress: Progress = _untold) -> Swept:
    """Publish every pending job that the broker lacks, now. Raises BrokerUnavailable."""
    with audited("repair", "all queues", 0, by=by, source=source, user=user, reason=reason) as log:
        sets = get_ledger_broker().ready_sets
        sets.ping()  # with nothing pending the sweep asks nobody, and "repaired" would be a guess
        swept = sweep(sets, on_progress=on_progress)
        log.requested, log.done = swept.republished, swept.republished
        log.detail = {"pending": swept.pending}
    return swept


def _require_known(queue: str) -> None:
    known = selectors.known_queues()
    if queue not in known:
        raise UnknownQueue(queue, known)
