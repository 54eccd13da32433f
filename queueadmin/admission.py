"""From which queues this process may take jobs now: those that are neither paused nor, as far as it knows, full."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from queueadmin import limits, lookup
from queueadmin.jobs import ClaimedJob
from queueadmin.limits import Limits

_FULL_SECONDS = 0.25
"""How long a queue that runs as many jobs as it may is left alone, unless a job of it ends in this process."""
LOOK_SECONDS = 0.05
"""How long to wait for jobs of other queues while one is full: it may be open again."""


class Admission:
    """What operators set for the queues of this process, read once per beat, and which queues were found full."""

    def __init__(self, queues: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._queues = queues
        self._clock = clock
        self._paused: frozenset[str] = frozenset()
        self._full_until: dict[str, float] = {}
        self.limits = Limits()

    def refresh(self) -> None:
        """Read what operators set."""
        self._paused = lookup.paused_queues()
        self.limits = limits.known()

    def open_queues(self) -> list[str]:
        now = self._clock()
        return [
            queue for queue in self._queues if queue not in self._paused and self._full_until.get(queue, 0.0) <= now
        ]

    def some_are_full(self) -> bool:
        now = self._clock()
        return any(until > now for until in list(self._full_until.values()))

    def found_full(self, queues: Iterable[str]) -> None:
        """A claim found that these queues run as many jobs as they may."""
        for queue in queues:
            self._full_until[queue] = self._clock() + _FULL_SECONDS

    def ended(self, jobs: Iterable[ClaimedJob]) -> Counter[tuple[str, str]]:
        """Jobs of this process ended: their queues have room. Returns by queue and partition how many a limit of a
        partition covered."""
        if not self.limits:
            return Counter()
        freed = Counter((job.queue, job.partition_key) for job in jobs)
        for queue, _ in freed:
            self._full_until.pop(queue, None)
        return Counter({place: count for place, count in freed.items() if self.limits.bounds_partition(*place)})
