"""The sweep: every pending job is in line, whatever Redis has forgotten and whoever died between two steps.

A million pending jobs are looked at in some seconds, in steps between which the dispatcher promotes and rescues. That
takes rows without objects: the page is read as tuples, and compared with Redis by one script call.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from queueadmin import lookup, sql
from queueadmin.jobs import Waiting, order_key_now
from queueadmin.measures import REPUBLISHED, Measures
from queueadmin.ready import ReadySets
from queueadmin.sql import SWEEP

logger = logging.getLogger(__name__)

_PAGE = 1000
_STEP_SECONDS = 0.2
"""How long one step may sweep: promoting and rescuing must not wait until a million jobs have been looked at."""
_REST = 3.0
"""A sweep comes no sooner than this many times the last one's duration after it, and no sooner than a second: it may
take a quarter of this thread's time, however long the line is and however often something goes wrong."""
_YOUNG_MICROSECONDS = 2_000_000
"""A job this young is probably being published by whoever submitted it."""


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What a sweep did: pending jobs looked at, ids that were missing and are published now."""

    pending: int
    republished: int


_NOTHING = Swept(pending=0, republished=0)


def sweep(
    sets: ReadySets, *, spare_young: bool = True, on_progress: Callable[[int], object] = lambda pending: None
) -> Swept:
    """Publish every pending job that no ready set holds: a lost publish, a lost pop, a flushed Redis.

    With `spare_young` not those that whoever submitted them is probably publishing right now. Raises BrokerUnavailable.
    """
    swept = _NOTHING
    for swept in sweep_pages(sets, spare_young=spare_young):
        on_progress(swept.pending)
    return swept


def sweep_pages(sets: ReadySets, *, spare_young: bool) -> Iterator[Swept]:
    """Sweep page by page, oldest first; yields what it did so far.

    Reads the ledger along its index and asks Redis per page, so its memory is bounded. A job is young when its order
    key is close to this host's clock, not when it is later: the host that submitted it may have a clock that is ahead.
    """
    now = order_key_now()
    pending = republished = 0
    for queue in lookup.pending_queues():
        last: Waiting | None = None
        while page := lookup.waiting_page(queue, after=last, limit=_PAGE):
            last = page[-1]
            chosen = [job for job in page if abs(job.order_key - now) > _YOUNG_MICROSECONDS] if spare_young else page
            pending += len(chosen)
            republished += _publish_missing(sets, queue, chosen)
            yield Swept(pending=pending, republished=republished)


def _publish_missing(sets: ReadySets, queue: str, jobs: Sequence[Waiting]) -> int:
    """Line up those of a page that are not in line; returns how many."""
    published = 0
    for band, those in groupby(
        sorted(jobs, key=lambda job: sets.band(job.priority)), lambda job: sets.band(job.priority)
    ):
        published += sets.line_up(queue, band, sets.absent(queue, band, list(those)))
    return published


def report(swept: Swept, *, seconds: float) -> None:
    """Write down for people what a sweep found; one that found nothing leaves what an earlier one mended."""
    d = sql.dialect()
    mends = "CAST(%(republished)s AS bigint) > 0"
    sql.execute(
        f"INSERT INTO {SWEEP} AS s (id, ended_at, seconds, pending, republished, mended_at, mended) VALUES "
        f"(1, {d.now}, %(seconds)s, %(pending)s, %(republished)s, CASE WHEN {mends} THEN {d.now} END, %(republished)s) "
        "ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, seconds = excluded.seconds, "
        "pending = excluded.pending, republished = excluded.republished, "
        "mended_at = COALESCE(excluded.mended_at, s.mended_at), "
        f"mended = CASE WHEN {mends} THEN excluded.mended ELSE s.mended END",
        {"now": d.time(None), "seconds": seconds, "pending": swept.pending, "republished": swept.republished},
    )


class Sweeper:
    """Sweeps in steps: regularly, and soon after somebody wanted it."""

    def __init__(
        self,
        sets: ReadySets,
        *,
        every_seconds: float,
        measures: Measures,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sets = sets
        self._clock = clock
        self._every = every_seconds
        self._measures = measures
        self._pages: Iterator[Swept] | None = None
        self._swept = _NOTHING
        self._began = 0.0
        self._next = self._rested_at = 0.0
        self._hurries = False

    @property
    def hurries(self) -> bool:
        """Whether a sweep after a fault is under way: jobs wait for it."""
        return self._hurries and self._pages is not None

    def forget(self) -> None:
        """Break off."""
        self._pages = None

    def step(self, wanted: threading.Event) -> None:
        """Begin a sweep if one is due or `wanted`, and sweep for a moment. Raises BrokerUnavailable."""
        if self._pages is None and self._clock() >= self._rested_at:
            self._begin(wanted)
        if self._pages is not None:
            self._go_on(self._pages)

    def _begin(self, wanted: threading.Event) -> None:
        now, after_fault = self._clock(), wanted.is_set()
        if not after_fault and now < self._next:
            return
        wanted.clear()
        self._began, self._next, self._swept, self._hurries = now, now + self._every, _NOTHING, after_fault
        # After a fault even the youngest may be missing, and would wait for the next regular sweep; publishing one
        # twice changes nothing.
        self._pages = sweep_pages(self._sets, spare_young=not after_fault)

    def _go_on(self, pages: Iterator[Swept]) -> None:
        pause_at = self._clock() + _STEP_SECONDS
        for swept in pages:
            self._measures.add(REPUBLISHED, amount=swept.republished - self._swept.republished)
            self._swept = swept
            if self._clock() > pause_at:
                return
        self._end(self._clock())

    def _end(self, now: float) -> None:
        self._pages = None
        self._rested_at = now + max(1.0, _REST * (now - self._began))
        report(self._swept, seconds=now - self._began)
        if self._swept.republished:
            logger.warning(
                "the sweep published what was missing",
                extra={
                    "republished": self._swept.republished,
                    "pending": self._swept.pending,
                    "seconds": round(now - self._began, 1),
                },
            )
