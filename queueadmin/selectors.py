"""Reads for the dashboard, the API, the command line and metrics. Nothing here writes or asks Redis.

Counts are written so that each state is answered from its own partial index: the slim rows that
retention keeps for a year are never visited.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from dramatiq import get_broker

from queueadmin import deaths, limits, lookup, sql
from queueadmin.conf import queue_settings
from queueadmin.minutes import counted
from queueadmin.models import JobEvent, JobMinute, JobProgress, QueueControl, WorkerProcess
from queueadmin.sql import JOB, Row
from queueadmin.states import LIVE, TERMINAL, State

_ENDED = ", ".join(f"'{state}'" for state in sorted(TERMINAL))
_ALIVE = ("state = 'pending'", "state IN ('retrying', 'scheduled')", "state = 'processing'")
_CURRENT = (*_ALIVE, f"state IN ({_ENDED}) AND cleaned_at IS NULL")
"""Which rows are current, condition by condition as the partial indexes are declared."""
_OPEN = (*_ALIVE, "state IN ('dead_letter', 'failed') AND cleaned_at IS NULL")
"""Rows that an operator may have to look at. Completed ones are many, and no index tells their queues apart:
counting 170,000 of them by queue took 300 ms; without them a page stays below that at any size."""
OPEN_STATES = [state for state in State if state not in (State.COMPLETED, State.CANCELLED)]


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Outcomes since the ledger began. Times in milliseconds, summed; `attempts` are claims that ended."""

    completed: int = 0
    failed: int = 0
    dead_letter: int = 0
    cancelled: int = 0
    retried: int = 0
    released: int = 0
    rescued: int = 0
    attempts: int = 0
    wait_ms: int = 0
    run_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class QueueSummary:
    """One queue: its open jobs by state, what operators set, and who serves it."""

    name: str
    counts: dict[str, int]
    """Of every state but completed and cancelled."""
    oldest_pending_seconds: float | None = None
    paused_at: datetime | None = None
    paused_by: str = ""
    reason: str = ""
    resume_at: datetime | None = None
    """When the dispatcher resumes it by itself."""
    workers: int = 0
    """Live workers that take jobs from it."""
    concurrency_limit: int | None = None
    """Most of its jobs that run at once."""

    @property
    def pending(self) -> int:
        return self.counts[State.PENDING]

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None

    @property
    def is_draining(self) -> bool:
        """Paused, and something still runs."""
        return self.is_paused and bool(self.counts[State.PROCESSING])


@dataclass(frozen=True, kw_only=True)
class LimitInForce:
    """How many jobs of a queue or partition may run at once, and how many do. `queue` is empty for all queues,
    `partition` None for the whole queue."""

    queue: str
    partition: str | None
    limit: int
    running: int

    @property
    def is_reached(self) -> bool:
        return self.running >= self.limit


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One worker process. `silent_for` is seconds since its last beat, by the database's clock."""

    id: int
    name: str
    host: str
    pid: int
    queues: tuple[str, ...]
    actors: tuple[str, ...]
    threads: int
    busy: int
    unwritten: int
    started_at: datetime
    beat_at: datetime
    silent_for: float
    state: str
    """`alive`, `silent` (its next judge will bury it), `buried` (its jobs were rescued) or `stopped`."""
    ended: str = ""
    """How it died, in words, where its master saw it."""
    peak_memory: int | None = None
    """The most bytes that it and its children were seen to take."""
    writer_lag: float = 0.0
    """Seconds that its oldest unwritten outcome has waited."""
    memory: int | None = None
    """Bytes that it and its children take now."""
    version: str = ""
    """Release of the application that it runs."""
    draining_since: datetime | None = None
    """When it was asked to finish what it has, and to exit."""

    @property
    def is_silent(self) -> bool:
        return self.state in ("silent", "buried")

    @property
    def is_draining(self) -> bool:
        """Whether it takes nothing more, and exits when what it has is done."""
        return self.draining_since is not None and self.state in ("alive", "silent")


