"""An extraction as bytes: the object that is stored of it, and what the API serves from that.

The stored object is a record (one line of JSON, its length on a line of its own before it), the text as UTF-8, and the
same as Markdown where the engine knows headings, lists or tables. The record holds everything else: how long text and
Markdown are, where each page ends, metadata, warnings, engines. So text and Markdown are copies from storage to socket:
no parsing, no memory, whatever the size. Compression was left out for the same reason.

The JSON document of the API holds the text twice, by page and whole, and is put together while it is sent:

    {"content_type": "...", "engine": "...", "characters": 5, "words": 1, "metadata": {...}, "warnings": ["..."],
     "tried": [{"engine": "...", "seconds": 0.1, "reason": ""}], "source": {"sha256": "...", "bytes": 9},
     "pages": [{"number": 1, "label": "", "text": "..."}], "text": "...", "markdown": "..."}

The short fields come first, so that a reader who streams has them before the text. docs/extraction.md says what each
field means.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from documents.extraction.base import PAGE_BREAK, Extraction, JsonValue, to_dict
from documents.storage.results import ResultStore

_PIECE = 64 * 1024
_IN_MEMORY_BYTES = 1024 * 1024
"""A text up to that size is fetched once for both places in the JSON; a longer one is fetched twice."""

_LENGTH = 20
"""Bytes of the first line: the length of the record, and a line break."""

_encode = json.JSONEncoder(ensure_ascii=False).encode
"""json.dumps makes an encoder for each call, unless all of its options are the usual ones."""
_BREAK = PAGE_BREAK.encode()
_CONTROL = re.compile(rb"[\x00-\x1f]")
_SHORT_ESCAPES = ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n"), (b"\t", b"\\t"), (b"\r", b"\\r"))
_ESCAPED_SHORTLY = tuple(char for char, _ in _SHORT_ESCAPES)
_ESCAPED_LONG = bytes(code for code in range(0x20) if bytes([code]) not in _ESCAPED_SHORTLY)
_SPACES = bytes(code for code in range(0x80) if chr(code).isspace())
_WORDS = bytes(ord(" " if code in _SPACES else "x") for code in range(0x100))


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A representation on its way: its size in bytes, and its bytes.

    `start` is where it lies in the stored object, None when it is put together while it is sent.
    """

    size: int
    chunks: Iterator[bytes]
    start: int | None = None


def stored_chunks(extraction: Extraction, extra: Mapping[str, JsonValue] | None = None) -> Iterator[bytes]:
    """Yield the object that is stored. `extra` holds further top-level fields of the JSON document."""
    pages, markdown = [_Measure.of(page.text) for page in extraction.pages], _Measure.of(extraction.markdown)
    text = _Measure.of_joined(pages)
    head = _head(extraction, extra)
    numbered = [(page.number, page.label, iter(())) for page in extraction.pages]
    empty = _size(_document(head, numbered, (), ()))
    record = {
        "json": empty + text.escaped + markdown.escaped + sum(page.escaped for page in pages),
        "text": text.plain,
        "markdown": markdown.plain,
        "pages": [(page.number, page.label, size.plain) for page, size in zip(extraction.pages, pages, strict=True)],
        "head": head,
    }
    line = _json(record) + b"\n"
    yield b"%*d\n" % (_LENGTH - 1, len(line))
    yield line
    yield from text_chunks(extraction)
    yield from _pieces(extraction.markdown)


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


@dataclass(frozen=True, kw_only=True)
class _Measure:
    """How many bytes a text is, as it is and escaped as in a JSON string. Counted, because to build the JSON only to
    know its length took longer than to store it."""

    plain: int
    escaped: int

    @staticmethod
    def of(text: str) -> _Measure:
        plain = escapes = 0
        for piece in _pieces(text):
            plain += len(piece)
            escapes += sum(map(piece.count, _ESCAPED_SHORTLY))
            escapes += 5 * (len(piece) - len(piece.translate(None, _ESCAPED_LONG)))
        return _Measure(plain=plain, escaped=plain + escapes)

    @staticmethod
    def of_joined(pages: Sequence[_Measure]) -> _Measure:
        """Of the pages with a break between each two."""
        breaks = max(0, len(pages) - 1)
        return _Measure(
            plain=sum(page.plain for page in pages) + breaks * len(_BREAK),
            escaped=sum(page.escaped for page in pages) + breaks * _Measure.of(PAGE_BREAK).escaped,
        )


