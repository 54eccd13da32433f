"""The rows in which processes keep what they measured: written with the beat, folded when a process is gone."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from django.db import transaction

from queueadmin import sql
from queueadmin.measures import Labels, Reading
from queueadmin.sql import WORKER, Row

_TABLE = "queueadmin_measure"
_COLUMNS = {"name": "text", "labels": "text", "count": "integer", "total": "float", "buckets": "json"}
_GONE_SECONDS = 60
"""A buried worker that wakes up exits with its next beat; its rows are left alone for this long."""


def write(source_id: int, readings: Sequence[Reading]) -> None:
    """Replace this process's rows by what it measured up to now.

    A buried worker's rows may have been added up already, so it can write no more.
    """
    if readings:
        alive = f"EXISTS (SELECT 1 FROM {WORKER} p WHERE p.id = %(source)s AND p.buried_at IS NULL)"
        _upsert(source_id, [_row(reading) for reading in readings], condition=alive)


def read() -> list[Reading]:
    """What all processes have measured, the present and the past, summed."""
    return _summed(_reading(row) for row in sql.query(f"SELECT {', '.join(_COLUMNS)} FROM {_TABLE}"))


def fold() -> int:
    """Add up the rows of processes that are gone into those of source 0; returns how many rows went.

    The rows are taken by deleting them, so two leaders never take the same; and the table of totals is one leader's
    at a time, because adding to it is done here and not in SQL.
    """
    d = sql.dialect()
    ended = "COALESCE(p.stopped_at, p.buried_at)"
    gone = (
        f"source_id <> 0 AND NOT EXISTS (SELECT 1 FROM {WORKER} p WHERE p.id = source_id "
        f"AND ({ended} IS NULL OR {ended} > {d.after('%(age)s')}))"
    )
    parameters: Row = {"age": -_GONE_SECONDS, "now": d.time(None)}
    if not sql.query(f"SELECT 1 AS found FROM {_TABLE} WHERE {gone} LIMIT 1", parameters):
        return 0
    with transaction.atomic():
        if sql.is_postgresql():
            sql.execute(f"LOCK TABLE {_TABLE} IN SHARE ROW EXCLUSIVE MODE")
        rows = sql.query(f"DELETE FROM {_TABLE} WHERE {gone} RETURNING {', '.join(_COLUMNS)}", parameters)
        before = sql.query(f"SELECT {', '.join(_COLUMNS)} FROM {_TABLE} WHERE source_id = 0")
        changed = {(row["name"], row["labels"]) for row in rows}
        rows += [row for row in before if (row["name"], row["labels"]) in changed]
        _upsert(0, [_row(reading) for reading in _summed(map(_reading, rows))], condition="true")
    return len(rows)


def _upsert(source_id: int, rows: Sequence[Row], *, condition: str) -> None:
    updates = ", ".join(f"{name} = excluded.{name}" for name in ("count", "total", "buckets"))
    sql.execute(
        f"INSERT INTO {_TABLE} (source_id, {', '.join(_COLUMNS)}) "
        f"SELECT %(source)s, {', '.join(f'w.{name}' for name in _COLUMNS)} "
        f"FROM {sql.dialect().rows(_COLUMNS)} w WHERE {condition} "
        f"ON CONFLICT (source_id, name, labels) DO UPDATE SET {updates}",
        {"source": source_id, "rows": sql.encode(rows)},
    )


def _row(reading: Reading) -> Row:
    return {
        "name": reading.name, "labels": json.dumps(reading.labels), "count": reading.count, "total": reading.total,
        "buckets": list(reading.buckets),
    }  # fmt: skip


def _reading(row: Row) -> Reading:
    return Reading(
        name=row["name"], labels=tuple(json.loads(row["labels"])), count=int(row["count"]), total=float(row["total"]),
        buckets=tuple(sql.decode(row["buckets"])),
    )  # fmt: skip


def _summed(readings: Iterable[Reading]) -> list[Reading]:
    by_series: dict[tuple[str, Labels], list[Reading]] = defaultdict(list)
    for reading in readings:
        by_series[reading.name, reading.labels].append(reading)
    return [
        Reading(
            name=name,
            labels=labels,
            count=sum(reading.count for reading in parts),
            total=sum(reading.total for reading in parts),
            buckets=tuple(map(sum, zip_longest(*(reading.buckets for reading in parts), fillvalue=0))),
        )
        for (name, labels), parts in by_series.items()
    ]
