"""Everything that metrics are made of, read from the ledger at one moment, in a bounded number of queries.

Counts of live jobs come from the partial indexes; totals from sums that do not grow with the years; nothing visits
the rows of what has ended, but for failed jobs and dead letters that somebody has to look at.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import connection, transaction

from queueadmin import lookup, measure_rows, presence, selectors, sql
from queueadmin.counters import COUNTERS
from queueadmin.dispatch import LEASE_NAME
from queueadmin.measures import Reading
from queueadmin.minutes import counted, counted_failures
from queueadmin.selectors import Worker
from queueadmin.sql import JOB
from queueadmin.states import State

_STATEMENT_SECONDS = 20
"""A statement of a scrape that takes longer is given up: metrics must not add to what is wrong."""


@dataclass(frozen=True, kw_only=True)
class ActorTotals:
    """What has ended since the ledger began, of one actor in one queue. `started` includes what runs now."""

    started: int
    completed: int
    failed: int
    dead_letter: int
    cancelled: int
    retried: int
    released: int
    rescued: int


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The state of the whole installation. Times in seconds."""

    jobs: Mapping[tuple[str, str, str], int]
    """(queue, actor, state) -> jobs, of the open states."""
    oldest_waiting: Mapping[str, float]
    """Queue -> how long its first pending job has been due, of queues in which one is pending."""
    totals: Mapping[tuple[str, str], ActorTotals]
    """By (queue, actor)."""
    failures: Mapping[tuple[str, str, str, str], int]
    """(queue, actor, error code, state that followed) -> failed attempts."""
    readings: tuple[Reading, ...]
    workers: tuple[Worker, ...]
    paused: frozenset[str]
    has_leader: bool
    dispatcher_lag: float
    oldest_transaction: float | None
    latency: float
    duration: float


def read() -> Ledger:
    """Read it all. Raises DatabaseError or InterfaceError."""
    started = time.perf_counter()
    with _bounded():
        latency = _round_trip()
        return Ledger(
            jobs=_jobs(),
            oldest_waiting=_oldest_waiting(),
            totals=_totals(),
            failures=_failures(),
            readings=tuple(measure_rows.read()),
            workers=tuple(selectors.workers()),
            paused=lookup.paused_queues(),
            has_leader=_has_leader(),
            dispatcher_lag=_dispatcher_lag(),
            oldest_transaction=_oldest_transaction(),
            latency=latency,
            duration=time.perf_counter() - started,
        )


@contextmanager
def _bounded() -> Iterator[None]:
    """Limit each statement on PostgreSQL. SQLite has no such limit, and a transaction would wait for its writers."""
    if not sql.is_postgresql():
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{_STATEMENT_SECONDS}s'")
        yield


def _round_trip() -> float:
    started = time.perf_counter()
    sql.query("SELECT 1 AS one")
    return time.perf_counter() - started


def _jobs() -> dict[tuple[str, str, str], int]:
    return {(row["queue"], row["actor"], row["state"]): int(row["n"]) for row in selectors.open_counts()}


def _oldest_waiting() -> dict[str, float]:
    ages = {queue: selectors.oldest_pending_seconds(queue) for queue in lookup.pending_queues()}
    return {queue: age for queue, age in ages.items() if age is not None}


def _totals() -> dict[tuple[str, str], ActorTotals]:
    """One statement, so that a job which ends meanwhile is in hand or has ended, never neither: a counter that went
    back would pass for a restart, and the whole of it for new."""
    sums = ", ".join(f"SUM({name}) AS {name}" for name in ("started", *COUNTERS))
    columns, zeros = ", ".join(COUNTERS), ", ".join("0" for _ in COUNTERS)
    in_hand = f"SELECT queue, actor, 1 AS started, {zeros} FROM {JOB} WHERE state = '{State.PROCESSING}'"
    rows = sql.query(
        f"SELECT queue, actor, {sums} FROM (SELECT queue, actor, attempts AS started, {columns} FROM {counted()} c "
        f"UNION ALL {in_hand}) a GROUP BY queue, actor"
    )
    return {
        (row.pop("queue"), row.pop("actor")): ActorTotals(**{name: int(value) for name, value in row.items()})
        for row in rows
    }


def _failures() -> dict[tuple[str, str, str, str], int]:
    key = "queue, actor, error_code, state"
    rows = sql.query(f"SELECT {key}, SUM(count) AS n FROM {counted_failures()} c GROUP BY {key}")
    return {(row["queue"], row["actor"], row["error_code"], row["state"]): int(row["n"]) for row in rows}


def _has_leader() -> bool:
    d = sql.dialect()
    return bool(
        sql.query(
            f"SELECT 1 AS led FROM {presence.LEASE} WHERE name = %(name)s AND expires_at > {d.now}",
            {"name": LEASE_NAME, "now": d.time(None)},
        )
    )


def _dispatcher_lag() -> float:
    d = sql.dialect()
    rows = sql.query(
        f"SELECT {d.milliseconds('run_at', d.now)} AS lag FROM {JOB} "
        f"WHERE state IN ('retrying', 'scheduled') AND run_at <= {d.now} ORDER BY run_at LIMIT 1",
        {"now": d.time(None)},
    )
    return max(0.0, rows[0]["lag"] / 1000) if rows else 0.0


def _oldest_transaction() -> float | None:
    """Of other sessions in this database that this user may see; None on SQLite, which does not tell."""
    if not sql.is_postgresql():
        return None
    rows = sql.query(
        "SELECT extract(epoch FROM max(clock_timestamp() - xact_start))::float AS age FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return max(0.0, rows[0]["age"] or 0.0)
