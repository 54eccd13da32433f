"""Guarded batch writes, rendered for PostgreSQL and SQLite.

A `Write` says once, in SQL common to both, which rows it may change (`guard`), how, and which
event each change leaves. PostgreSQL runs it as one statement, so a batch costs one round trip
and is atomic by itself; SQLite, which has no data-modifying WITH, runs the same parts one after
the other inside the caller's transaction.

In every fragment `j` is the job before the change, `w` the caller's row, `u` the job after it.
The row locks are taken in the order of ids: with `UPDATE ... FROM` alone, overlapping batches
deadlocked in 10 of 21 tries; with the ordered `FOR UPDATE` in none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from queueadmin.rollbacks import run_despite_rollbacks

JOB = "queueadmin_job"
EVENT = "queueadmin_jobevent"
CONTROL = "queueadmin_queuecontrol"
SWEEP = "queueadmin_sweepreport"
PERIODIC = "queueadmin_periodiccontrol"
LIMIT = "queueadmin_partitionlimit"
WORKER = "queueadmin_workerprocess"
PROGRESS = "queueadmin_jobprogress"

Row = dict[str, Any]
Columns = Mapping[str, str]
"""Column name -> kind: uuid, text, integer, float, json."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """A statement that adds up what a write changed, in its transaction; given the source of `u`, and which columns of
    the changed jobs it reads."""

    columns: tuple[str, ...]
    statement: Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Write:
    """One guarded update of many jobs, with an event for each job that it changed."""

    columns: Columns
    guard: str
    assignments: str
    returning: tuple[str, ...]
    edge: str
    detail: str = "NULL"
    computed: Mapping[str, str] = field(default_factory=dict)
    """More to return: name -> expression over the changed job's columns, by their bare names."""

    counts: tuple[Count, ...] = ()
    limit: str = ""
    """Instead of caller's rows, take the first jobs that match the guard: `ORDER BY ... LIMIT ...`."""

    passes_locked: bool = False
    """Leave rows out that somebody else has locked, instead of waiting for them with the whole batch."""


class PostgreSQL:
    """Fragments as PostgreSQL spells them."""

    now = "COALESCE(%(now)s::timestamptz, now())"
    minute = f"date_trunc('minute', {now})"
    uuid_kind = "uuid"
    json_kind = "jsonb"
    _kinds = {
        "uuid": "uuid",
        "text": "text",
        "integer": "bigint",
        "float": "double precision",
        "json": "jsonb",
    }

    def rows(self, columns: Columns) -> str:
        record = ", ".join(f"{name} {self._kinds[kind]}" for name, kind in columns.items())
        return f"(SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS r({record}))"

    def after(self, seconds: str) -> str:
        return f"({self.now} + ({seconds}) * interval '1 second')"

    def milliseconds(self, start: str, end: str) -> str:
        return f"(extract(epoch FROM ({end} - {start})) * 1000)::bigint"

    def member(self, value: str, parameter: str) -> str:
        return f"{value} = ANY(ARRAY(SELECT jsonb_array_elements_text(%({parameter})s::jsonb)))"

    def member_integer(self, value: str, parameter: str) -> str:
        return f"{value} = ANY(ARRAY(SELECT jsonb_array_elements_text(%({parameter})s::jsonb)::bigint))"

    def json_path(self, value: str, *path: str) -> str:
        return value + "".join(f"->'{key}'" for key in path)

    def digits(self, value: str) -> str:
        """A uuid as 32 hex digits."""
        return f"encode(uuid_send({value}), 'hex')"

    def newest(self, ids: str) -> str:
        """The greatest of many ids: aggregates over uuid came with PostgreSQL 18."""
        return f"MAX({ids}::text)::uuid"

    def time(self, value: datetime | None) -> Any:
        return value


