"""Publishing after the commit: soon where the broker answers, and never at the price of a waiting caller."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from queueadmin.exceptions import BrokerUnavailable
from queueadmin.jobs import Ready
from queueadmin.ready import BANDS, ReadySets


class Publisher:
    """Adds jobs to the ready sets after their commit, and never lets the caller wait long or fail.

    After a failure it tries no more for a while (1 s, doubling to 8 s), so that a hanging Redis
    costs one submission its time-out and the others nothing. The sweep publishes what was left out.
    """

    def __init__(self, sets: ReadySets, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._sets = sets
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_until = 0.0
        self.skipped = 0

    def publish(self, jobs: Sequence[Ready]) -> bool:
        """Add `jobs`; False when the broker did not answer and the sweep has to do it."""
        return not jobs or self._try(lambda: self._sets.add(jobs), jobs=len(jobs))

    def unpark(self, queue: str, partition: str, count: int) -> bool:
        """Line up the first `count` jobs of a partition that a limit keeps parked; False when somebody else has to."""
        return self._try(lambda: self._unpark(queue, partition, count), jobs=0)

    def _unpark(self, queue: str, partition: str, count: int) -> None:
        for band in BANDS:
            jobs = self._sets.parked(queue, band, partition, count=count) if count > 0 else []
            self._sets.unpark(jobs)
            count -= len(jobs)

    def _try(self, act: Callable[[], object], *, jobs: int) -> bool:
        if self._clock() < self._closed_until:
            self.skipped += jobs
            return False
        try:
            act()
        except BrokerUnavailable:
            self._trip(jobs)
            return False
        if self._failures:
            self._recover()
        return True

    def _recover(self) -> None:
        """Redis is back: have the jobs published that were left out, now rather than with the next regular sweep."""
        try:
            self._sets.ask_for_sweep()
        except BrokerUnavailable:
            return
        self._failures = 0

    def _trip(self, skipped: int) -> None:
        with self._lock:
            self.skipped += skipped
            self._failures += 1
            self._closed_until = self._clock() + min(8.0, 2.0 ** (self._failures - 1))
