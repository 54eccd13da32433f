"""How a worker died, as far as anybody knows: what the events of the jobs that it held say.

Its last beats tell how long it lived and the most memory it took; its master, which reaps it, tells the signal or exit
code. A job is not convicted by any of it: who shares a process with poison dies of the same signal (ADR 8).
"""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from queueadmin import sql
from queueadmin.sql import JOB, PROGRESS, WORKER, Row

NO_STAGE = "not reported"


@dataclass(frozen=True, kw_only=True)
class Death:
    """The end of one worker process. None where nobody knows."""

    worker: str
    """Its name, or its number if its row is gone."""

    exit_code: int | None = None
    exit_signal: int | None = None
    peak_bytes: int | None = None
    """The most that it and its children were seen to take, looked at with each beat."""

    uptime_seconds: float | None = None
    """From its registration to its last beat."""

    silent_seconds: float | None = None
    """From its last beat to the rescue."""

    held: int = 0
    """Jobs that it held when it died."""

    has_stopped: bool = False
    """It signed off in order, and the claim was overlooked."""

    @property
    def how(self) -> str:
        """In words: by which signal or with which exit code, or that nobody saw it."""
        if self.has_stopped:
            return "stopped in order, but held the job still"
        return cause(self.exit_code, self.exit_signal) or f"nobody saw how it ended{self._last_heard_of}"

    @property
    def _last_heard_of(self) -> str:
        return "" if self.silent_seconds is None else f", it was last heard of {self.silent_seconds:.0f} s before"

    def detail(self) -> Row:
        """What an event says of it; what is not known is left out, but that it is not known is in `how`."""
        known = {
            "how": self.how,
            "signal": None if self.exit_signal is None else signal_name(self.exit_signal),
            "exit_code": self.exit_code,
            "peak_bytes": self.peak_bytes,
            "uptime_seconds": _rounded(self.uptime_seconds),
            "silent_seconds": _rounded(self.silent_seconds),
            "held": self.held,
            "worker": self.worker,
        }
        return {name: value for name, value in known.items() if value is not None}

    def sentence(self, stage: str) -> str:
        """For people: how, how large, in which stage of the job."""
        parts = [self.how]
        if self.peak_bytes is not None:
            parts.append(f"{self.peak_bytes / 2**20:,.0f} MiB at most")
        parts.append(f"stage {stage}")
        return "; ".join(parts)


def signal_name(number: int) -> str:
    """SIGKILL for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def cause(exit_code: int | None, exit_signal: int | None) -> str:
    """How a process ended, in words; "" where nobody knows."""
    if exit_signal is not None:
        return f"killed by {signal_name(exit_signal)}"
    return "" if exit_code is None else f"exited with code {exit_code}"


def of(workers: Sequence[int], *, now: datetime | None = None) -> dict[int, Death]:
    """What is known of the end of each of these workers."""
    d = sql.dialect()
    parameters = {"workers": json.dumps(list(workers)), "now": d.time(now)}
    chosen = d.member_integer("worker_id", "workers")
    held = sql.query(
        f"SELECT worker_id, count(*) AS n FROM {JOB} WHERE state = 'processing' AND {chosen} GROUP BY worker_id",
        parameters,
    )
    rows = sql.query(
        f"SELECT id, name, stopped_at, exit_code, exit_signal, peak_memory, "
        f"{d.milliseconds('started_at', 'beat_at')} AS uptime, {d.milliseconds('beat_at', d.now)} AS silence "
        f"FROM {WORKER} WHERE {d.member_integer('id', 'workers')}",
        parameters,
    )
    counts = {int(row["worker_id"]): int(row["n"]) for row in held}
    found = {worker: Death(worker=str(worker), held=counts.get(worker, 0)) for worker in workers}
    for row in rows:
        found[row["id"]] = Death(
            worker=row["name"], exit_code=row["exit_code"], exit_signal=row["exit_signal"],
            peak_bytes=row["peak_memory"], uptime_seconds=row["uptime"] / 1000,
            silent_seconds=max(0, row["silence"]) / 1000, held=counts.get(row["id"], 0),
            has_stopped=row["stopped_at"] is not None,
        )  # fmt: skip
    return found


def orphans(workers: Sequence[int], *, limit: int) -> list[Row]:
    """The first jobs that these workers hold, locked, with the stage that each last reported: id, worker_id, stage.

    Call it inside a transaction. Jobs whose row somebody has locked are left out.
    """
    d = sql.dialect()
    lock = " FOR UPDATE OF j SKIP LOCKED" if sql.is_postgresql() else ""
    return sql.query(
        f"SELECT j.id, j.worker_id, p.stage FROM {JOB} j LEFT JOIN {PROGRESS} p ON p.job_id = j.id "
        f"AND p.attempt = j.attempt WHERE j.state = 'processing' AND {d.member_integer('j.worker_id', 'workers')} "
        f"ORDER BY j.id LIMIT %(limit)s{lock}",
        {"workers": json.dumps(list(workers)), "limit": limit},
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
