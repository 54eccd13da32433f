"""The extraction child: reads requests as lines of JSON, runs the engines, answers with the text.

Started by `process.ChildProcess` as `python -m documents.extraction.child CONFIG`, where CONFIG is JSON. Requests come
in on one inherited pipe and replies go out on another; stdin, stdout and stderr are /dev/null, so that a library
that prints cannot break the protocol. Imports no Django and finds no secret in its environment.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

from documents.extraction import chain, landlock, protections
from documents.extraction.base import (
    PAGE_BREAK,
    Engine,
    Extraction,
    Finisher,
    Identity,
    JsonValue,
    Ocr,
    Request,
    Tried,
    to_dict,
)
from documents.extraction.errors import ExtractionError, OutOfMemory, TooLarge
from documents.extraction.workspace import EXIT_OUT_OF_MEMORY, MARKDOWN_FILE, RESULT_FILE, TEXT_FILE

_REPORT_SECONDS = 0.05
_SHORT_CHARACTERS = 64 * 1024
"""Of a result that goes through the pipe: at the worst six times as many bytes, which the parent still takes."""
_LARGE = 10**15
"""Numbers that every reader of JSON takes as they are written."""
_SPAN = 40
"""What the place of a page costs beside its text."""
_LABEL = 500
"""Characters of a page's name. A chapter whose title is never closed is named by all that follows, and the parent
would take a name that long for nonsense."""


class Child:
    """One warm process: the table of engines, and the pipe to the parent."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._replies = os.fdopen(int(config["replies"]), "wb", buffering=0)
        self._slate = int(config["slate"])
        self._parent_pid = int(config["parent_pid"])
        self._dies_by = signal.SIGKILL
        registry = importlib.import_module(config["registry"])
        self._table: Mapping[str, tuple[Engine, ...]] = registry.ENGINES
        self._finishers: Mapping[str, Finisher] = getattr(registry, "FINISHERS", {})
        self._last_report = 0.0
        self._has_reported = False

    def serve(self, requests: int) -> None:
        """Answer one request after the other until the parent closes the pipe."""
        with os.fdopen(requests, "rb") as lines:
            for line in lines:
                self._answer(json.loads(line))

    def reply(self, kind: str, **fields: Any) -> None:
        """Send one line to the parent."""
        self._replies.write(_line(kind=kind, **fields))

    def _answer(self, fields: Mapping[str, Any]) -> None:
        """Extract one document and reply "done" or "error"."""
        found: Extraction | None = None
        self._has_reported = False
        marker = protections.children_marker()
        protections.allow_cpu(float(fields["cpu_seconds"]))
        try:
            found = chain.run(
                self._request(fields),
                self._table,
                finishers=self._finishers,
                skip=fields["skip"],
                on_engine=self._announce,
            )
            output_dir, limit = Path(fields["output_dir"]), int(fields["output_bytes"])
            outcome: dict[str, Any] = {"kind": "done", "result": handed_over(found, output_dir, limit=limit)}
        except MemoryError:
            outcome = _failed(OutOfMemory(), found)
        except ExtractionError as error:
            outcome = _failed(error, found)
        # Frees the text before memory is measured, and the files that libraries leave open when they fail.
        found = None
        if outcome["kind"] == "error":
            gc.collect()
        spawned = protections.children_marker() != marker or protections.has_children()
        self.reply(**outcome, spawned=spawned, resident_bytes=protections.resident_bytes())

    def _request(self, fields: Mapping[str, Any]) -> Request:
        identity = dict(fields["identity"])
        identity["warnings"] = tuple(identity["warnings"])
        return Request(
            path=Path(fields["path"]),
            identity=Identity(**identity),
            work_dir=Path(fields["work_dir"]),
            max_pages=int(fields["max_pages"]),
            output_bytes=int(fields["output_bytes"]),
            ocr=Ocr(**{**fields["ocr"], "languages": tuple(fields["ocr"]["languages"])}),
            report=self._report,
        )

    def _announce(self, engine: Engine | Finisher, tried: Sequence[Tried]) -> None:
        """Write down who works next and who did before, and choose how to die with the parent.

        A slate and not a reply, because the parent reads it only if this process dies or hangs: a reply would wake it
        up for every document.

        SIGKILL needs no cooperation of C code, but would leave system tools behind. While an engine runs such a tool
        this process waits in Python, so a handler runs at once and can take the whole group along.
        """
        record = [to_dict(one) for one in tried]
        os.pwrite(self._slate, _line(engine=engine.name, since=time.monotonic(), tried=record), 0)
        number = signal.SIGTERM if engine.spawns else signal.SIGKILL
        if number != self._dies_by:
            protections.die_with(self._parent_pid, number)
            self._dies_by = number

    def _report(self, stage: str, done: int | None, total: int | None) -> None:
        """Pass progress on once in a while, and its end where there was any: of a short document the reply says all."""
        now = time.monotonic()
        is_end = done is not None and done == total
        if self._has_reported if is_end else now - self._last_report >= _REPORT_SECONDS:
            self._last_report, self._has_reported = now, True
            self.reply("progress", stage=stage, done=done, total=total)