class StoredResult:
    """A result in the store, as far as its record says. Raises ResultNotFound, StorageUnavailable."""

    def __init__(self, results: ResultStore, key: str) -> None:
        self._results, self._key = results, key
        with results.open(key) as file:
            length = int(file.read(_LENGTH))
            self._record: dict[str, Any] = json.loads(file.read(length))
            self._start = _LENGTH + length
            is_short = self._record["text"] <= _IN_MEMORY_BYTES
            self._short = file.read(self._record["text"]) if is_short else None

    @property
    def text(self) -> Rendered:
        """The plain text."""
        size = self._record["text"]
        return Rendered(size=size, chunks=_all(self._open_text, size), start=self._start)

    @property
    def markdown(self) -> Rendered:
        """The Markdown; where the engine knew no headings, lists or tables, the plain text is it."""
        size, start = self._record["markdown"], self._start + self._record["text"]
        return Rendered(size=size, chunks=_all(self._open_markdown, size), start=start) if size else self.text

    @property
    def document(self) -> Rendered:
        """The JSON document."""
        record = self._record
        pages = _stored_pages(record["pages"], self._open_text)
        text = _all(self._open_text, record["text"])
        markdown = _all(self._open_markdown, record["markdown"])
        chunks = _document(record["head"], pages, text, markdown)
        return Rendered(size=record["json"], chunks=_joined(chunks))

    @property
    def page_count(self) -> int:
        """How many pages, sheets or slides there are."""
        return len(self._record["pages"])

    def pages_text(self, first: int, last: int) -> Rendered:
        """The plain text of pages `first` to `last`, counted from 1, without reading the others."""
        sizes = [size for _, _, size in self._record["pages"]]
        wanted = sizes[first - 1 : last]
        size = sum(wanted) + len(_BREAK) * max(0, len(wanted) - 1)
        return Rendered(size=size, chunks=_all(lambda: self._open_text(self._offset(first)), size))

    def pages_document(self, first: int, last: int) -> Iterator[bytes]:
        """The same pages as JSON; how long it will be is not known beforehand."""
        pages = _stored_pages(self._record["pages"][first - 1 : last], lambda: self._open_text(self._offset(first)))
        return _joined(_pages_document(pages, self.page_count))

    def _offset(self, first: int) -> int:
        """Where a page begins in the text, in bytes."""
        sizes: list[int] = [size for _, _, size in self._record["pages"][: first - 1]]
        return sum(sizes) + len(_BREAK) * (first - 1)

    def _open_text(self, offset: int = 0) -> BinaryIO:
        if self._short is not None:
            return io.BytesIO(self._short[offset:])
        return self._results.open(self._key, start=self._start + offset)

    def _open_markdown(self) -> BinaryIO:
        return self._results.open(self._key, start=self._start + self._record["text"])


def _stored_pages(
    pages: Iterable[tuple[int, str, int]], opened: Callable[[], BinaryIO]
) -> Iterator[tuple[int, str, Iterator[bytes]]]:
    """Yield number, label and text; the text of one page has to be used up before the next is asked for."""
    with opened() as text:
        for index, (number, label, size) in enumerate(pages):
            skipped = len(_BREAK) if index else 0
            yield number, label, _skipping(skipped, _read(text, skipped + size))


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
    count, torn = 0, False
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE]
        count += _words_in(piece) - (torn and not piece[0].isspace())
        torn = not piece[-1].isspace()
    return count


def _words_in(piece: str) -> int:
    """len(piece.split()), for ASCII without making all the words: a fifth of the time."""
    if not piece.isascii():
        return len(piece.split())
    marks = piece.encode().translate(_WORDS)
    return marks.count(b" x") + marks.startswith(b"x")


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


def _pages_document(pages: Iterable[tuple[int, str, Iterable[bytes]]], count: int) -> Iterator[bytes]:
    yield b'{"page_count": %d, "pages": [' % count
    for index, (number, label, page) in enumerate(pages):
        yield (b", " if index else b"") + _json({"number": number, "label": label})[:-1] + b', "text": '
        yield from _string(page)
        yield b"}"
    yield b"]}\n"


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


def _size(chunks: Iterable[bytes]) -> int:
    return sum(map(len, chunks))


def _all(opened: Callable[[], BinaryIO], size: int) -> Iterator[bytes]:
    """Yield `size` bytes of what is opened for that."""
    if size:
        with opened() as file:
            yield from _read(file, size)


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
    return _encode(value).encode("utf-8", "replace")
