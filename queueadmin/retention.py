"""Forgetting: what ended jobs carried, and in time the jobs themselves.

Two steps. `clean` empties a job (payload, result, events, progress) and leaves a slim row that says what ran, when and
how it ended; `forget` deletes slim rows. Neither writes a state, and counted totals are rows of their own, which both
leave alone. Everything happens in small batches, each in a transaction of some milliseconds that takes no lock it
would have to wait for, so that live traffic does not notice, and smaller ones where the database is slow; two cleaners
at once do no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from queueadmin.ids import uuid7
from queueadmin.models import Job, JobEvent, JobProgress
from queueadmin.states import LIVE, TERMINAL, State

_BATCH, _FIRST_BATCH, _LEAST_BATCH = 200, 50, 10
"""The most jobs of a batch: with some five events per job, a thousand rows, about 20 ms. Also how many the first has,
and the fewest."""
_SLOW_SECONDS, _QUICK_SECONDS = 0.04, 0.025
"""A batch that took longer makes the next one half as large, and one that took less a quarter larger: nobody may find a
row locked for 100 ms."""

Step = Callable[[Sequence[UUID]], None]


@dataclass(frozen=True, kw_only=True)
class Ages:
    """How many hours after its end a job is emptied, by state. Dead letters wait for a decision: None keeps them."""

    completed: float
    cancelled: float
    failed: float
    dead_letter: float | None = None

    def cutoffs(self, now: datetime) -> dict[str, datetime]:
        """State -> the moment before which its jobs must have ended."""
        hours = {
            State.COMPLETED: self.completed,
            State.CANCELLED: self.cancelled,
            State.FAILED: self.failed,
            State.DEAD_LETTER: self.dead_letter,
        }
        return {state.value: now - timedelta(hours=age) for state, age in hours.items() if age is not None}


@dataclass(frozen=True, kw_only=True)
class Emptied:
    """One batch that was emptied, or would be: jobs that ended in `state`, and how many events they had."""

    state: str
    ids: tuple[UUID, ...]
    events: int


class _Pace:
    """How many jobs the next batch has, by how long the last ones took."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most, self._clock = most, clock
        self.size = min(most, _FIRST_BATCH)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Around the transaction of one."""
        began = self._clock()
        yield
        took = self._clock() - began
        if took > _SLOW_SECONDS:
            self.size = min(self._most, max(_LEAST_BATCH, self.size // 2))
        elif took < _QUICK_SECONDS:
            self.size = min(self._most, self.size + self.size // 4 + 1)


def expired_count(ages: Ages, *, now: datetime | None = None) -> int:
    """How many jobs `clean` would look at: those past their age, even if an undelivered follow-up protects them."""
    cutoffs = ages.cutoffs(now or timezone.now())
    return sum(_expired(state, cutoff).count() for state, cutoff in cutoffs.items())


def clean(
    ages: Ages,
    *,
    within: Step = lambda ids: None,
    dry_run: bool = False,
    batch: int = _BATCH,
    now: datetime | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Emptied]:
    """Empty the jobs that ended longer ago than `ages` say, and yield each batch: of at most `batch` jobs, and fewer
    while batches take long by `clock` (seconds).

    A job whose follow-up is live or a dead letter stays: its announcement may need it. `within` runs in a batch's
    transaction, on the ids that are really emptied. What lies outside the database is removed by the caller once it
    has the batch: not before, because until then a person may queue one of these jobs again.
    """
    pace = _Pace(batch, clock)
    for state, cutoff in ages.cutoffs(now or timezone.now()).items():
        for ids in _pages(state, cutoff, pace):
            with pace.batch():
                emptied = _clean_batch(ids, state, cutoff, within=within, dry_run=dry_run)
            yield emptied


def _clean_batch(ids: Sequence[UUID], state: str, cutoff: datetime, *, within: Step, dry_run: bool) -> Emptied:
    with transaction.atomic():
        # Looked at again under the lock: a person may have queued one of them again meanwhile.
        due = _unprotected(_expired(state, cutoff)).filter(pk__in=ids).order_by("pk")
        locked = due if dry_run else due.select_for_update(skip_locked=True, of=("self",))
        chosen = tuple(locked.values_list("pk", flat=True))
        if dry_run:
            events = JobEvent.objects.filter(job_id__in=chosen).count()
            return Emptied(state=state, ids=chosen, events=events)
        return Emptied(state=state, ids=chosen, events=_empty(chosen, within=within))


def _empty(ids: tuple[UUID, ...], *, within: Step) -> int:
    """Empty these rows, which the caller has locked; returns how many events they had."""
    within(ids)
    JobProgress.objects.filter(job_id__in=ids).delete()
    deleted, _ = JobEvent.objects.filter(job_id__in=ids).delete()
    Job.objects.filter(pk__in=ids).update(payload={}, result=None, cleaned_at=timezone.now())
    return deleted


def empty(job_id: UUID, *, within: Step = lambda ids: None) -> bool:
    """Empty one job that has ended, whatever its age and whether or not its end has been announced.

    `within` runs in the same transaction. False when it is emptied already, or has not ended.
    """
    with transaction.atomic():
        ended = Job.objects.filter(pk=job_id, state__in=sorted(TERMINAL), cleaned_at__isnull=True)
        if ended.select_for_update().first() is None:
            return False
        _empty((job_id,), within=within)
    return True


def forget(
    *,
    older_than_days: float,
    within: Step = lambda ids: None,
    dry_run: bool = False,
    batch: int = _BATCH,
    now: datetime | None = None,
) -> Iterator[tuple[UUID, ...]]:
    """Delete slim rows of jobs that ended more than `older_than_days` ago, and yield the ids of each batch.

    `within` runs in the same transaction, to delete rows that belong to these ids.
    """
    cutoff = (now or timezone.now()) - timedelta(days=older_than_days)
    pace, last = _Pace(batch, time.monotonic), UUID(int=0)
    while ids := tuple(_slim(cutoff).filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[: pace.size]):
        last = ids[-1]
        if not dry_run:
            with pace.batch(), transaction.atomic():
                within(ids)
                JobEvent.objects.filter(job_id__in=ids).delete()
                Job.objects.filter(pk__in=ids).delete()
        yield ids


def _expired(state: str, cutoff: datetime) -> QuerySet[Job]:
    """In the words of the partial index `job_finished`."""
    return Job.objects.filter(state=state, cleaned_at__isnull=True, finished_at__lt=cutoff)


_UNDELIVERED = sorted(LIVE | {State.DEAD_LETTER})
"""States of a follow-up that still has something to announce, or waits for a person to decide whether it should."""


def _unprotected(jobs: QuerySet[Job]) -> QuerySet[Job]:
    undelivered = Job.objects.filter(parent_id=OuterRef("pk"), state__in=_UNDELIVERED, cleaned_at__isnull=True)
    return jobs.filter(~Exists(undelivered))


def _pages(state: str, cutoff: datetime, pace: _Pace) -> Iterator[list[UUID]]:
    """Ids of expired, unprotected jobs, oldest end first. Goes on behind the last row instead of starting anew, so
    that rows which stay (protected, locked) are read once."""
    at, last = None, UUID(int=0)
    while True:
        jobs = _unprotected(_expired(state, cutoff))
        if at is not None:
            jobs = jobs.filter(Q(finished_at__gt=at) | Q(finished_at=at, pk__gt=last), finished_at__gte=at)
        page = list(jobs.order_by("finished_at", "pk").values_list("pk", "finished_at")[: pace.size])
        if not page:
            return
        last, at = page[-1]
        yield [job_id for job_id, _ in page]


def _slim(cutoff: datetime) -> QuerySet[Job]:
    """Emptied jobs that ended before `cutoff`. Ids begin with their time, so the primary key narrows the search."""
    oldest = uuid7(int(cutoff.timestamp() * 1000))
    return Job.objects.filter(pk__lt=oldest, cleaned_at__isnull=False, finished_at__lt=cutoff)
