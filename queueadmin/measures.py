"""What one process measures: counters and histograms that only grow, kept in memory and written with the beat.

What the ledger's counters know exactly (how many jobs ended how) is not measured again here; this is for durations,
and for events that leave no row. A process that is killed loses what it measured in its last few seconds.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
"""Upper bounds of the histograms' buckets, in seconds: from an idle pick-up to a backlog of hours.

Rows hold counts by position: a histogram with other bounds needs another name.
"""

MAX_SERIES = 200
"""Label sets of one name that a process tells apart; later ones are counted under `OTHER`, so that a label which
somebody fills with anything cannot fill the table."""
OTHER = "other"

JOB_WAIT = "queueadmin_job_wait_seconds"
JOB_RUN = "queueadmin_job_run_seconds"
JOB_STAGE = "queueadmin_job_stage_seconds"
REPUBLISHED = "queueadmin_sweep_republished_total"

Labels = tuple[str, ...]
"""The values of a metric's labels, in the order in which its family names them."""


@dataclass(slots=True)
class Series:
    """One counter (`total`) or histogram: how many observations, their sum, and how many in each bucket, the
    last of which is for what is beyond all bounds."""

    count: int = 0
    total: float = 0.0
    buckets: list[int] = field(default_factory=list)
    written: int = 0
    """How far `count` is in the database."""

    def observe(self, values: Sequence[float]) -> None:
        self.count += len(values)
        self.total += sum(values)
        if not self.buckets:
            self.buckets = [0] * (len(BOUNDS) + 1)
        for value in values:
            self.buckets[bisect_left(BOUNDS, value)] += 1


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A series at one moment. `buckets` are not cumulative, and empty for a counter."""

    name: str
    labels: Labels
    count: int
    total: float
    buckets: tuple[int, ...]


class Measures:
    """The series of one process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series: dict[str, dict[Labels, Series]] = {}

    def add(self, name: str, labels: Labels = (), amount: float = 1.0) -> None:
        """Add to a counter."""
        if amount <= 0:
            return
        with self._lock:
            series = self._find(name, labels)
            series.count += 1
            series.total += amount

    def observe(self, name: str, labels: Labels, *values: float) -> None:
        """Add observations to a histogram: seconds, not below 0."""
        with self._lock:
            self._find(name, labels).observe(values)

    def _find(self, name: str, labels: Labels) -> Series:
        of_name = self._series.setdefault(name, {})
        series = of_name.get(labels)
        if series is None:
            if len(of_name) >= MAX_SERIES:
                labels = (OTHER,) * len(labels)
            series = of_name.setdefault(labels, Series())
        return series

    def unwritten(self) -> list[Reading]:
        """The series that have changed since they were last written."""
        with self._lock:
            return [
                Reading(name=name, labels=labels, count=it.count, total=it.total, buckets=tuple(it.buckets))
                for name, of_name in self._series.items()
                for labels, it in of_name.items()
                if it.count != it.written
            ]

    def mark_written(self, readings: Sequence[Reading]) -> None:
        """These readings are in the database."""
        with self._lock:
            for reading in readings:
                self._series[reading.name][reading.labels].written = reading.count
