"""Lists of a tenant's tasks, newest first, page by page.

A page costs about the same among a hundred tasks and among millions. What the request says (user, document, batch,
time) is found by the request's own indexes. What only the job says (state, error) has none that fits: jobs are written
at every transition, and each index would be paid for then. So where few jobs are in the wanted states, they are found
by the partial indexes that the queue lives by; in all other cases the tasks are gone through in their order, at most
so many for one page. A page may therefore be short, even empty, while there is a next one.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from documents.exceptions import DocumentError
from queueadmin import sql
from queueadmin.states import State

ERROR_STATES = (State.RETRYING, State.FAILED, State.DEAD_LETTER)
"""The states in which a task has an error to tell."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much one page may cost: jobs in the wanted states up to which all of them are looked at (`few`); and tasks
    whose jobs are looked at in one statement (`scan`, some 20 ms), and such statements (`rounds`)."""

    few: int = 5_000
    scan: int = 5_000
    rounds: int = 4


_USUAL = Effort()

_INDEXED: dict[str, str] = {
    State.PENDING: "j.state = 'pending'",
    State.SCHEDULED: "j.state IN ('retrying', 'scheduled')",
    State.RETRYING: "j.state IN ('retrying', 'scheduled')",
    State.PROCESSING: "j.state = 'processing'",
    State.FAILED: "j.state IN ('dead_letter', 'failed')",
    State.DEAD_LETTER: "j.state IN ('dead_letter', 'failed')",
}
"""The states whose jobs an index finds, in the words of the partial indexes of queueadmin's Job."""

