"""What an OLE file says of itself."""

from __future__ import annotations

import datetime
import struct

import olefile

from documents.extraction.base import JsonValue
from documents.extraction.charset import decode

_TEXTS = {"title": "title", "subject": "subject", "author": "author", "keywords": "keywords", "company": "company"}
_DATES = {"create_time": "created", "last_saved_time": "modified"}


def ole_metadata(ole: olefile.OleFileIO) -> dict[str, JsonValue]:
    """Return title, author and dates; nothing where the property streams are broken."""
    try:
        found = ole.get_metadata()
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error, OverflowError):
        return {}
    metadata: dict[str, JsonValue] = {}
    for attribute, name in _TEXTS.items():
        value = getattr(found, attribute, None)
        if isinstance(value, bytes) and value.strip(b"\0 "):
            metadata[name] = decode(value.rstrip(b"\0")).text.strip()
        elif isinstance(value, str) and value.strip("\0 "):
            metadata[name] = value.strip("\0 ")
    for attribute, name in _DATES.items():
        value = getattr(found, attribute, None)
        if isinstance(value, datetime.datetime) and value.year > 1601:
            metadata[name] = value.isoformat()
    return metadata
