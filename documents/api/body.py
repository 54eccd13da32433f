"""Reading request bodies: JSON in UTF-8, bounded, and nothing that a database could not store."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.conf import settings
from rest_framework.parsers import BaseParser

from documents.api.problem import Problem

MAX_BATCH_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 32
"""Levels of nesting in a body: a batch with metadata needs 20. What is deeper is refused before anything looks at it,
because error messages, `repr` and comparisons recurse."""
_CHUNK_BYTES = 64 * 1024
_DRAIN_BYTES = 16 * 1024 * 1024
_SURROGATE = re.compile("[\ud800-\udfff]")
MAX_INTEGER = 2**63 - 1
"""Beyond it, and below its negative, no database and few clients can read an integer."""


class StrictJSONParser(BaseParser):
    """JSON as RFC 8259 has it. Django REST framework's parser reads without limit and fails on deep nesting."""

    media_type = "application/json"

    @property
    def limit(self) -> int:
        """The longest body, in bytes."""
        return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Raises Problem: body_too_large, malformed_body."""
        limit = self.limit
        body = stream.read(limit + 1)
        if len(body) > limit:
            drain(stream)
            raise Problem("body_too_large", f"The body is larger than {limit:,} bytes.")
        try:
            return _shallow(json.loads(body.decode("utf-8"), parse_constant=_refuse_constant), body)
        except UnicodeDecodeError:
            raise Problem("malformed_body", "The body is not UTF-8.") from None
        except RecursionError:
            raise Problem("malformed_body", _TOO_DEEP) from None
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise Problem("malformed_body", f"The body is not JSON: {error.msg} at {where}.") from None
        except ValueError:  # Python refuses integers of more than 4,300 digits
            raise Problem("malformed_body", "The body holds a number that is out of range.") from None


class BatchJSONParser(StrictJSONParser):
    """The same for many submissions at once."""

    limit = MAX_BATCH_BYTES


_TOO_DEEP = f"The body is nested more than {MAX_DEPTH} levels deep."


def _shallow(value: Any, body: bytes) -> Any:
    """Raises Problem. Few bodies open as many brackets as there may be levels; only those are walked through."""
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and is_deep(value, limit=MAX_DEPTH):
        raise Problem("malformed_body", _TOO_DEEP)
    return value


def is_deep(value: Any, *, limit: int) -> bool:
    """Whether a JSON value has more than `limit` levels. Goes level by level, so that no input exhausts the stack."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


def drain(stream: IO[Any]) -> None:
    """Read on for a while: if the server closes while the client sends, the client sees a reset instead of the 413."""
    left = _DRAIN_BYTES
    while left > 0 and (chunk := stream.read(_CHUNK_BYTES)):
        left -= len(chunk)


def _refuse_constant(name: str) -> NoReturn:
    raise Problem("malformed_body", f"The body holds {name}, which JSON does not have.")


def unstorable(value: Any, *, max_depth: int) -> str:
    """Why a JSON value cannot be kept on both databases and read by every client, or an empty string.

    Walks without recursion, so that no input can exhaust the stack.
    """
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, (dict, list)) and depth > max_depth:
            return f"It is nested more than {max_depth} levels deep."
        if isinstance(item, dict):
            waiting.extend((key, depth) for key in item)
            waiting.extend((child, depth + 1) for child in item.values())
        elif isinstance(item, list):
            waiting.extend((child, depth + 1) for child in item)
        elif reason := _unstorable_scalar(item):
            return reason
    return ""


def _unstorable_scalar(item: Any) -> str:
    if isinstance(item, str):
        if "\x00" in item:
            return "It holds a NUL character."
        if _SURROGATE.search(item):
            return "It holds half of a surrogate pair."
    elif isinstance(item, float) and not math.isfinite(item):
        return "It holds a number that is out of range."
    elif isinstance(item, int) and abs(item) > MAX_INTEGER:
        return "It holds an integer beyond 64 bits."
    return ""
