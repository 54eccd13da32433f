"""Operations on one batch of jobs: one transaction, no row in the audit. Published and forgotten on commit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID

from django.db import IntegrityError, transaction

from queueadmin import lifecycle, lookup
from queueadmin.broker import get_ledger_broker
from queueadmin.exceptions import BrokerUnavailable
from queueadmin.jobs import Ready, order_key_now
from queueadmin.sanitize import clean_text
from queueadmin.states import State

logger = logging.getLogger(__name__)

BATCH = 500
"""Jobs per transaction: short enough locks, few enough round trips."""
NAME = 200
"""Characters of a name that are kept."""
LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100


def carry_out(operation: str, ids: Sequence[UUID], *, by: str, priority: int = 0) -> set[UUID]:
    """Do an operation to up to `BATCH` jobs, without a row in the audit; returns those that took it."""
    by = clean_text(by, NAME)
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
    done = set(cancel_waiting(ids, by))
    done |= set(lifecycle.request_cancel(_left(ids, done), by=by))
    return done | set(cancel_waiting(_left(ids, done), by))


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


def cancel_waiting(ids: Sequence[UUID], by: str) -> list[UUID]:
    """Cancel those that no worker has claimed; returns their ids."""
    waiting = lookup.waiting(ids)
    ended, follow_ups = lifecycle.cancel(ids, by=by)
    _publish(follow_ups)
    gone = set(ended)
    transaction.on_commit(partial(_forget, [job for job in waiting if job.id in gone]))
    return ended


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
