"""What a child said, read as a stranger's word: each field is checked for its type and its range, none is converted.

A parser that a document has taken over may answer anything. Here it becomes an ExtractorCrashed, before it reaches a
ledger that refuses NaN, a file that must be UTF-8, or a loop that trusts a number.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from documents.extraction.base import Extraction, JsonValue, Page, Tried
from documents.extraction.errors import ExtractionError, ExtractorCrashed, from_wire

_Kind = TypeVar("_Kind")

SLATE_BYTES = 4096
"""Of a child's notes about itself; a chain has a handful of engines."""

_NAME, _LINE = 200, 20_000
"""Characters of a name, and of a message or warning."""
_MOST_PAGES = 100_000
"""Ten times the pages that are read of a document: each is an object in the worker."""
_MOST_TRIED, _MOST_WARNINGS = 100, 10_000
_DIGITS = 18
_DEEPEST = 50
"""Python 3.13 reads JSON that is nested more deeply than a function may call itself."""


class Nonsense(ExtractorCrashed):
    """The extraction process sent nonsense."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AtWork:
    """What a child is doing: the engine that runs, "" before the first, since when (monotonic), and those before it."""

    engine: str
    since: float
    tried: tuple[Tried, ...] = ()

    def ended(self, reason: str) -> tuple[Tried, ...]:
        """The record of all engines when the one at work was ended for `reason`."""
        if not self.engine:
            return self.tried
        seconds = round(time.monotonic() - self.since, 4)
        return (*self.tried, Tried(engine=self.engine, seconds=seconds, reason=reason))


def parsed(line: bytes) -> dict[str, Any]:
    """A line of JSON that is an object, of finite numbers. Raises Nonsense."""
    try:
        # Bytes would be decoded by json itself, which lets halves of surrogate pairs through.
        found = json.loads(line.decode(), parse_constant=_refuse, parse_float=_finite, parse_int=_small)
    except (ValueError, RecursionError) as error:
        raise Nonsense() from error
    return _expect(found, dict)


def at_work(slate: bytes) -> AtWork:
    """Read a child's notes. What cannot be read tells nothing: no engine, and since now."""
    try:
        fields = parsed(slate.partition(b"\n")[0])
        since = _number(fields.get("since"))
        return AtWork(
            engine=_text(fields.get("engine"), _NAME), since=min(since, time.monotonic()), tried=tried_from(fields)
        )
    except Nonsense:
        return AtWork(engine="", since=time.monotonic())


def extraction_from(result: Any, warnings: tuple[str, ...]) -> Extraction:
    """Make an Extraction of what the child found; `warnings` come before its own. Raises Nonsense."""
    fields: dict[str, Any] = _expect(result, dict)
    text = _text(fields.get("text"))
    return Extraction(
        text=text,
        pages=_pages(_expect(fields.get("pages"), list), text),
        engine=_text(fields.get("engine"), _NAME),
        content_type=_text(fields.get("content_type"), _NAME),
        markdown=_text(fields.get("markdown")),
        metadata=cast(dict[str, JsonValue], _metadata(_expect(fields.get("metadata"), dict))),
        warnings=(*warnings, *(_text(one, _LINE) for one in _several(fields.get("warnings"), _MOST_WARNINGS))),
        tried=tried_from(fields),
    )


def error_from(fields: Mapping[str, Any]) -> ExtractionError:
    """The error that the child reported, with the engines it tried. Raises Nonsense."""
    _text(fields.get("code"), _NAME)
    _text(fields.get("message"), _LINE)
    _metadata(_expect(fields.get("evidence"), dict))
    error = from_wire(fields)
    error.tried = tried_from(fields)
    return error


def progress_from(fields: Mapping[str, Any]) -> tuple[str, int | None, int | None]:
    """(stage, done, total). Raises Nonsense."""
    done, total = (None if fields.get(name) is None else _count(fields[name]) for name in ("done", "total"))
    return _text(fields.get("stage"), _NAME), done, total


def resident_bytes_from(fields: Mapping[str, Any]) -> int:
    """How large the child says it is. Raises Nonsense."""
    return _count(fields.get("resident_bytes"))


def protections_from(fields: Mapping[str, Any]) -> dict[str, str]:
    """What the child was granted. Raises Nonsense."""
    said = _expect(fields.get("protections"), dict)
    return {_text(name, _NAME): _text(outcome, _NAME) for name, outcome in said.items()}


def tried_from(fields: Mapping[str, Any]) -> tuple[Tried, ...]:
    """The record of engines. Raises Nonsense."""
    return tuple(
        Tried(
            engine=_text(row.get("engine"), _NAME),
            seconds=_number(row.get("seconds")),
            reason=_text(row.get("reason"), _NAME),
        )
        for row in (_expect(one, dict) for one in _several(fields.get("tried"), _MOST_TRIED))
    )


def _pages(spans: list[Any], text: str) -> tuple[Page, ...]:
    """Pages follow one another: any other order would let a short answer stand for any amount of text."""
    pages, at = [], 0
    for span in _several(spans, _MOST_PAGES):
        if type(span) is not list or len(span) != 4:
            raise Nonsense()
        number, label, start, end = span
        if type(start) is not int or type(end) is not int or not at <= start <= end <= len(text):
            raise Nonsense()
        pages.append(Page(number=_count(number), label=_text(label, _LINE), text=text[start:end]))
        at = end
    return tuple(pages)


def _metadata(value: Any, depth: int = 0) -> Any:
    """`value`, once every text in it is known to be one, and no list or object lies too deep for whoever stores it."""
    if depth > _DEEPEST:
        raise Nonsense()
    if type(value) is str:
        _text(value)
    elif type(value) is dict:
        for name, item in value.items():
            _text(name, _LINE)
            _metadata(item, depth + 1)
    elif type(value) is list:
        for item in value:
            _metadata(item, depth + 1)
    return value


def _text(value: Any, most: int | None = None) -> str:
    """Text that UTF-8 and a database take."""
    if type(value) is not str or (most is not None and len(value) > most) or "\0" in value:
        raise Nonsense()
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Nonsense() from error
    return value


def _several(value: Any, most: int) -> list[Any]:
    if len(_expect(value, list)) > most:
        raise Nonsense()
    return cast(list[Any], value)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise Nonsense()
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or value < 0:
        raise Nonsense()
    return float(value)


def _expect(value: Any, kind: type[_Kind]) -> _Kind:
    if type(value) is not kind:
        raise Nonsense()
    return value


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _small(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError("too many digits")
    return int(digits)
