"""How fast prefilled jobs are worked off."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

FROM, TO = 0.03, 0.95
"""The part of the jobs that is timed: start-up, the ramp and the last stragglers are left out."""
_LATEST_START = 0.6
_TIMEOUT_SECONDS = 180.0


class TooFewJobs(Exception):
    """Most jobs were done before every worker had started: the rate would be that of the first worker alone."""


@dataclass(frozen=True, kw_only=True)
class Drained:
    """A drain rate: `jobs` completed in `seconds`, for `cpu_seconds` of all processes together (None: unknown)."""

    jobs: int
    seconds: float
    cpu_seconds: float | None = None

    @property
    def rate(self) -> float:
        """Jobs per second."""
        return self.jobs / self.seconds

    @property
    def cpu_microseconds(self) -> float | None:
        """Processor time of one job: its worker, its database, its broker."""
        return None if self.cpu_seconds is None else self.cpu_seconds / self.jobs * 1e6


def measure(
    *,
    jobs: int,
    done: Callable[[], int],
    all_running: Callable[[], bool],
    every: float,
    cpu: Callable[[], float | None] = lambda: None,
    timeout: float = _TIMEOUT_SECONDS,
) -> Drained:
    """Time the jobs between 3 % and 95 % of `jobs`, from when every worker takes part; then wait for the last one.

    `done` says how many jobs are done and is asked `every` so many seconds; `cpu` reads the processor seconds
    used so far. Raises TooFewJobs, TimeoutError.
    """
    deadline = time.monotonic() + timeout
    started, first = _wait(lambda: done() if all_running() else 0, FROM * jobs, every, deadline)
    if first > _LATEST_START * jobs:
        raise TooFewJobs(f"{first} of {jobs} jobs were done when the last worker began; ask for more jobs.")
    cpu_before = cpu()
    ended, last = _wait(done, TO * jobs, every, deadline)
    cpu_after = cpu()
    _wait(done, jobs, every, deadline)
    used = None if cpu_before is None or cpu_after is None else cpu_after - cpu_before
    return Drained(jobs=last - first, seconds=ended - started, cpu_seconds=used)


def _wait(done: Callable[[], int], wanted: float, every: float, deadline: float) -> tuple[float, int]:
    """The time (monotonic, seconds) and count of the first look at which `wanted` jobs were done."""
    while True:
        before = time.monotonic()
        count = done()
        after = time.monotonic()
        if count >= wanted:
            return (before + after) / 2, count
        if after > deadline:
            raise TimeoutError(f"{count} jobs were done, {wanted:.0f} were expected by now")
        time.sleep(every)