class SQLite:
    """Fragments as SQLite spells them. Times are text in UTC, uuids 32 hex digits, as Django stores them."""

    now = "%(now)s"
    minute = "strftime('%%Y-%%m-%%d %%H:%%M:00', %(now)s)"
    uuid_kind = "text"
    json_kind = "text"

    def rows(self, columns: Columns) -> str:
        record = ", ".join(f"{self._field(name, kind)} AS {name}" for name, kind in columns.items())
        return f"(SELECT {record} FROM json_each(%(rows)s))"

    def _field(self, name: str, kind: str) -> str:
        """`->` keeps JSON as JSON, where json_extract would turn true into 1 and unquote a string."""
        return f"NULLIF(value -> '$.{name}', 'null')" if kind == "json" else f"json_extract(value, '$.{name}')"

    def after(self, seconds: str) -> str:
        return f"strftime('%%Y-%%m-%%d %%H:%%M:%%f', %(now)s, ({seconds}) || ' seconds')"

    def milliseconds(self, start: str, end: str) -> str:
        return f"CAST((julianday({end}) - julianday({start})) * 86400000 AS INTEGER)"

    def member(self, value: str, parameter: str) -> str:
        return f"{value} IN (SELECT value FROM json_each(%({parameter})s))"

    member_integer = member

    def json_path(self, value: str, *path: str) -> str:
        return f"json_extract({value}, '$.{'.'.join(path)}')"

    def digits(self, value: str) -> str:
        return value

    def newest(self, ids: str) -> str:
        return f"MAX({ids})"

    def time(self, value: datetime | None) -> Any:
        return (value or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


Dialect = PostgreSQL | SQLite
_dialects: dict[str, Dialect] = {"postgresql": PostgreSQL(), "sqlite": SQLite()}


def dialect() -> Dialect:
    """The dialect of the default database."""
    return _dialects[connection.vendor]


def is_postgresql() -> bool:
    return connection.vendor == "postgresql"


def encode(rows: Sequence[Row]) -> str:
    """Rows as the JSON text that both databases unfold into a table."""
    return json.dumps(rows, default=_plain, allow_nan=False)


def decode(value: Any) -> Any:
    """A JSON column as a raw cursor returns it: text on both databases."""
    return json.loads(value) if isinstance(value, str) else value


def as_uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def as_time(value: Any) -> datetime | None:
    """A timestamp as a raw cursor returns it: SQLite's carry no zone, or are text; all are UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    moment: datetime | None = value
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def query(sql: str, parameters: Row | None = None) -> list[Row]:
    """Run a SELECT and name its columns."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or {})
        return _named(cursor)


def tuples(sql: str, parameters: Row | None = None) -> list[tuple[Any, ...]]:
    """Run a SELECT of many rows, without names for its columns."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or {})
        return list(cursor.fetchall())


def execute(sql: str, parameters: Row | None = None) -> int:
    """Run one statement; the number of rows it changed."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or {})
        return int(cursor.rowcount)


def perform(write: Write, rows: Sequence[Row] = (), **parameters: Any) -> list[Row]:
    """Run a guarded write; the changed jobs, as its `returning` names them.

    Parameters common to all writes: `now` (datetime or None for the database's clock) and
    `worker_id` (who acts; None for a client).
    """
    bound = {"worker_id": None, **parameters}
    bound["now"] = dialect().time(parameters.get("now"))
    bound["rows"] = encode(rows)
    if is_postgresql():
        statement = _postgresql_statement(write)
        return run_despite_rollbacks(lambda: query(statement, bound))
    with transaction.atomic():
        return _perform_on_sqlite(write, bound)


def _postgresql_statement(write: Write) -> str:
    if write.limit:
        locked = f"SELECT j.id FROM {JOB} j WHERE {write.guard} {write.limit} FOR UPDATE SKIP LOCKED"
        after = "u"
    else:
        skip = " SKIP LOCKED" if write.passes_locked else ""
        given = f"{dialect().rows(write.columns)} w ON w.id = j.id"
        locked = f"SELECT w.* FROM {JOB} j JOIN {given} WHERE {write.guard} ORDER BY j.id FOR UPDATE OF j{skip}"
        after = "u JOIN l w ON w.id = u.id"
    counts = "".join(f",\nc{number} AS ({count.statement('u')})" for number, count in enumerate(write.counts))
    counted = (column for count in write.counts for column in count.columns)
    columns = dict.fromkeys(("id", "attempt", *write.returning, *counted))
    return (
        f"WITH l AS ({locked}),\n"
        f"u AS (UPDATE {JOB} j SET {write.assignments} FROM l w WHERE j.id = w.id "
        f"RETURNING {', '.join((*(f'j.{name}' for name in columns), *_computed(write)))}),\n"
        f"e AS ({_event_statement(write, after)}){counts}\n"
        f"SELECT {', '.join(f'u.{name}' for name in (*write.returning, *write.computed))} FROM u"
    )


def _computed(write: Write) -> list[str]:
    return [f"{expression} AS {name}" for name, expression in write.computed.items()]


def _perform_on_sqlite(write: Write, bound: Row) -> list[Row]:
    d = dialect()
    if write.limit:
        source = f"(SELECT j.id FROM {JOB} j WHERE {write.guard} {write.limit})"
        condition = "w.id = j.id"
    else:
        source, condition = d.rows(write.columns), f"w.id = j.id AND {write.guard}"
    changed = query(
        f"UPDATE {JOB} AS j SET {write.assignments} FROM {source} AS w WHERE {condition} "
        f"RETURNING {', '.join((*dict.fromkeys(('id', *write.returning)), *_computed(write)))}",
        bound,
    )
    if not changed:
        return []
    bound["changed"] = json.dumps([row["id"] for row in changed])
    after = f"(SELECT * FROM {JOB} WHERE id IN (SELECT value FROM json_each(%(changed)s))) u"
    joined = after if write.limit else f"{after} JOIN {d.rows(write.columns)} w ON w.id = u.id"
    execute(_event_statement(write, joined), bound)
    for count in write.counts:
        execute(count.statement(after), bound)
    return changed


def _event_statement(write: Write, source: str) -> str:
    return (
        f"INSERT INTO {EVENT} (job_id, edge, attempt, worker_id, at, detail) "
        f"SELECT u.id, {write.edge}, u.attempt, %(worker_id)s, {dialect().now}, {write.detail} FROM {source}"
    )


def _named(cursor: Any) -> list[Row]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _plain(value: Any) -> Any:
    """UUIDs as 32 hex digits: what SQLite stores, and what PostgreSQL reads just as well."""
    if isinstance(value, UUID):
        return value.hex
    raise TypeError(f"{type(value).__name__} has no place in a row")
