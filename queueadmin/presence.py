"""Workers' beats, leases and progress: the narrow rows that change every second.

Everybody is judged by one clock, the database's, unless a caller brings `now` (the model test, which lets hours pass).
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from queueadmin import sql
from queueadmin.context import Progress
from queueadmin.ids import new_worker_id
from queueadmin.memory import Memory
from queueadmin.sql import PROGRESS, WORKER

LEASE = "queueadmin_lease"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One worker process, told apart from every other one, past and present."""

    id: int
    name: str
    host: str
    pid: int
    pid_started: str


@dataclass(frozen=True, kw_only=True)
class Beat:
    """A worker's row as a judge sees it; `silent_for` in seconds by the database's clock."""

    id: int
    host: str
    pid: int
    pid_started: str
    silent_for: float


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What operators ask of a worker, which it learns with its beat."""

    to_drain: bool


def identify(worker_id: int, *, name: str = "") -> Identity:
    """This process. `host` names host, boot and process namespace, within which a pid means something.

    `{pid}` in `name` stands for the process id: for several processes that are given one name.
    """
    pid = os.getpid()
    return Identity(
        id=worker_id,
        name=name.replace("{pid}", str(pid)) or f"{socket.gethostname()}:{pid}",
        host=this_host(),
        pid=pid,
        pid_started=started(pid) or "",
    )


def started(pid: int) -> str | None:
    """When a process started, in clock ticks (field 22 of /proc/PID/stat); "" where unknown, None when it is gone."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return _alive(pid)
    except OSError:
        return ""
    return None if after_name[0] in "ZX" else after_name[19]


