"""Values as people read them, the same in the admin and on the command line."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

_TURNS_TEXT = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks that reorder text: with one, `exe.pdf` can read as `fdp.exe`."""

REFUSALS = {
    "not_found": "unknown",
    "unique_key_held": "held back by another job with the same unique key",
    "cleaned_up": "emptied by retention",
    "cancel_requested": "asked to stop already",
    "dead_letter": "dead letter",
}
"""Why an operation refused a job, in words; states are their own word."""


def visible(text: object, *, limit: int = 500, lines: bool = False) -> str:
    """`text` with control characters and direction marks written as escapes, cut to `limit` characters.

    For a terminal as much as for a page: file names and error messages come from outside. `lines`
    keeps line breaks and tabs.
    """
    raw = str(text)
    cut = raw if len(raw) <= limit else raw[: limit - 1] + "…"
    return "".join(_spelt_out(character, lines) for character in cut)


def _spelt_out(character: str, lines: bool) -> str:
    if lines and character in "\n\t":
        return character
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or _TURNS_TEXT.match(character):
        return character.encode("unicode_escape").decode("ascii") if ord(character) > 31 else f"\\x{ord(character):02x}"
    return character


def duration(seconds: float | None) -> str:
    """Seconds as "340 ms", "12.3 s", "3 m 20 s", "2 h 05 m" or "4 d 3 h"; "-" for None."""
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def age(seconds: float | None) -> str:
    """Seconds in their largest unit only, "3 m" or "2 h": for columns, where exactness costs width."""
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def size(count: int | None) -> str:
    """Bytes as "512 KiB", "183 MiB" or "1.2 GiB"; "-" for None."""
    if count is None:
        return "-"
    for unit, bytes_of_it in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= bytes_of_it:
            return f"{count / bytes_of_it:.{1 if unit == 'GiB' else 0}f} {unit}"
    return f"{count / 1024:.0f} KiB"


def pretty_json(value: Any, *, limit: int = 20_000) -> str:
    """A JSON value, indented; cut to `limit` characters."""
    return visible(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True), limit=limit, lines=True)


def fact(value: Any, *, limit: int = 300) -> str:
    """A value of an event's details: text as it is, the rest as JSON in one line."""
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), limit=limit)


def one_line(detail: dict[str, Any], *, limit: int = 300) -> str:
    """An event's details as `key=value key=value`."""
    parts = (
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in detail.items()
        if key not in ("traceback", "operation")  # which have places of their own
    )
    return visible(" ".join(parts), limit=limit)


def refusal(reason: str) -> str:
    return REFUSALS.get(reason) or visible(reason)