@dataclass(frozen=True, kw_only=True)
class TimelineEntry:
    """One event of a job. `after` is seconds since the event before it."""

    edge: str
    attempt: int
    at: datetime
    after: float | None
    worker: str
    detail: dict[str, Any] = field(default_factory=dict)
    worker_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What an operation needs to know of a job before it acts."""

    id: UUID
    queue: str
    state: str
    is_cleaned: bool
    cancel_requested: bool


# -- counts --------------------------------------------------------------------------------------


def job_counts(actor: str | None = None, partition_key: str | None = None) -> dict[str, int]:
    """Current jobs by state, every state present: live ones, and ended ones that retention has not emptied."""
    condition, parameters = _filter(actor=actor, partition_key=partition_key)
    counts = dict.fromkeys((str(state) for state in State), 0)
    for row in _count(_CURRENT, "state", condition, parameters):
        counts[row["state"]] += int(row["n"])
    return counts


def totals(actor: str | None = None, partition_key: str | None = None) -> Totals:
    """Outcomes ever counted; they survive the clean-up of the jobs. A job retried after failing counts in both."""
    condition, parameters = _filter(actor=actor, partition_key=partition_key)
    names = [item.name for item in fields(Totals)]
    sums = ", ".join(f"COALESCE(SUM({name}), 0) AS {name}" for name in names)
    row = sql.query(f"SELECT {sums} FROM {counted(condition)} c", parameters)[0]
    return Totals(**{name: int(row[name]) for name in names})


def queue_depths(actor: str | None = None, partition_key: str | None = None) -> dict[str, dict[str, int]]:
    """Queue name -> current jobs by state, every state present; queues without any job are left out."""
    return _by_queue(_CURRENT, list(State), actor=actor, partition_key=partition_key)


def live_depths(actor: str | None = None, partition_key: str | None = None) -> dict[str, dict[str, int]]:
    """Queue name -> jobs that have not ended, by state; queues without any are left out."""
    return _by_queue(_ALIVE, sorted(LIVE), actor=actor, partition_key=partition_key)


def open_depths(partition_key: str | None = None) -> dict[str, dict[str, int]]:
    """Queue name -> open jobs by state, without completed and cancelled; queues without any are left out."""
    return _by_queue(_OPEN, OPEN_STATES, partition_key=partition_key)


def open_counts() -> list[Row]:
    """How many open jobs there are (`n`) by queue, actor and state."""
    return _count(_OPEN, "queue, actor, state", "", {})


def summed_by(column: str, counts: Iterable[Row]) -> dict[str, dict[str, int]]:
    """Of `open_counts`: queue or actor -> open jobs by state, by name."""
    return _by_state(column, counts, OPEN_STATES)


def _by_queue(rows: Sequence[str], states: Sequence[State], **wanted: str | None) -> dict[str, dict[str, int]]:
    condition, parameters = _filter(**wanted)
    return _by_state("queue", _count(rows, "queue, state", condition, parameters), states)


def _by_state(column: str, counted: Iterable[Row], states: Sequence[State]) -> dict[str, dict[str, int]]:
    depths: dict[str, dict[str, int]] = {}
    for row in counted:
        counts = depths.setdefault(row[column], dict.fromkeys((str(state) for state in states), 0))
        counts[row["state"]] += int(row["n"])
    return dict(sorted(depths.items()))


def pending_count(queue: str) -> int:
    """How many jobs of one queue are pending, all of them."""
    row = sql.query(f"SELECT count(*) AS n FROM {JOB} WHERE state = 'pending' AND queue = %(queue)s", {"queue": queue})
    return int(row[0]["n"])


def running_count(queue: str) -> int:
    """How many jobs of one queue workers hold."""
    row = sql.query(
        f"SELECT count(*) AS n FROM {JOB} WHERE state = 'processing' AND queue = %(queue)s", {"queue": queue}
    )
    return int(row[0]["n"])


def oldest_pending_seconds(
    queue: str | None = None, actor: str | None = None, partition_key: str | None = None
) -> float | None:
    """How long the first job in line has been due, in seconds; None when nothing is pending.

    Reads the head of each queue's index, so that it costs the same at any depth.
    """
    condition, parameters = _filter(actor=actor, partition_key=partition_key)
    names = lookup.pending_queues() if queue is None else [queue]
    ages = [age for name in names if (age := _age_of_first(name, condition, parameters)) is not None]
    return max(ages, default=None)


def _age_of_first(queue: str, condition: str, parameters: Row) -> float | None:
    d = sql.dialect()
    age = d.milliseconds("COALESCE(run_at, created_at)", d.now)
    rows = sql.query(
        f"SELECT {age} AS age FROM {JOB} WHERE state = 'pending' AND queue = %(queue)s{condition} "
        "ORDER BY order_key, id LIMIT 1",
        {**parameters, "queue": queue, "now": d.time(None)},
    )
    return max(0.0, rows[0]["age"] / 1000) if rows else None


def _count(rows: Sequence[str], columns: str, condition: str, parameters: Row) -> list[Row]:
    parts = [
        f"SELECT {columns}, count(*) AS n FROM {JOB} WHERE {wanted}{condition} GROUP BY {columns}" for wanted in rows
    ]
    return sql.query(" UNION ALL ".join(parts), parameters)


def _filter(**wanted: str | None) -> tuple[str, Row]:
    """`AND column = value` for every value that is given."""
    parameters: Row = {name: value for name, value in wanted.items() if value is not None}
    return "".join(f" AND {name} = %({name})s" for name in parameters), parameters


# -- queues and workers --------------------------------------------------------------------------


def known_queues() -> list[str]:
    """Every queue that an actor, a live worker, an operator's setting or an open job names."""
    controlled = set(QueueControl.objects.values_list("queue", flat=True))
    return sorted(_declared() | _served(_alive()) | controlled | set(lookup.pending_queues()) | _in_use())


