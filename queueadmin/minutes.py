"""Counted outcomes: folding the rows of many processes into one, and old minutes into hours."""

from __future__ import annotations

from django.db import transaction

from queueadmin import sql
from queueadmin.sql import COUNTERS, MINUTE

_SUMMED = (*COUNTERS, "wait_ms", "run_ms")
_KEY = "minute, source_id, queue, actor, partition_key"
_FOLD_AFTER_SECONDS = 180
"""Long after a process can still add to a minute: outcomes are counted in the minute they commit."""
_HOURS_AFTER_SECONDS = 48 * 3600
_HOUR = {
    True: ("date_trunc('hour', minute)", "minute <> date_trunc('hour', minute)"),
    False: ("strftime('%%Y-%%m-%%d %%H:00:00', minute)", "strftime('%%M', minute) <> '00'"),
}
"""PostgreSQL and SQLite: the hour of a minute, and the condition that it is not the hour's first."""


def fold() -> None:
    """Sum the rows of ended minutes over processes, and of ended days over the minutes of each hour."""
    hour, within = _HOUR[sql.is_postgresql()]
    _fold_into("minute", older_than=_FOLD_AFTER_SECONDS, only="source_id <> 0")
    _fold_into(hour, older_than=_HOURS_AFTER_SECONDS, only=within)


def _fold_into(minute: str, *, older_than: int, only: str) -> None:
    """Move matching rows into the row of `minute` with source 0, keeping every total."""
    d = sql.dialect()
    sums = ", ".join(f"SUM({name}) AS {name}" for name in _SUMMED)
    updates = ", ".join(f"{name} = {MINUTE}.{name} + excluded.{name}" for name in _SUMMED)
    where = f"WHERE {only} AND minute < {d.after('%(age)s')}"
    parameters = {"age": -older_than, "now": d.time(None)}
    insert = f"INSERT INTO {MINUTE} ({_KEY}, {', '.join(_SUMMED)}) "
    upsert = f"ON CONFLICT ({_KEY}) DO UPDATE SET {updates}"
    with transaction.atomic():
        if sql.is_postgresql():
            sql.execute(
                f"WITH gone AS (DELETE FROM {MINUTE} {where} RETURNING *) {insert} "
                f"SELECT {minute} AS m, 0, queue, actor, partition_key, {sums} FROM gone "
                f"GROUP BY m, queue, actor, partition_key {upsert}",
                parameters,
            )
            return
        sql.execute(
            f"{insert} SELECT {minute} AS m, 0, queue, actor, partition_key, {sums} FROM {MINUTE} {where} "
            f"GROUP BY m, queue, actor, partition_key {upsert}",
            parameters,
        )
        sql.execute(f"DELETE FROM {MINUTE} {where}", parameters)
