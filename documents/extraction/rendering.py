"""An extraction as streams of bytes: plain text, Markdown, and the JSON document that the API serves.

    {"content_type": "...", "engine": "...", "characters": 5, "words": 1, "metadata": {...}, "warnings": ["..."],
     "tried": [{"engine": "...", "seconds": 0.1, "reason": ""}], "source": {"sha256": "...", "bytes": 9},
     "pages": [{"number": 1, "label": "", "text": "..."}], "text": "...", "markdown": "..."}

Written piece by piece, so that no second copy of a large text is made in memory. The short fields come first, so that
a reader who streams has them before the text. docs/extraction.md says what each field means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from documents.extraction.base import Extraction, JsonValue, to_dict

_PIECE = 64 * 1024
_WORD = re.compile(r"\w+")


def text_chunks(extraction: Extraction) -> Iterator[bytes]:
    """Yield the plain text as UTF-8. Lone surrogates, which UTF-8 cannot hold, become question marks."""
    yield from _pieces(extraction.text)


def markdown_chunks(extraction: Extraction) -> Iterator[bytes]:
    """Yield the Markdown as UTF-8; nothing where the engine knows none."""
    yield from _pieces(extraction.markdown)


def _pieces(text: str) -> Iterator[bytes]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE].encode("utf-8", "replace")


def json_chunks(extraction: Extraction, extra: Mapping[str, JsonValue] | None = None) -> Iterator[bytes]:
    """Yield the JSON document as UTF-8; `extra` holds further top-level fields, such as the source's sha256."""
    head = {
        "content_type": extraction.content_type,
        "engine": extraction.engine,
        "characters": len(extraction.text),
        "words": sum(1 for _ in _WORD.finditer(extraction.text)),
        "metadata": extraction.metadata,
        "warnings": list(extraction.warnings),
        "tried": [to_dict(tried) for tried in extraction.tried],
        **(extra or {}),
    }
    yield _json(head)[:-1] + b', "pages": ['
    for index, page in enumerate(extraction.pages):
        yield (b", " if index else b"") + _json({"number": page.number, "label": page.label})[:-1] + b', "text": '
        yield from _string(page.text)
        yield b"}"
    yield b'], "text": '
    yield from _string(extraction.text)
    yield b', "markdown": '
    yield from _string(extraction.markdown)
    yield b"}\n"


def _string(text: str) -> Iterator[bytes]:
    """Yield a JSON string in pieces. Escaping looks at one character at a time, so pieces may be cut anywhere."""
    yield b'"'
    for start in range(0, len(text), _PIECE):
        yield _json(text[start : start + _PIECE])[1:-1]
    yield b'"'


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
