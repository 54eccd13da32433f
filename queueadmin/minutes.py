"""Counted outcomes over time: folding the rows of many processes into one, old minutes into hours and days, and
summing up what will not change any more, so that a total costs the same after years.

What a reader adds up is never missing and never counted twice: each step moves or sums rows in one transaction, and
readers take totals and what came after them from one snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction

from queueadmin import sql
from queueadmin.counters import FAILURE, FAILURE_KEY, MINUTE, MINUTE_KEY, SUMMED
from queueadmin.sql import Row

_TOTAL = "queueadmin_jobtotal"
_FAILURE_TOTAL = "queueadmin_failuretotal"
_MARK = "queueadmin_totalsmark"

_FOLD_AFTER_SECONDS = 180
"""Long after a process can still add to a minute: outcomes are counted in the minute in which their commit began."""
_SUM_AFTER_SECONDS = 900
"""Longer than any transaction that writes outcomes lives."""
_HOURS_AFTER_SECONDS = 48 * 3600
_DAYS_AFTER_SECONDS = 35 * 86_400
_FORGET_FAILURES_AFTER_SECONDS = 90 * 86_400
_LONG_AGO = "'1970-01-01 00:00:00+00'"


@dataclass(frozen=True, kw_only=True)
class _Counted:
    """A table of counters by minute: its key, and how to add up each other column of many rows."""

    table: str
    key: tuple[str, ...]
    sums: Mapping[str, str]

    def columns(self, *, minute: str) -> str:
        """The key with another minute and source 0, and the sums."""
        key = {"minute": f"{minute} AS m", "source_id": "0"}
        return ", ".join([key.get(name, name) for name in self.key] + list(self.sums.values()))


def _outcomes() -> _Counted:
    return _Counted(table=MINUTE, key=MINUTE_KEY, sums={name: f"SUM({name})" for name in SUMMED})


def _failures() -> _Counted:
    sums = {"count": "SUM(count)", "example_id": sql.dialect().newest("example_id")}
    return _Counted(table=FAILURE, key=FAILURE_KEY, sums=sums)


def _start_of(unit: str, moment: str) -> str:
    """The minute, hour or day in which a moment lies, in SQL."""
    if sql.is_postgresql():
        return f"date_trunc('{unit}', {moment})"
    formats = {"minute": "%%Y-%%m-%%d %%H:%%M:00", "hour": "%%Y-%%m-%%d %%H:00:00", "day": "%%Y-%%m-%%d 00:00:00"}
    return f"strftime('{formats[unit]}', {moment})"


# -- folding -------------------------------------------------------------------------------------


def fold() -> None:
    """Sum ended minutes over processes, after two days over the hour, after five weeks over the day; forget failures
    after 90 days, which the totals have counted long before."""
    for counted in (_outcomes(), _failures()):
        _fold_into("minute", counted, older_than=_FOLD_AFTER_SECONDS, only="source_id <> 0")
        _fold_into("hour", counted, older_than=_HOURS_AFTER_SECONDS)
        _fold_into("day", counted, older_than=_DAYS_AFTER_SECONDS)
    d = sql.dialect()
    sql.execute(
        f"DELETE FROM {FAILURE} WHERE minute < {d.after('%(age)s')}",
        {"age": -_FORGET_FAILURES_AFTER_SECONDS, "now": d.time(None)},
    )


def _fold_into(unit: str, counted: _Counted, *, older_than: int, only: str = "") -> None:
    """Move matching rows into the row that starts their minute, hour or day, with source 0, keeping every total."""
    d = sql.dialect()
    start = _start_of(unit, "minute")
    where = f"WHERE {only or f'minute <> {start}'} AND minute < {d.after('%(age)s')}"
    group = ", ".join(("m", *(name for name in counted.key if name not in ("minute", "source_id"))))
    updates = ", ".join(
        f"{name} = {counted.table}.{name} + excluded.{name}" if "SUM" in how else f"{name} = excluded.{name}"
        for name, how in counted.sums.items()
    )
    insert = (
        f"INSERT INTO {counted.table} ({', '.join((*counted.key, *counted.sums))}) "
        f"SELECT {counted.columns(minute=start)} FROM %s GROUP BY {group} "
        f"ON CONFLICT ({', '.join(counted.key)}) DO UPDATE SET {updates}"
    )
    parameters = {"age": -older_than, "now": d.time(None)}
    with transaction.atomic():
        if sql.is_postgresql():
            gone = f"WITH gone AS (DELETE FROM {counted.table} {where} RETURNING *) "
            sql.execute(gone + insert.replace("%s", "gone", 1), parameters)
            return
        sql.execute(insert.replace("%s", f"{counted.table} {where}", 1), parameters)
        sql.execute(f"DELETE FROM {counted.table} {where}", parameters)


# -- totals --------------------------------------------------------------------------------------


def sum_up() -> None:
    """Add the minutes that will not change any more to the totals, and move the mark.

    A second leader waits for the first at the mark's row, and then finds nothing to do.
    """
    d = sql.dialect()
    with transaction.atomic():
        sql.execute(f"INSERT INTO {_MARK} (id, until) VALUES (1, {_LONG_AGO}) ON CONFLICT DO NOTHING")
        sql.query(f"SELECT until FROM {_MARK} WHERE id = 1 {'FOR UPDATE' if sql.is_postgresql() else ''}")
        until = _start_of("minute", d.after("%(age)s"))
        parameters: Row = {"age": -_SUM_AFTER_SECONDS, "now": d.time(None)}
        for total, source, key, sums in (
            (_TOTAL, MINUTE, ("queue", "actor", "partition_key"), SUMMED),
            (_FAILURE_TOTAL, FAILURE, ("queue", "actor", "state", "error_code"), ("count",)),
        ):
            sql.execute(_addition(total, source, key, sums, until=until), parameters)
        sql.execute(f"UPDATE {_MARK} SET until = {until} WHERE id = 1 AND until < {until}", parameters)


def _addition(total: str, source: str, key: tuple[str, ...], sums: tuple[str, ...], *, until: str) -> str:
    group = ", ".join(key)
    updates = ", ".join(f"{name} = {total}.{name} + excluded.{name}" for name in sums)
    return (
        f"INSERT INTO {total} ({group}, {', '.join(sums)}) "
        f"SELECT {group}, {', '.join(f'SUM({name})' for name in sums)} FROM {source} "
        f"WHERE minute >= (SELECT until FROM {_MARK} WHERE id = 1) AND minute < {until} GROUP BY {group} "
        f"ON CONFLICT ({group}) DO UPDATE SET {updates}"
    )


_AFTER_THE_MARK = f"minute >= COALESCE((SELECT until FROM {_MARK} WHERE id = 1), {_LONG_AGO})"


def counted(condition: str = "") -> str:
    """Every outcome ever counted, as a subquery: queue, actor, partition_key and the sums; rows to be added up.

    `condition` is an ` AND ...` over queue, actor and partition_key.
    """
    columns = ", ".join(("queue", "actor", "partition_key", *SUMMED))
    return (
        f"(SELECT {columns} FROM {_TOTAL} WHERE true{condition} UNION ALL "
        f"SELECT {columns} FROM {MINUTE} WHERE {_AFTER_THE_MARK}{condition})"
    )


def counted_failures() -> str:
    """Every failed attempt ever counted, as a subquery: queue, actor, state, error_code, count; rows to be added up."""
    columns = "queue, actor, state, error_code, count"
    return f"(SELECT {columns} FROM {_FAILURE_TOTAL} UNION ALL SELECT {columns} FROM {FAILURE} WHERE {_AFTER_THE_MARK})"
