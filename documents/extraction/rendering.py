"""An extraction as streams of bytes: plain text, and the JSON document that the API serves.

    {"text": "...", "pages": [{"number": 1, "label": "", "text": "..."}], "metadata": {...}, "warnings": ["..."],
     "content_type": "...", "engine": "...", "tried": [{"engine": "...", "seconds": 0.1, "reason": ""}]}

Written piece by piece, so that no second copy of a large text is made in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from documents.extraction.base import Extraction, JsonValue, to_dict

_PIECE = 64 * 1024


def text_chunks(extraction: Extraction) -> Iterator[bytes]:
    """Yield the plain text as UTF-8."""
    for start in range(0, len(extraction.text), _PIECE):
        yield extraction.text[start : start + _PIECE].encode("utf-8", "replace")


def json_chunks(extraction: Extraction, extra: Mapping[str, JsonValue] | None = None) -> Iterator[bytes]:
    """Yield the JSON document as UTF-8; `extra` holds further top-level fields, such as the source's sha256."""
    yield b'{"text": '
    yield from _string(extraction.text)
    yield b', "pages": ['
    for index, page in enumerate(extraction.pages):
        yield (", " if index else "").encode() + _json({"number": page.number, "label": page.label})[:-1]
        yield b', "text": '
        yield from _string(page.text)
        yield b"}"
    yield b"]"
    rest = {
        "metadata": extraction.metadata,
        "warnings": list(extraction.warnings),
        "content_type": extraction.content_type,
        "engine": extraction.engine,
        "tried": [to_dict(tried) for tried in extraction.tried],
        **(extra or {}),
    }
    yield b", " + _json(rest)[1:]


def _string(text: str) -> Iterator[bytes]:
    """Yield a JSON string in pieces. Escaping looks at one character at a time, so pieces may be cut anywhere."""
    yield b'"'
    for start in range(0, len(text), _PIECE):
        yield _json(text[start : start + _PIECE])[1:-1]
    yield b'"'


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
