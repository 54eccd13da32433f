"""What each name of a search means: which operators it takes, and which rows it finds.

An application adds names of its own, for what it keeps beside the job:

    from queueadmin.search.fields import Field, register

    register(Field(name="document", help="a document's id", conditions={":": documents}, is_indexed=True))

where `documents(values, now)` returns a condition on Job.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import partial
from uuid import UUID

from django.db.models import Q, TextField
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from queueadmin.ids import first_id_at
from queueadmin.models import Job, WorkerProcess
from queueadmin.search.language import SearchError
from queueadmin.states import TERMINAL, State

Condition = Callable[[Sequence[str], datetime], Q]
"""Values and the moment that relative times count from -> a condition on Job. Raises SearchError."""

_BIG = 2**63 - 1
_SPAN = re.compile(r"(\d{1,6})(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_COMPARE = {">": "gt", "<": "lt", ">=": "gte", "<=": "lte"}


@dataclass(frozen=True, kw_only=True)
class Field:
    """A name that a search may use. `is_indexed`: an index finds its rows, whatever the table's size."""

    name: str
    help: str
    conditions: dict[str, Condition]
    """Operator -> condition."""
    is_indexed: bool = False
    example: str = ""


_fields: dict[str, Field] = {}
_free_text: list[Condition] = []


def register(field: Field) -> None:
    """Add a name to the language."""
    _fields[field.name] = field


def register_free_text(condition: Condition) -> None:
    """Let words without a name find more."""
    _free_text.append(condition)


def known() -> list[Field]:
    """Every field, in the order of registration: what the help shows."""
    return list(_fields.values())


def field_named(name: str) -> Field:
    """The field of a name. Raises SearchError, naming those that exist."""
    try:
        return _fields[name]
    except KeyError:
        raise SearchError(f"There is no field {name!r}. Fields: {', '.join(sorted(_fields))}.") from None


# -- conditions ----------------------------------------------------------------------------------


def exactly(lookup: str, values: Sequence[str], now: datetime) -> Q:
    """Equal to one of the values."""
    return Q(**{f"{lookup}__in": list(values)})


def contains(lookups: Sequence[str], values: Sequence[str], now: datetime) -> Q:
    """The text somewhere in one of the columns, whatever its case."""
    found = Q()
    for lookup in lookups:
        found |= Q(**{f"{lookup}__icontains": values[0]})
    return found


def ids(lookup: str, values: Sequence[str], now: datetime) -> Q:
    """One of the ids."""
    try:
        return Q(**{f"{lookup}__in": [UUID(value) for value in values]})
    except ValueError:
        raise SearchError("That is no id: an id has 32 hexadecimal digits, with or without dashes.") from None


def number(lookup: str, comparison: str, values: Sequence[str], now: datetime) -> Q:
    """A whole number, compared."""
    try:
        wanted = [int(value) for value in values]
    except ValueError:
        raise SearchError(f"{values[0]!r} is no whole number.") from None
    if any(abs(value) > _BIG for value in wanted):
        raise SearchError("That number is too large.")
    return (
        Q(**{f"{lookup}__in": wanted}) if comparison == ":" else Q(**{f"{lookup}__{_COMPARE[comparison]}": wanted[0]})
    )


