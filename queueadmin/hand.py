"""What this process holds: claimed jobs from fetch to outcome, and how many more it may take."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from queueadmin.context import JobContext
from queueadmin.jobs import Claim, ClaimedJob
from queueadmin.origin import Origin

_LOOKAHEAD_SECONDS = 0.2
"""Work that may wait in memory: long enough for full batches, far below the second that a claim may idle."""
_MAX_LOOKAHEAD = 96
_LONG_SECONDS = 0.1
"""Jobs that take this long gain nothing from lookahead."""
_SMOOTHING = 0.1
_PACE_SECONDS = 0.1
"""Within this time of the last claim the next one waits until half of the threads are free: a claim of one job costs as
much as one of several. Whoever has not claimed for so long claims for a single thread."""


@dataclass(kw_only=True, eq=False)
class Held:
    """One claimed job. `started` and `claimed` are seconds of the monotonic clock."""

    job: ClaimedJob
    context: JobContext
    claimed: float
    started: float | None = None


class Hand:
    """The jobs in hand. Thread-safe.

    A job leaves by `settle`, once: whoever gets it out of the hand writes its outcome.
    """

    def __init__(self, *, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.threads = threads
        self._clock = clock
        self._changed = threading.Condition()
        self._held: dict[UUID, Held] = {}
        self._claiming: set[UUID] = set()
        self._average = _LONG_SECONDS
        self._taken = -_PACE_SECONDS
        self._notify_at = 0
        """How few jobs must be in hand for the consumer to care: waking it for every job would cost as much as one."""

    # -- taking ------------------------------------------------------------------------------

    def wait_for_credit(self, timeout: float) -> int:
        """How many jobs may be claimed now; waits up to `timeout` seconds for a batch worth fetching."""
        with self._changed:
            lookahead = self._lookahead()
            capacity = self.threads + lookahead
            worthwhile = max(1, lookahead // 2)
            rest = self._taken + _PACE_SECONDS - self._clock()
            if rest > 0:
                self._wait_for_room(capacity, max(worthwhile, self.threads // 2), min(rest, timeout))
            self._wait_for_room(capacity, worthwhile, timeout)
            return max(0, capacity - len(self._held))

    def _wait_for_room(self, capacity: int, room: int, timeout: float) -> None:
        self._notify_at = capacity - room
        self._changed.wait_for(lambda: capacity - len(self._held) >= room, timeout)

    def wait_until_empty(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._held, timeout)

    def announce(self, claims: Iterable[Claim]) -> None:
        """Register tokens before they are claimed, so that the claim is never taken for a stranger."""
        with self._changed:
            self._claiming.update(claim.token for claim in claims)

    def take(self, claims: Iterable[Claim], jobs: Iterable[ClaimedJob]) -> list[Held]:
        """The claim succeeded for `jobs`; the other tokens are forgotten."""
        now = self._clock()
        taken = [Held(job=job, context=_context(job), claimed=now) for job in jobs]
        with self._changed:
            self._taken = now
            for held in taken:
                self._held[held.job.token] = held
            self._claiming.difference_update(claim.token for claim in claims)
        return taken

    # -- running -----------------------------------------------------------------------------

    def start(self, token: UUID) -> bool:
        """A thread begins the job; False when it was given back meanwhile and must not run."""
        with self._changed:
            held = self._held.get(token)
            if held is None:
                return False
            held.started = self._clock()
            return True

    def settle(self, token: UUID) -> Held | None:
        """Take the job out of the hand, and its credit back. None when someone else settled it."""
        with self._changed:
            held = self._held.pop(token, None)
            if held is not None and held.started is not None:
                self._average += _SMOOTHING * (self._clock() - held.started - self._average)
            if len(self._held) <= self._notify_at:
                self._changed.notify_all()
            return held

    # -- looking -----------------------------------------------------------------------------

    def running(self) -> list[Held]:
        with self._changed:
            return [held for held in self._held.values() if held.started is not None]

    def count_by_queue(self) -> Counter[str]:
        with self._changed:
            return Counter([held.job.queue for held in self._held.values()])

    def tokens(self) -> set[UUID]:
        """Every token this process stands for, claims under way included."""
        with self._changed:
            return set(self._held) | self._claiming

    def find(self, token: UUID) -> Held | None:
        with self._changed:
            return self._held.get(token)

    def take_unstarted(self, *, older_than: float) -> list[Held]:
        """Take out the jobs that have waited `older_than` seconds without a thread."""
        with self._changed:
            limit = self._clock() - older_than
            waiting = [held for held in self._held.values() if held.started is None and held.claimed <= limit]
            for held in waiting:
                del self._held[held.job.token]
            if waiting and older_than > 0:
                self._average = max(self._average, _LONG_SECONDS)
            self._changed.notify_all()
            return waiting

    def take_all(self) -> list[Held]:
        with self._changed:
            everything = list(self._held.values())
            self._held.clear()
            self._changed.notify_all()
            return everything

    def __len__(self) -> int:
        return len(self._held)

    def _lookahead(self) -> int:
        if self._average >= _LONG_SECONDS:
            return 0
        return min(_MAX_LOOKAHEAD, int(_LOOKAHEAD_SECONDS * self.threads / max(self._average, 1e-6)))


_NOBODY = Origin()
"""Shared by the jobs that nobody's request sent; nothing changes the origin of a job."""


def _context(job: ClaimedJob) -> JobContext:
    origin = Origin.of(job.payload) if job.payload.get("options") else _NOBODY
    return JobContext(
        id=job.id, queue=job.queue, actor=job.actor, attempt=job.attempt, run=job.run, failures=job.failures,
        max_attempts=job.max_attempts, parent_id=job.parent_id, origin=origin,
    )  # fmt: skip