def _declared() -> set[str]:
    return {actor.queue_name for actor in get_broker().actors.values()}


def _alive() -> list[Worker]:
    return [worker for worker in workers() if worker.state == "alive"]


def _served(alive: Iterable[Worker]) -> set[str]:
    return {queue for worker in alive for queue in worker.queues}


def _in_use() -> set[str]:
    parts = (f"SELECT queue FROM {JOB} WHERE {rows} GROUP BY queue" for rows in _OPEN[1:])
    return {row["queue"] for row in sql.query(" UNION ".join(parts))}


def queues(open_jobs: Sequence[Row] | None = None, *, partition_key: str | None = None) -> list[QueueSummary]:
    """The known queues and those with failed jobs, by name; with a `partition_key`, their jobs are that partition's.

    `open_jobs` are `open_counts`, by whoever has them.
    """
    depths = open_depths(partition_key) if open_jobs is None else summed_by("queue", open_jobs)
    controls = {control.queue: control for control in QueueControl.objects.all()}
    alive = _alive()
    return [
        _summary(
            name, depths.get(name), controls.get(name), sum(name in worker.queues for worker in alive), partition_key
        )
        for name in sorted(_declared() | _served(alive) | set(controls) | set(depths))
    ]


def _summary(
    name: str, counts: dict[str, int] | None, control: QueueControl | None, workers: int, partition_key: str | None
) -> QueueSummary:
    counts = counts or dict.fromkeys((str(state) for state in OPEN_STATES), 0)
    return QueueSummary(
        name=name,
        counts=counts,
        oldest_pending_seconds=oldest_pending_seconds(name, None, partition_key) if counts[State.PENDING] else None,
        paused_at=control.paused_at if control else None,
        paused_by=control.paused_by if control else "",
        reason=control.reason if control else "",
        resume_at=control.resume_at if control else None,
        workers=workers,
        concurrency_limit=control.concurrency_limit if control else None,
    )


def limits_in_force() -> list[LimitInForce]:
    """All concurrency limits: of queues first, then of partitions."""
    running = limits.count_running()
    found = [
        LimitInForce(queue=queue, partition=partition, limit=most, running=limits.used((queue, partition), running))
        for (queue, partition), most in limits.known().most.items()
    ]
    return sorted(found, key=lambda one: (one.partition is not None, one.partition or "", one.queue))


def limits_reached(queue: str, partition: str) -> list[LimitInForce]:
    """The limits that let no further job of this queue and partition run now."""
    known = limits.known()
    if not (scopes := known.of(queue, partition)):
        return []
    running = limits.count_running()
    covering = [
        LimitInForce(queue=scope[0], partition=scope[1], limit=known.most[scope], running=limits.used(scope, running))
        for scope in scopes
    ]
    return [one for one in covering if one.is_reached]