_POSITION = struct.Struct(">q16s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = ((datetime(year, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1) for year in (1000, 9999))


class InvalidCursor(DocumentError):
    """This is no cursor of a page. Take it from `next`, unchanged."""

    code = "invalid_cursor"


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a page ends: a task's time of submission and its id, which breaks ties."""

    at: datetime
    id: UUID

    def encode(self) -> str:
        """As clients carry it: opaque, and fit for a URL."""
        microseconds = (self.at - _EPOCH) // timedelta(microseconds=1)
        return base64.urlsafe_b64encode(_POSITION.pack(microseconds, self.id.bytes)).decode()

    @staticmethod
    def decode(cursor: str) -> Position:
        """Raises InvalidCursor. Any text of the right form is some position: cursors are no secret and no right."""
        try:
            microseconds, raw = _POSITION.unpack(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
        except (binascii.Error, struct.error, UnicodeError) as error:
            raise InvalidCursor() from error
        within = min(max(microseconds, _EARLIEST), _LATEST)
        return Position(at=_EPOCH + timedelta(microseconds=within), id=UUID(bytes=raw))


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which tasks to list. What is empty or None does not narrow; `created_to` is exclusive."""

    tenant: str
    states: Sequence[str] = ()
    error_code: str = ""
    user_id: str = ""
    document_id: str = ""
    batch_id: UUID | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    after: Position | None = None
    limit: int = 50


@dataclass(frozen=True, kw_only=True)
class Page:
    """Ids of tasks, newest first, and where the next page begins, if there may be one."""

    ids: tuple[UUID, ...]
    next: Position | None


def page(wanted: Wanted, effort: Effort = _USUAL) -> Page:
    """One page of what is wanted."""
    if not wanted.states and not wanted.error_code:
        return _cut(_tasks(wanted, wanted.limit + 1), wanted.limit)
    states = tuple(wanted.states) or ERROR_STATES
    if all(state in _INDEXED for state in states) and _are_few(states, effort.few):
        return _cut(_of_few(wanted, states), wanted.limit)
    return _scanned(wanted, effort)


def _cut(found: Sequence[Position], limit: int) -> Page:
    more = found[limit - 1] if len(found) > limit else None
    return Page(ids=tuple(position.id for position in found[:limit]), next=more)


@dataclass(kw_only=True)
class _Conditions:
    """Conditions, and the values that they name."""

    parts: list[str]
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return " AND ".join(self.parts)


def _of_task(wanted: Wanted, after: Position | None) -> _Conditions:
    found = _Conditions(parts=["t.tenant = %(tenant)s"], values={"tenant": wanted.tenant})
    for name, operator, value in (
        ("user_id", "=", wanted.user_id),
        ("document_id", "=", wanted.document_id),
        ("batch_id", "=", wanted.batch_id.hex if wanted.batch_id else None),
        ("created_at", ">=", _moment(wanted.created_from)),
        ("created_at", "<", _moment(wanted.created_to)),
    ):
        if value:
            parameter = f"wanted{len(found.parts)}"
            found.parts.append(f"t.{name} {operator} %({parameter})s")
            found.values[parameter] = value
    if after is not None:
        found.parts.append("(t.created_at, t.id) < (%(after_at)s, %(after_id)s)")
        found.values |= {"after_at": _moment(after.at), "after_id": after.id.hex}
    return found


def _of_job(wanted: Wanted) -> _Conditions:
    found = _Conditions(parts=[f"j.state IN ({_listed(wanted.states)})"] if wanted.states else [])
    if wanted.error_code:
        # Elsewhere the column tells of an attempt that is over.
        found.parts += [f"j.state IN ({_listed(ERROR_STATES)})", "j.error_code = %(error_code)s"]
        found.values["error_code"] = wanted.error_code
    return found


def _listed(states: Sequence[str]) -> str:
    """State names for SQL. Only names that there are: they are not bound."""
    return ", ".join(f"'{State(state).value}'" for state in states)


def _moment(at: datetime | None) -> Any:
    return None if at is None else connection.ops.adapt_datetimefield_value(at)


def _tasks(wanted: Wanted, limit: int) -> list[Position]:
    """The next tasks, whatever their jobs."""
    task = _of_task(wanted, wanted.after)
    statement = f"SELECT t.id, t.created_at FROM documents_ingestiontask t WHERE {task.text} {_ORDER} LIMIT {limit}"
    return _positions(statement, task.values)


_ORDER = "ORDER BY t.created_at DESC, t.id DESC"


def _are_few(states: Sequence[str], most: int) -> bool:
    statement = f"SELECT count(*) AS n FROM (SELECT 1 FROM {sql.JOB} j WHERE {_indexed(states)} LIMIT {most + 1}) few"
    return int(sql.query(statement)[0]["n"]) <= most


def _indexed(states: Sequence[str]) -> str:
    return f"({' OR '.join(dict.fromkeys(_INDEXED[state] for state in states))})"


def _of_few(wanted: Wanted, states: Sequence[str]) -> list[Position]:
    """From the jobs to the tasks. Materialized: the planner must not think of walking through all tasks instead."""
    task, job = _of_task(wanted, wanted.after), _of_job(wanted)
    statement = (
        f"WITH few AS MATERIALIZED (SELECT j.id FROM {sql.JOB} j WHERE {_indexed(states)} AND {job.text}) "
        f"SELECT t.id, t.created_at FROM few JOIN documents_ingestiontask t ON t.id = few.id "
        f"WHERE {task.text} {_ORDER} LIMIT {wanted.limit + 1}"
    )
    return _positions(statement, task.values | job.values)


def _scanned(wanted: Wanted, effort: Effort) -> Page:
    """Go through the tasks in their order, and look at the job of each."""
    found: list[Position] = []
    after = wanted.after
    for _ in range(effort.rounds):
        found += _hits(wanted, after, scan=effort.scan, limit=wanted.limit + 1 - len(found))
        if len(found) > wanted.limit:
            return _cut(found, wanted.limit)
        after = _end_of_scan(wanted, after, scan=effort.scan)
        if after is None:
            break
    return Page(ids=tuple(position.id for position in found), next=after)


def _hits(wanted: Wanted, after: Position | None, *, scan: int, limit: int) -> list[Position]:
    task, job = _of_task(wanted, after), _of_job(wanted)
    statement = (
        "WITH t AS MATERIALIZED (SELECT t.id, t.created_at FROM documents_ingestiontask t "
        f"WHERE {task.text} {_ORDER} LIMIT {scan}) "
        f"SELECT t.id, t.created_at FROM t JOIN {sql.JOB} j ON j.id = t.id WHERE {job.text} {_ORDER} LIMIT {limit}"
    )
    return _positions(statement, task.values | job.values)


def _end_of_scan(wanted: Wanted, after: Position | None, *, scan: int) -> Position | None:
    """The last task that a scan looks at; None when there were no more."""
    task = _of_task(wanted, after)
    statement = (
        f"SELECT t.id, t.created_at FROM documents_ingestiontask t WHERE {task.text} {_ORDER} LIMIT 1 OFFSET {scan - 1}"
    )
    return next(iter(_positions(statement, task.values)), None)


def _positions(statement: str, values: dict[str, Any]) -> list[Position]:
    found = []
    for row in sql.query(statement, values):
        at = sql.as_time(row["created_at"])
        if at is not None:  # never: the column is not null
            found.append(Position(at=at, id=sql.as_uuid(row["id"])))
    return found
