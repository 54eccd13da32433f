"""Lines for people: what happened as a sentence, then who and what it was about.

    2026-01-31T12:00:00.123Z INFO extracted 12,345 characters in 87 ms with pypdfium2 task_id=0199… attempt=1 worker=w1

An event (`extracted`) is a constant that programs can look for; SENTENCES says how its data reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from structlog.typing import EventDict, WrappedLogger

SENTENCES: Mapping[str, str] = {
    "worker started": "worker {worker} started: {threads} threads for the queues {queues}",
    "extraction sandbox": "extraction sandbox of up to {children} processes; the kernel grants {granted}",
    "worker stopped": "worker {worker} stopped",
    "job started": "processing task, attempt {attempt} of {of}",
    "job completed": "task completed in {ms:,} ms",
    "job will be retried": "retry in {delay:,} s because {error_code}: {error}",
    "job failed": "failed because {error_code}: {error}",
    "job became a dead letter": "dead letter because {error_code}: {error}",
    "job given back": "given back: {reason}",
    "downloaded": "downloaded {bytes:,} bytes in {ms:,} ms",
    "extracting": "extracting {content_type}",
    "extracted": "extracted {characters:,} characters in {ms:,} ms with {engine}",
    "stored": "stored in {ms:,} ms",
    "callback delivered": "callback delivered, the receiver answered {status_code}",
    "request_finished": "{request} {code} in {ms:,} ms",
    "request_failed": "{request} failed",
}
"""Event -> how it reads with its data, which is then not repeated."""

_FIRST = ("task_id", "document_id", "attempt", "worker", "request_id")
"""In this order at the beginning of the data."""

_HEAD = frozenset({"event", "timestamp", "level", "logger", "exception", "stack"})

_DIM, _BOLD, _RESET = "\x1b[2m", "\x1b[1m", "\x1b[0m"
_COLOURS = {
    "debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m",
}  # fmt: skip


class ConsoleRenderer:
    """The last processor: an event as one line of text, and its traceback below where there is one."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        level = str(event.get("level", "info"))
        sentence, said = _sentence(event)
        parts = [
            self._paint(str(event.get("timestamp", "")), _DIM),
            self._paint(f"{level.upper():<7}", _COLOURS.get(level, "")),
            self._paint(sentence, _BOLD),
            *(self._paint(f"{name}=", _DIM) + shown(event[name]) for name in _order(event, said)),
            self._paint(f"({event.get('logger', '')})", _DIM),
        ]
        below = [str(event[name]) for name in ("stack", "exception") if event.get(name)]
        return "\n".join([" ".join(parts), *below])

    def _paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colours and colour else text


def shown(value: object) -> str:
    """One token: text with blanks or line breaks is quoted, so that a value cannot forge a line or a field."""
    if isinstance(value, str) and value.isprintable() and value and " " not in value and '"' not in value:
        return value
    return json.dumps(value, default=str)


def _sentence(event: EventDict) -> tuple[str, set[str]]:
    """The event in words, and the names of the data that the words already say."""
    text = str(event.get("event", ""))
    pattern = SENTENCES.get(text)
    if pattern is None:
        return text if text.isprintable() else json.dumps(text), set()
    said = _Said(event)
    try:
        return pattern.format_map(said), said.names
    except (KeyError, ValueError, TypeError):  # a line without all of its data is still worth reading
        return text, set()


class _Said(dict[str, Any]):
    """The data of an event for a sentence; remembers what was asked for. Text cannot break out of the line."""

    def __init__(self, event: EventDict) -> None:
        super().__init__(event)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        self.names.add(name)
        if isinstance(value, str):
            return value if value.isprintable() else json.dumps(value)
        if isinstance(value, (list, tuple)):
            return ", ".join(shown(item) for item in value)
        return value


def _order(event: EventDict, said: set[str]) -> list[str]:
    """The names of the data to show: whom it is about first. An id that says the same twice is shown once."""
    hidden = _HEAD | said
    if event.get("job_id") == event.get("task_id"):
        hidden |= {"job_id"}
    first = [name for name in _FIRST if name in event and name not in hidden]
    rest = [name for name in event if name not in hidden and name not in first and not name.startswith("_")]
    return first + rest