def span(text: str) -> timedelta:
    """A length of time such as 90s, 10m, 2h, 3d, 1w. Raises SearchError."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise SearchError(f"{text!r} is no length of time: write 90s, 10m, 2h, 3d or 1w.")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def moment(text: str, now: datetime) -> datetime:
    """A date, a date with a time, or a length of time before `now`. Raises SearchError."""
    if _SPAN.fullmatch(text):
        return _before(now, span(text))
    try:
        found = parse_datetime(text)
        if found is None and (day := parse_date(text)) is not None:
            found = datetime.combine(day, time.min)
    except ValueError:
        found = None
    if found is None:
        raise SearchError(f"{text!r} is no time: write 2026-11-23, 2026-11-23T14:30, or 2h for two hours ago.")
    return found if timezone.is_aware(found) else timezone.make_aware(found)


def _before(now: datetime, length: timedelta) -> datetime:
    try:
        return now - length
    except OverflowError:
        raise SearchError("That is too long ago.") from None


def created(comparison: str, values: Sequence[str], now: datetime) -> Q:
    """By the time of creation, which the id begins with: a range of the primary key."""
    lookup = "pk__gte" if comparison.startswith(">") else "pk__lt"
    return Q(**{lookup: first_id_at(moment(values[0], now))})


def age(comparison: str, values: Sequence[str], now: datetime) -> Q:
    """By age: older is `age>2h`."""
    lookup = "pk__lt" if comparison.startswith(">") else "pk__gte"
    return Q(**{lookup: first_id_at(_before(now, span(values[0])))})


def finished(comparison: str, values: Sequence[str], now: datetime) -> Q:
    return Q(**{f"finished_at__{_COMPARE[comparison]}": moment(values[0], now)})


def states(values: Sequence[str], now: datetime) -> Q:
    """By state. Ended jobs that retention has emptied are left out, as their index leaves them out."""
    unknown = [value for value in values if value not in State.values]
    if unknown:
        raise SearchError(f"There is no state {unknown[0]!r}. States: {', '.join(State.values)}.")
    ended = [value for value in values if value in TERMINAL]
    waiting = [value for value in values if value not in TERMINAL]
    found = Q(state__in=waiting) if waiting else Q()
    return found | Q(state__in=ended, cleaned_at__isnull=True) if ended else found


def fingerprints(values: Sequence[str], now: datetime) -> Q:
    """By the fingerprint of the error of what ended badly, which has an index."""
    return Q(fingerprint__in=list(values), state__in=[State.DEAD_LETTER, State.FAILED])


def workers(values: Sequence[str], now: datetime) -> Q:
    """By the name or the number of the worker process that had the job last."""
    numbers = [int(value) for value in values if value.isdecimal() and int(value) <= _BIG]
    named = WorkerProcess.objects.filter(name__in=list(values)).values("pk")
    return Q(worker_id__in=numbers) | Q(worker_id__in=named)


def arguments(values: Sequence[str], now: datetime) -> Q:
    """The text somewhere in the arguments."""
    # A subquery on the same rows, because a Cast needs an annotation, and a condition has none.
    found = Job.objects.annotate(arguments=Cast("payload", TextField())).filter(arguments__icontains=values[0])
    return Q(pk__in=found.values("pk"))


def words(values: Sequence[str], now: datetime) -> Q:
    """Free text: an id, the id of a parent, the fingerprint of an error; or text of an error and what was added."""
    found = fingerprints(values, now)
    try:
        job_id = UUID(values[0])
    except ValueError:
        found |= contains(("error_message", "error_code"), values, now)
        for condition in _free_text:
            found |= condition(values, now)
        return found
    return found | Q(pk=job_id) | Q(parent_id=job_id)


def is_id(text: str) -> bool:
    """Whether free text is an id or a fingerprint, which indexes find."""
    return re.fullmatch(r"[0-9a-fA-F]{16,64}|[0-9a-fA-F-]{36}", text) is not None


# -- the ledger's own fields ---------------------------------------------------------------------


def _compared(condition: Callable[[str, Sequence[str], datetime], Q], *operators: str) -> dict[str, Condition]:
    return {operator: partial(condition, operator) for operator in operators}


def _add(name: str, help: str, conditions: dict[str, Condition], *, example: str, is_indexed: bool = False) -> None:
    register(Field(name=name, help=help, conditions=conditions, is_indexed=is_indexed, example=example))


def _add_text(name: str, lookup: str, help: str, *, example: str) -> None:
    _add(name, help, {":": partial(exactly, lookup), "~": partial(contains, (lookup,))}, example=example)


def _add_number(name: str, help: str, *, example: str) -> None:
    _add(name, help, _compared(partial(number, name), ":", ">", "<", ">=", "<="), example=example)


_ORDER = (">", "<", ">=", "<=")
_ERROR: dict[str, Condition] = {
    ":": partial(exactly, "error_code"),
    "~": partial(contains, ("error_message", "error_code")),
}

_add("state", "where it stands", {":": states}, example="state:failed,dead_letter", is_indexed=True)
_add_text("queue", "queue", "its queue", example="queue:document_ingestion")
_add_text("actor", "actor", "its actor", example="actor:ingest_document")
_add_text("tenant", "partition_key", "whose it is", example="tenant:acme")
_add("error", "the error's code; with ~ part of its message", _ERROR, example='error~"timed out"')
_add("fingerprint", "its group of failures", {":": fingerprints}, example="fingerprint:3f9c", is_indexed=True)
_add("id", "its id", {":": partial(ids, "pk")}, example="id:0199", is_indexed=True)
_add("parent", "the job it follows up", {":": partial(ids, "parent_id")}, example="parent:0199", is_indexed=True)
_add("worker", "the worker that had it last, by name or number", {":": workers}, example="worker:host-1")
_add_text("unique", "unique_key", "its unique key", example="unique:nightly")
_add("args", "text in its arguments", {"~": arguments}, example='args~"report.pdf"')
_add_number("attempt", "claims so far", example="attempt>3")
_add_number("failures", "failed attempts of this run", example="failures>=2")
_add_number("crashes", "workers that died under it", example="crashes>0")
_add_number("run", "1, and one more with each retry by a person", example="run>1")
_add_number("priority", "its priority", example="priority>=5")
_add("age", "time since it was created", _compared(age, *_ORDER), example="age>2h", is_indexed=True)
_add("created", "when it was created", _compared(created, *_ORDER), example="created>2026-11-23", is_indexed=True)
_add("finished", "when it ended", _compared(finished, *_ORDER), example="finished<1d")
