"""Operations on one batch of jobs: one transaction, no row in the audit. Published and forgotten on commit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from uuid import UUID

from django.db import IntegrityError, transaction

from queueadmin import lifecycle, lookup
from queueadmin.broker import get_ledger_broker
from queueadmin.exceptions import BrokerUnavailable
from queueadmin.jobs import Changes, Ready, order_key_now
from queueadmin.models import Job, OperationLog
from queueadmin.states import State

logger = logging.getLogger(__name__)

BATCH = 500
"""Jobs per transaction: short enough locks, few enough round trips."""
LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100


@dataclass(frozen=True, kw_only=True)
class Author:
    """Who acts, and in which row of the operations log that stands: what each job's event says of it."""

    by: str
    log_id: UUID

    @classmethod
    def of(cls, log: OperationLog) -> Author:
        return cls(by=log.by, log_id=log.pk)


def carry_out(operation: str, ids: Sequence[UUID], author: Author, *, priority: int = 0) -> set[UUID]:
    """Do an operation to up to `BATCH` jobs, without a row in the audit; returns those that took it."""
    match operation:
        case "retry":
            return set(_retry(ids, author))
        case "retry_now":
            done = set(_retry(ids, author))
            return done | set(_retry_now(_left(ids, done), author))
        case "cancel":
            return _cancel_or_ask(ids, author)
        case "purge":
            return set(cancel_waiting([job.id for job in lookup.waiting(ids)], author))
        case "discard":
            return set(_discard(ids, author))
        case "priority":
            return set(_change_priority(ids, author, priority))
    raise ValueError(f"There is no operation {operation!r}.")


def _left(ids: Sequence[UUID], done: set[UUID]) -> list[UUID]:
    return [job_id for job_id in ids if job_id not in done]


def _cancel_or_ask(ids: Sequence[UUID], author: Author) -> set[UUID]:
    """A running job may be released between the first two steps; the third catches it."""
    done = set(cancel_waiting(ids, author))
    done |= set(lifecycle.request_cancel(_left(ids, done), **asdict(author)))
    return done | set(cancel_waiting(_left(ids, done), author))


def _change_priority(ids: Sequence[UUID], author: Author, priority: int) -> list[UUID]:
    changed = lifecycle.change_priority(ids, priority=priority, **asdict(author))
    waiting = [job for state, job in changed if state == State.PENDING]
    # Out of both bands: the old priority is not known any more. With Redis down they keep both, which is harmless.
    places = [replace(job, priority=band) for job in waiting for band in (LOWEST_PRIORITY, HIGHEST_PRIORITY)]
    transaction.on_commit(partial(_forget, places))
    _publish(waiting)
    return [job.id for _, job in changed]


def _retry(ids: Sequence[UUID], author: Author) -> list[UUID]:
    """The guard of the edge sees keys that were held before its own statement; the index sees the rest."""
    try:
        with transaction.atomic():
            ready = lifecycle.retry(ids, order_key=order_key_now(), **asdict(author))
    except IntegrityError:
        if len(ids) == 1:
            return []
        return [done for job_id in ids for done in _retry([job_id], author)]
    return _publish(ready)


def retry_changed(job: Job, changes: Changes, author: Author) -> bool:
    """Queue one ended job again with other options; returns whether it took them."""
    payload = None if changes.kwargs is None else {**job.payload, "kwargs": changes.kwargs}
    try:
        with transaction.atomic():
            moved = lifecycle.retry_changed(
                job.pk, changes, run=job.run, payload=payload, order_key=order_key_now(), **asdict(author)
            )
    except IntegrityError:  # its unique key, as above
        return False
    if moved is not None and moved[0] == State.PENDING:
        _publish([moved[1]])
    return moved is not None


def _retry_now(ids: Sequence[UUID], author: Author) -> list[UUID]:
    return _publish(lifecycle.retry_now(ids, order_key=order_key_now(), **asdict(author)))


def _publish(ready: list[Ready]) -> list[UUID]:
    transaction.on_commit(partial(get_ledger_broker().publish, ready))
    return [job.id for job in ready]


def cancel_waiting(ids: Sequence[UUID], author: Author) -> list[UUID]:
    """Cancel those that no worker has claimed; returns their ids."""
    waiting = lookup.waiting(ids)
    ended, follow_ups = lifecycle.cancel(ids, **asdict(author))
    _publish(follow_ups)
    gone = set(ended)
    transaction.on_commit(partial(_forget, [job for job in waiting if job.id in gone]))
    return ended


def _discard(ids: Sequence[UUID], author: Author) -> list[UUID]:
    ended, follow_ups = lifecycle.discard(ids, **asdict(author))
    _publish(follow_ups)
    return ended


def _forget(jobs: Sequence[Ready]) -> None:
    """Take cancelled jobs out of the ready sets. Only tidiness: a claim would refuse them anyway."""
    try:
        get_ledger_broker().ready_sets.remove(jobs)
    except BrokerUnavailable as error:
        logger.info("cancelled ids stay in the broker until they are popped", extra={"error": str(error)})