def _alive(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def this_host() -> str:
    """Host, boot and process namespace."""
    return f"{socket.gethostname()}/{_boot()}"


def _boot() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return "unknown"


def register(
    me: Identity,
    *,
    queues: Sequence[str],
    actors: Iterable[str],
    threads: int,
    version: str = "",
    now: datetime | None = None,
) -> None:
    """Insert this worker's row, before it claims anything."""
    d = sql.dialect()
    sql.execute(
        f"INSERT INTO {WORKER} (id, name, host, pid, pid_started, queues, actors, version, threads, busy, "
        f"unwritten, started_at, beat_at) VALUES (%(id)s, %(name)s, %(host)s, %(pid)s, %(pid_started)s, %(queues)s, "
        f"%(actors)s, %(version)s, %(threads)s, 0, 0, {d.now}, {d.now})",
        {
            "id": me.id, "name": me.name[:200], "host": me.host[:200], "pid": me.pid, "pid_started": me.pid_started,
            "queues": json.dumps(list(queues)), "actors": json.dumps(sorted(actors)), "threads": threads,
            "version": version[:64], "now": d.time(now),
        },
    )  # fmt: skip


def beat(
    worker_id: int,
    *,
    busy: int,
    unwritten: int,
    writer_lag: float = 0.0,
    memory: Memory | None = None,
    now: datetime | None = None,
) -> Asked | None:
    """Say that this worker is alive; returns what is asked of it. None when it was buried meanwhile, or its row is
    gone: it must exit.

    `writer_lag` is the seconds that its oldest unwritten outcome has waited.
    """
    d = sql.dialect()
    rows = sql.query(
        f"UPDATE {WORKER} SET beat_at = {d.now}, busy = %(busy)s, unwritten = %(unwritten)s, writer_lag = %(lag)s, "
        "memory = COALESCE(%(memory)s, memory), peak_memory = COALESCE(%(peak)s, peak_memory) "
        "WHERE id = %(id)s AND buried_at IS NULL RETURNING drain_requested_at",
        {
            "id": worker_id, "busy": busy, "unwritten": unwritten, "lag": writer_lag, "now": d.time(now),
            "memory": memory and memory.now, "peak": memory and memory.peak,
        },
    )  # fmt: skip
    return Asked(to_drain=rows[0]["drain_requested_at"] is not None) if rows else None


def ask_to_drain(worker_id: int) -> bool:
    """Ask a worker to finish what it has, and to exit. False for one that has ended, or was asked already."""
    d = sql.dialect()
    changed = sql.execute(
        f"UPDATE {WORKER} SET drain_requested_at = {d.now} WHERE id = %(id)s AND drain_requested_at IS NULL "
        "AND stopped_at IS NULL AND buried_at IS NULL",
        {"id": worker_id, "now": d.time(None)},
    )
    return changed == 1


def is_buried(worker_id: int) -> bool:
    """Whether this worker was judged dead; for one that may not beat, because it is stuck."""
    rows = sql.query(f"SELECT 1 AS alive FROM {WORKER} WHERE id = %(id)s AND buried_at IS NULL", {"id": worker_id})
    return not rows


def mark_stopped(worker_id: int, *, now: datetime | None = None) -> None:
    d = sql.dialect()
    sql.execute(
        f"UPDATE {WORKER} SET stopped_at = {d.now}, busy = 0, unwritten = 0, writer_lag = 0 WHERE id = %(id)s",
        {"id": worker_id, "now": d.time(now)},
    )


def living(*, now: datetime | None = None) -> list[Beat]:
    """Workers that neither stopped nor were buried."""
    d = sql.dialect()
    silence = d.milliseconds("beat_at", d.now)
    rows = sql.query(
        f"SELECT id, host, pid, pid_started, {silence} AS silence FROM {WORKER} "
        "WHERE stopped_at IS NULL AND buried_at IS NULL",
        {"now": d.time(now)},
    )
    return [
        Beat(
            id=row["id"],
            host=row["host"],
            pid=row["pid"],
            pid_started=row["pid_started"],
            silent_for=row["silence"] / 1000,
        )
        for row in rows
    ]


def bury(worker_id: int, *, silent_for: float, now: datetime | None = None) -> bool:
    """Judge a worker dead, unless it has beaten since; it exits when it finds out."""
    d = sql.dialect()
    silence = d.milliseconds("beat_at", d.now)
    changed = sql.execute(
        f"UPDATE {WORKER} SET buried_at = {d.now} WHERE id = %(id)s AND buried_at IS NULL AND {silence} >= %(ms)s",
        {"id": worker_id, "ms": int(silent_for * 1000), "now": d.time(now)},
    )
    return changed == 1


def record_death(*, host: str, pid: int, exit_code: int, peak_memory: int | None) -> bool:
    """Write how a worker of `host` ended, as its parent saw it. False when no such worker had registered.

    `exit_code` is negative for a signal, as in subprocess; `peak_memory` is bytes, None if its parent cannot tell.
    """
    seen = "CAST(%(peak)s AS bigint)"  # PostgreSQL wants a type for NULL
    larger = f"CASE WHEN {seen} IS NULL OR peak_memory >= {seen} THEN peak_memory ELSE {seen} END"
    changed = sql.execute(
        f"UPDATE {WORKER} SET exit_code = %(code)s, exit_signal = %(signal)s, peak_memory = {larger} "
        f"WHERE id = (SELECT id FROM {WORKER} WHERE host = %(host)s AND pid = %(pid)s AND stopped_at IS NULL "
        "AND exit_code IS NULL AND exit_signal IS NULL ORDER BY started_at DESC LIMIT 1)",
        {
            "host": host[:200], "pid": pid, "peak": peak_memory, "code": exit_code if exit_code >= 0 else None,
            "signal": -exit_code if exit_code < 0 else None,
        },
    )  # fmt: skip
    return changed == 1


def unexplained(*, seconds: float) -> frozenset[int]:
    """Workers that were buried less than `seconds` ago and of whose end nobody has reported yet."""
    d = sql.dialect()
    rows = sql.query(
        f"SELECT id FROM {WORKER} WHERE buried_at > {d.after('%(seconds)s')} AND exit_code IS NULL "
        "AND exit_signal IS NULL",
        {"seconds": -seconds, "now": d.time(None)},
    )
    return frozenset(int(row["id"]) for row in rows)


def forget_workers(*, older_than_hours: float) -> int:
    """Remove rows of workers that ended long ago and hold nothing."""
    d = sql.dialect()
    return sql.execute(
        f"DELETE FROM {WORKER} WHERE COALESCE(stopped_at, buried_at) < {d.after('%(seconds)s')} "
        f"AND id NOT IN (SELECT worker_id FROM {sql.JOB} WHERE state = 'processing' AND worker_id IS NOT NULL)",
        {"seconds": -older_than_hours * 3600, "now": d.time(None)},
    )


def acquire(name: str, *, holder: int, seconds: float, now: datetime | None = None) -> bool:
    """Take or renew a lease for `seconds`; False while someone else holds it."""
    d = sql.dialect()
    parameters = {"name": name, "holder": holder, "seconds": seconds, "now": d.time(now)}
    changed = sql.execute(
        f"UPDATE {LEASE} SET holder = %(holder)s, expires_at = {d.after('%(seconds)s')} "
        f"WHERE name = %(name)s AND (holder = %(holder)s OR expires_at < {d.now})",
        parameters,
    )
    if not changed:
        changed = sql.execute(
            f"INSERT INTO {LEASE} (name, holder, expires_at) "
            f"SELECT CAST(%(name)s AS varchar), %(holder)s, {d.after('%(seconds)s')} "
            f"WHERE NOT EXISTS (SELECT 1 FROM {LEASE} WHERE name = %(name)s) ON CONFLICT DO NOTHING",
            parameters,
        )
    return changed == 1


def acquire_when_free(name: str, *, seconds: float) -> bool:
    """Take a lease for `seconds` that nobody may renew: True once per period, whoever asks."""
    return acquire(name, holder=new_worker_id(), seconds=seconds)


def give_up(name: str, *, holder: int, now: datetime | None = None) -> None:
    """End a lease early, so that the next holder need not wait."""
    d = sql.dialect()
    sql.execute(
        f"UPDATE {LEASE} SET expires_at = {d.now} WHERE name = %(name)s AND holder = %(holder)s",
        {"name": name, "holder": holder, "now": d.time(now)},
    )


_PROGRESS = {"job_id": "uuid", "attempt": "integer", "stage": "text", "done": "integer", "total": "integer"}


def write_progress(reports: Sequence[tuple[UUID, int, Progress]]) -> None:
    """Store the latest progress of running attempts: (job id, attempt, progress)."""
    d = sql.dialect()
    rows = [
        {
            "job_id": job,
            "attempt": attempt,
            "stage": report.stage[:32],
            "done": report.done,
            "total": report.total,
        }
        for job, attempt, report in reports
    ]
    sql.execute(
        f"INSERT INTO {PROGRESS} (job_id, attempt, stage, done, total, at) "
        f"SELECT w.job_id, w.attempt, w.stage, w.done, w.total, {d.now} FROM {d.rows(_PROGRESS)} w WHERE true "
        "ON CONFLICT (job_id) DO UPDATE SET attempt = excluded.attempt, stage = excluded.stage, done = excluded.done, "
        "total = excluded.total, at = excluded.at",
        {"rows": sql.encode(rows), "now": d.time(None)},
    )


def clear_progress(jobs: Iterable[UUID]) -> None:
    """Forget the progress of attempts that ended."""
    d = sql.dialect()
    sql.execute(
        f"DELETE FROM {PROGRESS} WHERE job_id IN (SELECT job_id FROM {d.rows({'job_id': 'uuid'})} w)",
        {"rows": sql.encode([{"job_id": job} for job in jobs])},
    )


def clear_stray_progress() -> int:
    """Forget progress whose job no longer runs: its worker died before it could."""
    return sql.execute(
        f"DELETE FROM {PROGRESS} WHERE job_id NOT IN (SELECT id FROM {sql.JOB} WHERE state = 'processing')"
    )
