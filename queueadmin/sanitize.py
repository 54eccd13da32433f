"""Text that a database can store, and values that may be shown.

One NUL or lone surrogate would otherwise fail a whole batch.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from queueadmin.exceptions import PermanentJobError

MAX_MESSAGE = 4_000
"""Characters of an error message that are kept."""

MAX_JSON = 256 * 1024
"""Bytes of a payload, a result or an event's detail: these describe work, they do not carry it."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_SECRET = re.compile(r"pass(word|wd|phrase)?$|secret|token|credential|authorization|api_?key", re.IGNORECASE)
"""Names whose values are not shown."""
_LOGIN_IN_URL = re.compile(r"(?<=://)[^/\s@]*@")


class Unrecordable(PermanentJobError):
    """The value cannot be stored: it is not JSON, is too large, or holds a NUL or a lone surrogate."""

    code = "unrecordable"


def clean_text(text: str, limit: int = MAX_MESSAGE) -> str:
    """`text` without what no database stores, cut to `limit` characters."""
    cleaned = _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"


def clean_json(value: Any) -> Any:
    """`value` with every string in it cleaned. Raises Unrecordable when it is not JSON or too large."""
    _measure(value)
    return _clean(value)


def require_storable(value: Any) -> None:
    """Raise Unrecordable unless `value` can be stored exactly as it is."""
    text = _measure(value)
    if ("\\u0000" in text or "\\ud" in text) and _UNSTORABLE.search(json.dumps(value, ensure_ascii=False)):
        raise Unrecordable("The arguments hold half of a surrogate pair.")
    if "\\u0000" in text and _has_nul(value):
        raise Unrecordable("The arguments hold a NUL character.")


def without_secrets(value: Any) -> Any:
    """`value` for showing: what is named like a secret, and logins in URLs, replaced by "[hidden]"."""
    if isinstance(value, str):
        return _LOGIN_IN_URL.sub("[hidden]@", value) if "@" in value else value
    if isinstance(value, dict):
        return {key: "[hidden]" if _names_secret(str(key)) else without_secrets(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(item) for item in value]
    return value


@lru_cache(maxsize=1024)
def _names_secret(name: str) -> bool:
    """Remembered, because each log line asks about the same dozen names."""
    return _SECRET.search(name) is not None


def _measure(value: Any) -> str:
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unrecordable(f"The value is not JSON: {clean_text(str(error), 200)}") from error
    if len(text) > MAX_JSON:
        raise Unrecordable(f"The value is {len(text)} bytes as JSON; at most {MAX_JSON} are kept.")
    return text


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, (list, tuple)) and any(_has_nul(item) for item in value)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {_clean(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value
