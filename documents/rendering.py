"""An extraction as bytes: the objects that are stored of it, and the JSON document that the API serves from them.

    {"content_type": "...", "engine": "...", "characters": 5, "words": 1, "metadata": {...}, "warnings": ["..."],
     "tried": [{"engine": "...", "seconds": 0.1, "reason": ""}], "source": {"sha256": "...", "bytes": 9},
     "pages": [{"number": 1, "label": "", "text": "..."}], "text": "...", "markdown": "..."}

The text is stored once. The JSON, which holds it twice, is put together while it is sent: a record beside the text says
where each page ends and how long the JSON will be. Everything goes piece by piece, so that no second copy of a large
text is made in memory. The short fields come first, so that a reader who streams has them before the text.
docs/extraction.md says what each field means.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from documents.extraction.base import PAGE_BREAK, Extraction, JsonValue, to_dict
from documents.storage.results import MARKDOWN, RECORD, TEXT, Part, ResultStore

_PIECE = 64 * 1024
_IN_MEMORY_BYTES = 1024 * 1024
"""A text up to that size is fetched once for both places in the JSON; a longer one is fetched twice."""

_BREAK = PAGE_BREAK.encode()
_WORD = re.compile(r"\w+")
_CONTROL = re.compile(rb"[\x00-\x1f]")
_SHORT_ESCAPES = ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n"), (b"\t", b"\\t"), (b"\r", b"\\r"))


@dataclass(frozen=True, kw_only=True)
class StoredDocument:
    """A JSON document on its way: its size in bytes, and its pieces."""

    size: int
    chunks: Iterator[bytes]


def parts(
    extraction: Extraction, extra: Mapping[str, JsonValue] | None = None
) -> Iterator[tuple[Part, Iterable[bytes]]]:
    """Yield what is stored: each object with its bytes. `extra` holds further top-level fields of the JSON."""
    yield TEXT, text_chunks(extraction)
    if extraction.markdown:
        yield MARKDOWN, _pieces(extraction.markdown)
    yield RECORD, _record_chunks(extraction, extra)


def text_chunks(extraction: Extraction) -> Iterator[bytes]:
    """Yield the plain text as UTF-8. Lone surrogates, which UTF-8 cannot hold, become question marks."""
    for index, page in enumerate(extraction.pages):
        if index:
            yield _BREAK
        yield from _pieces(page.text)


def json_chunks(extraction: Extraction, extra: Mapping[str, JsonValue] | None = None) -> Iterator[bytes]:
    """Yield the JSON document straight from an extraction: what is read back later is the same, byte by byte."""
    pages = ((page.number, page.label, _pieces(page.text)) for page in extraction.pages)
    return _document(_head(extraction, extra), pages, text_chunks(extraction), _pieces(extraction.markdown))


def stored_document(results: ResultStore, key: str) -> StoredDocument:
    """Return the JSON document of a stored result. Raises ResultNotFound, StorageUnavailable."""
    with results.open(key, RECORD) as file:
        record: dict[str, Any] = json.load(file)
    text = _opener(results, key)
    markdown = _whole(lambda: results.open(key, MARKDOWN)) if record["markdown"] else ()
    chunks = _document(record["head"], _stored_pages(record["pages"], text), _whole(text), markdown)
    return StoredDocument(size=int(record["size"]), chunks=_joined(chunks))


def _opener(results: ResultStore, key: str) -> Callable[[], BinaryIO]:
    """Return what opens the text, again and again; a short one is kept."""
    if results.size(key, TEXT) > _IN_MEMORY_BYTES:
        return lambda: results.open(key, TEXT)
    with results.open(key, TEXT) as file:
        text = file.read()
    return lambda: io.BytesIO(text)


def _stored_pages(
    pages: Iterable[tuple[int, str, int]], opened: Callable[[], BinaryIO]
) -> Iterator[tuple[int, str, Iterator[bytes]]]:
    """Yield number, label and text; the text of one page has to be used up before the next is asked for."""
    with opened() as text:
        for index, (number, label, size) in enumerate(pages):
            skipped = len(_BREAK) if index else 0
            yield number, label, _skipping(skipped, _read(text, skipped + size))


def _record_chunks(extraction: Extraction, extra: Mapping[str, JsonValue] | None) -> Iterator[bytes]:
    """Yield what the text alone does not say. The size of the JSON is told beforehand, as HTTP likes it."""
    yield _json(
        {
            "size": sum(map(len, json_chunks(extraction, extra))),
            "markdown": bool(extraction.markdown),
            "head": _head(extraction, extra),
            "pages": [
                (page.number, page.label, sum(map(len, _pieces(page.text)))) for page in extraction.pages
            ],
        }
    )  # fmt: skip


def _head(extraction: Extraction, extra: Mapping[str, JsonValue] | None) -> dict[str, Any]:
    return {
        "content_type": extraction.content_type,
        "engine": extraction.engine,
        "characters": len(extraction.text),
        "words": _words(extraction.text),
        "metadata": extraction.metadata,
        "warnings": list(extraction.warnings),
        "tried": [to_dict(tried) for tried in extraction.tried],
        **(extra or {}),
    }


def _words(text: str) -> int:
    """Count words, piece by piece: a list of all words of a large text would be many times as large."""
    cuts = range(_PIECE, len(text), _PIECE)
    torn = sum(1 for cut in cuts if _WORD.match(text[cut - 1]) and _WORD.match(text[cut]))
    return sum(len(_WORD.findall(text, cut - _PIECE, cut)) for cut in range(_PIECE, len(text) + _PIECE, _PIECE)) - torn


def _document(
    head: Mapping[str, Any],
    pages: Iterable[tuple[int, str, Iterable[bytes]]],
    text: Iterable[bytes],
    markdown: Iterable[bytes],
) -> Iterator[bytes]:
    yield _json(head)[:-1] + b', "pages": ['
    for index, (number, label, page) in enumerate(pages):
        yield (b", " if index else b"") + _json({"number": number, "label": label})[:-1] + b', "text": '
        yield from _string(page)
        yield b"}"
    yield b'], "text": '
    yield from _string(text)
    yield b', "markdown": '
    yield from _string(markdown)
    yield b"}\n"


def _string(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a JSON string of UTF-8 in pieces. Only bytes below 0x80 are escaped, so pieces may be cut anywhere."""
    yield b'"'
    for chunk in chunks:
        for char, escape in _SHORT_ESCAPES:
            chunk = chunk.replace(char, escape)  # noqa: PLW2901  # one piece, step by step
        yield _CONTROL.sub(lambda match: b"\\u%04x" % match.group(0)[0], chunk)
    yield b'"'


def _pieces(text: str) -> Iterator[bytes]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE].encode("utf-8", "replace")


def _whole(opened: Callable[[], BinaryIO]) -> Iterator[bytes]:
    with opened() as file:
        while chunk := file.read(_PIECE):
            yield chunk


def _read(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the next `size` bytes of a file."""
    while size > 0 and (chunk := file.read(min(_PIECE, size))):
        size -= len(chunk)
        yield chunk


def _skipping(count: int, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Leave out the first `count` bytes."""
    for chunk in chunks:
        yield chunk[count:]
        count = max(0, count - len(chunk))


def _joined(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Make few large pieces of many small ones: a server sends each with a system call of its own."""
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        if len(waiting) >= _PIECE:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
