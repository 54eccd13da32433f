"""How long jobs wait and run: exact percentiles over the newest that completed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from queueadmin import sql
from queueadmin.sql import JOB
from queueadmin.states import State

NEWEST = 2_000
"""Completed jobs that are looked at: enough for a p99, and read in a few milliseconds at any size of the ledger.
Histograms since the workers began would cost less, and say nothing of the present."""


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """Seconds; None without a job."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, kw_only=True)
class Times:
    """`wait` is from when a job was due to its claim, `run` from the claim to the end, over `jobs` jobs."""

    jobs: int = 0
    wait: Percentiles = Percentiles()
    run: Percentiles = Percentiles()


NO_TIMES = Times()


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Of all the newest completed jobs together, and of those of each queue and actor."""

    all: Times
    queues: dict[str, Times]
    actors: dict[str, Times]


@dataclass(frozen=True, kw_only=True)
class _Measured:
    queue: str
    actor: str
    wait: float
    run: float


def timings() -> Timings:
    """One query, answered from the head of an index."""
    found = _newest()
    return Timings(
        all=_times(found),
        queues={name: _times([job for job in found if job.queue == name]) for name in {job.queue for job in found}},
        actors={name: _times([job for job in found if job.actor == name]) for name in {job.actor for job in found}},
    )


def _newest() -> list[_Measured]:
    d = sql.dialect()
    rows = sql.query(
        f"SELECT queue, actor, {d.milliseconds('COALESCE(run_at, created_at)', 'claimed_at')} AS wait, "
        f"{d.milliseconds('claimed_at', 'finished_at')} AS run FROM {JOB} "
        f"WHERE state = '{State.COMPLETED}' AND cleaned_at IS NULL AND claimed_at IS NOT NULL "
        f"ORDER BY finished_at DESC LIMIT {NEWEST}"
    )
    return [
        _Measured(
            queue=row["queue"], actor=row["actor"], wait=max(0.0, row["wait"] / 1000), run=max(0.0, row["run"] / 1000)
        )
        for row in rows
    ]


def _times(found: Sequence[_Measured]) -> Times:
    return Times(
        jobs=len(found), wait=percentiles([job.wait for job in found]), run=percentiles([job.run for job in found])
    )


def percentiles(values: Sequence[float]) -> Percentiles:
    """By nearest rank: each is a value that occurred."""
    if not values:
        return Percentiles()
    ordered = sorted(values)
    p50, p95, p99 = (ordered[math.ceil(part * len(ordered)) - 1] for part in (0.5, 0.95, 0.99))
    return Percentiles(p50=p50, p95=p95, p99=p99)