def _failed(error: ExtractionError, found: Extraction | None) -> dict[str, Any]:
    """The reply for an error; it may have come after the engines, when the text was to be handed over."""
    tried = error.tried or (found.tried if found is not None else ())
    return {"kind": "error", **error.to_wire(), "tried": [to_dict(one) for one in tried]}


def handed_over(found: Extraction, output_dir: Path, *, limit: int) -> dict[str, Any] | None:
    """Return what goes to the parent through the pipe; None where it is long and lies in files. Raises TooLarge.

    Most results are short, and making and removing files costs more than reading many a document.
    """
    about = {
        "engine": found.engine,
        "content_type": found.content_type,
        "metadata": clean_json(found.metadata),
        "warnings": [clean(warning) for warning in found.warnings],
        "tried": [to_dict(one) for one in found.tried],
    }
    markdown = clean(found.markdown)
    characters = len(json.dumps(about)) + len(markdown)
    if characters + sum(len(page.text) + len(page.label) + _SPAN for page in found.pages) <= _SHORT_CHARACTERS:
        memory = io.BytesIO()
        spans = _write_text(found, memory, limit)
        return {**about, "pages": spans, "text": memory.getvalue().decode(), "markdown": markdown}
    with (output_dir / TEXT_FILE).open("wb") as file:
        spans = _write_text(found, file, limit)
    data = markdown.encode()
    if len(data) > limit:
        raise TooLarge()
    (output_dir / MARKDOWN_FILE).write_bytes(data)
    (output_dir / RESULT_FILE).write_bytes(_line(**about, pages=spans))
    return None


_encode = json.JSONEncoder(ensure_ascii=False).encode


def _line(**fields: Any) -> bytes:
    return _encode(fields).encode("utf-8", "replace") + b"\n"


def _write_text(found: Extraction, file: BinaryIO, limit: int) -> list[list[int | str]]:
    """Write the text once; return where each page starts and ends in it (in characters). Raises TooLarge."""
    spans: list[list[int | str]] = []
    at = size = 0
    for page in found.pages:
        separator = PAGE_BREAK if spans else ""
        text = clean(page.text)
        data = (separator + text).encode()
        size += len(data)
        if size > limit:
            raise TooLarge()
        file.write(data)
        start = at + len(separator)
        at = start + len(text)
        spans.append([page.number, clean(page.label[:_LABEL]), start, at])
    return spans


def clean(text: str) -> str:
    """Take out what UTF-8 or a database refuses: lone surrogates become U+FFFD, NUL goes."""
    if not text.isascii():
        text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace") if _has_surrogates(text) else text
    return text.replace("\0", "")


def _has_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def clean_json(value: JsonValue) -> JsonValue:
    """`clean` for every string in a JSON value; a number that JSON or a database does not know becomes its text."""
    if isinstance(value, str):
        return clean(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if abs(value) < _LARGE else str(value)  # NaN is not less than anything
    if isinstance(value, Mapping):
        return {clean(str(key)): clean_json(item) for key, item in value.items()}
    return [clean_json(item) for item in value]


def _end_group(number: int, frame: FrameType | None) -> None:
    """The parent is gone while system tools run: end them together with this process."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _spare_the_collector() -> None:
    """Leave the engines' modules out of garbage collection, and collect seldom.

    A child looks at one document after the other and is replaced when it has grown: what little lies in cycles can
    wait. With the usual thresholds collecting took a tenth of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def main(argument: str) -> None:
    """Protect this process, say what was granted, then serve."""
    config = json.loads(argument)
    signal.signal(signal.SIGTERM, _end_group)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    granted = protections.protect(
        parent_pid=int(config["parent_pid"]),
        memory_bytes=int(config["memory_bytes"]),
        file_bytes=int(config["file_bytes"]),
        open_files=int(config["open_files"]),
        processes=int(config["processes"]),
        isolate=bool(config["isolate"]),
    )
    granted["files"] = landlock.restrict(
        readable=[*map(Path, config["readable"]), Path(sys.prefix), Path(sys.base_prefix)],
        listable=[Path(path) for path in config["listable"]],
        writable=[Path(path) for path in config["writable"]],
        network=not config["isolate"],
    )
    protections.adopt_orphans()
    try:
        child = Child(config)
        _spare_the_collector()
        child.reply("ready", protections=granted)
        child.serve(int(config["requests"]))
    except MemoryError:
        os._exit(EXIT_OUT_OF_MEMORY)
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