def workers(*, include_ended: bool = False) -> list[Worker]:
    """Worker processes, silent ones first; those that stopped or were buried only when asked for."""
    d = sql.dialect()
    rows = sql.query(
        f"SELECT id, {d.milliseconds('beat_at', d.now)} AS silence FROM {WorkerProcess._meta.db_table}"
        + ("" if include_ended else " WHERE stopped_at IS NULL"),
        {"now": d.time(None)},
    )
    silence = {int(row["id"]): max(0.0, row["silence"] / 1000) for row in rows}
    found = [_worker(row, silence[row.pk]) for row in WorkerProcess.objects.filter(pk__in=silence)]
    if not include_ended:
        found = [worker for worker in found if worker.state != "buried" or worker.silent_for < _SHOW_BURIED_SECONDS]
    return sorted(found, key=lambda worker: (not worker.is_silent, worker.name, worker.id))


_SHOW_BURIED_SECONDS = 3600
"""A buried worker stays in sight for an hour, so that whoever is called finds out which one died."""


def _worker(row: WorkerProcess, silent_for: float) -> Worker:
    return Worker(
        id=row.pk, name=row.name, host=row.host, pid=row.pid, queues=tuple(row.queues), actors=tuple(row.actors),
        threads=row.threads, busy=row.busy, unwritten=row.unwritten, started_at=row.started_at, beat_at=row.beat_at,
        silent_for=silent_for, state=_worker_state(row, silent_for), peak_memory=row.peak_memory,
        ended=deaths.cause(row.exit_code, row.exit_signal), writer_lag=row.writer_lag,
        memory=row.memory, version=row.version, draining_since=row.drain_requested_at,
    )  # fmt: skip


def _worker_state(row: WorkerProcess, silent_for: float) -> str:
    if row.stopped_at is not None:
        return "stopped"
    if row.buried_at is not None:
        return "buried"
    return "silent" if silent_for >= queue_settings().silent_seconds else "alive"


# -- single jobs ---------------------------------------------------------------------------------


def timeline(job_id: UUID) -> list[TimelineEntry]:
    """Every event of a job, in order."""
    events = list(JobEvent.objects.filter(job_id=job_id).order_by("id"))
    names = worker_names(event.worker_id for event in events)
    entries: list[TimelineEntry] = []
    for event in events:
        detail = event.detail if isinstance(event.detail, dict) else {"detail": event.detail} if event.detail else {}
        entries.append(
            TimelineEntry(
                edge=event.edge,
                attempt=event.attempt,
                at=event.at,
                after=(event.at - entries[-1].at).total_seconds() if entries else None,
                worker=names.get(event.worker_id, "") if event.worker_id is not None else "",
                detail=detail,
                worker_id=event.worker_id,
            )
        )
    return entries


def worker_names(ids: Iterable[int | None]) -> dict[int, str]:
    """Names of workers, for showing; one that was forgotten is shown by its id."""
    wanted = {worker for worker in ids if worker is not None}
    names = {worker: f"worker {worker}" for worker in wanted}
    names.update(WorkerProcess.objects.filter(pk__in=wanted).values_list("pk", "name"))
    return names


def progress(job_ids: Iterable[UUID]) -> dict[UUID, JobProgress]:
    """The latest report of each running job that has made one."""
    return {row.job_id: row for row in JobProgress.objects.filter(job_id__in=list(job_ids))}


def job_states(job_ids: Sequence[UUID]) -> dict[UUID, JobState]:
    """Where each of these jobs stands; unknown ids are left out."""
    if not job_ids:
        return {}
    rows = sql.query(
        f"SELECT j.id, j.queue, j.state, j.cleaned_at, j.cancel_requested_at FROM {JOB} j "
        f"JOIN {sql.dialect().rows({'id': 'uuid'})} w ON w.id = j.id",
        {"rows": sql.encode([{"id": job_id} for job_id in dict.fromkeys(job_ids)])},
    )
    return {
        sql.as_uuid(row["id"]): JobState(
            id=sql.as_uuid(row["id"]),
            queue=row["queue"],
            state=row["state"],
            is_cleaned=row["cleaned_at"] is not None,
            cancel_requested=row["cancel_requested_at"] is not None,
        )
        for row in rows
    }


def minutes(*, since: datetime, actor: str | None = None) -> list[JobMinute]:
    """Counted outcomes since a moment, oldest first, one row per counting process until they are folded."""
    found = JobMinute.objects.filter(minute__gte=since).order_by("minute")
    return list(found if actor is None else found.filter(actor=actor))
