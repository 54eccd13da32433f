"""What every batch of outcomes adds to the counters, in its own transaction.

Each process adds to rows of its own: one row for all of them would make every batch wait for every other. A batch of
successes costs one more part of its statement (`OUTCOMES`); why attempts failed is counted (`FAILURES`) only by
batches in which one did.
"""

from __future__ import annotations

from queueadmin import sql
from queueadmin.sql import Count

MINUTE = "queueadmin_jobminute"
FAILURE = "queueadmin_failureminute"

COUNTERS = ("completed", "failed", "dead_letter", "cancelled", "retried", "released", "rescued")
SUMMED = (*COUNTERS, "attempts", "wait_ms", "run_ms")
"""Columns of JobMinute that are sums."""

MINUTE_KEY = ("minute", "source_id", "queue", "actor", "partition_key")
FAILURE_KEY = (*MINUTE_KEY, "state", "error_code", "fingerprint")


def _outcomes(source: str) -> str:
    """Add the outcomes in `u` to this process's row of the minute.

    A retried outcome is one that went to `retrying` because of a failure; a rescue goes there too
    and is told apart by the parameter `rescuing`.
    """
    d = sql.dialect()
    cases = {
        "completed": "u.state = 'completed'",
        "failed": "u.state = 'failed'",
        "dead_letter": "u.state = 'dead_letter'",
        "cancelled": "u.state = 'cancelled'",
        "retried": "u.state = 'retrying' AND %(rescuing)s = 0",
        "released": "u.state = 'pending' AND %(rescuing)s = 0",
        "rescued": "%(rescuing)s = 1",
        # Whoever has a worker's id ends an attempt; who has none cancels or discards what is not running.
        "attempts": "%(worker_id)s IS NOT NULL",
    }
    counts = ", ".join(f"SUM(CASE WHEN {condition} THEN 1 ELSE 0 END)" for condition in cases.values())
    due = "COALESCE(u.run_at, u.created_at)"
    # Times are of attempts, so of what a worker ended: who cancels a waiting job has not run it.
    ended = (
        "u.state IN ('completed', 'failed', 'dead_letter', 'cancelled') AND u.claimed_at IS NOT NULL "
        "AND %(worker_id)s IS NOT NULL"
    )
    wait = f"SUM(CASE WHEN {ended} THEN {d.milliseconds(due, 'u.claimed_at')} ELSE 0 END)"
    run = f"SUM(CASE WHEN {ended} THEN {d.milliseconds('u.claimed_at', d.now)} ELSE 0 END)"
    updates = ", ".join(f"{name} = {MINUTE}.{name} + excluded.{name}" for name in SUMMED)
    return (
        f"INSERT INTO {MINUTE} ({', '.join(MINUTE_KEY)}, {', '.join(SUMMED)}) "
        f"SELECT {d.minute}, COALESCE(%(worker_id)s, 0), u.queue, u.actor, u.partition_key, {counts}, {wait}, {run} "
        f"FROM {source} WHERE true GROUP BY u.queue, u.actor, u.partition_key "
        f"ON CONFLICT ({', '.join(MINUTE_KEY)}) DO UPDATE SET {updates}"
    )


OUTCOMES = Count(
    columns=("queue", "actor", "partition_key", "state", "claimed_at", "run_at", "created_at"), statement=_outcomes
)


def _failures(source: str) -> str:
    """Add the failed attempts in `u` to this process's rows of the minute, by why they failed."""
    d = sql.dialect()
    group = "u.queue, u.actor, u.partition_key, u.state, u.error_code, u.fingerprint"
    return (
        f"INSERT INTO {FAILURE} ({', '.join(FAILURE_KEY)}, count, example_id) "
        f"SELECT {d.minute}, COALESCE(%(worker_id)s, 0), {group}, COUNT(*), {d.newest('u.id')} "
        f"FROM {source} WHERE u.state IN ('failed', 'dead_letter', 'retrying') GROUP BY {group} "
        f"ON CONFLICT ({', '.join(FAILURE_KEY)}) DO UPDATE SET count = {FAILURE}.count + excluded.count, "
        "example_id = excluded.example_id"
    )


FAILURES = Count(columns=("queue", "actor", "partition_key", "state", "error_code", "fingerprint"), statement=_failures)
