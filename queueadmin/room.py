"""Back-pressure: whether a queue may take another job, without counting it on every submission."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from queueadmin import lookup
from queueadmin.exceptions import QueueFull
from queueadmin.jobs import Ready

_FRESH_SECONDS = 1.0
_TRUST_BELOW = 0.8
_RETRY_AFTER_SECONDS = 5.0


@dataclass(kw_only=True)
class _Depth:
    counted_at: float
    depth: int


class RoomKeeper:
    """Refuses jobs for a full queue.

    The depth is counted (never beyond the limit) and remembered for a second, plus what this
    process published since; near the limit it is counted anew each time. Several processes may
    together overshoot by what they accept within a second: the limit protects, it does not account.
    """

    def __init__(self, *, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._depths: dict[str, _Depth] = {}

    def require(self, queue: str, jobs: int = 1) -> None:
        """Raise QueueFull unless `queue` has room for `jobs` more pending ones."""
        if self._depth(queue) + jobs > self.limit:
            raise QueueFull(queue, limit=self.limit, retry_after=_RETRY_AFTER_SECONDS)

    def count(self, ready: Iterable[Ready]) -> None:
        """Remember what this process added."""
        with self._lock:
            for job in ready:
                if job.queue in self._depths:
                    self._depths[job.queue].depth += 1

    def _depth(self, queue: str) -> int:
        with self._lock:
            known = self._depths.get(queue)
            if (
                known is not None
                and self._clock() - known.counted_at < _FRESH_SECONDS
                and known.depth < _TRUST_BELOW * self.limit
                and self.limit > 1000
            ):
                return known.depth
        counted = _Depth(counted_at=self._clock(), depth=lookup.pending_up_to(queue, self.limit))
        with self._lock:
            self._depths[queue] = counted
        return counted.depth
