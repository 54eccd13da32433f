"""Outlook mail: xberg, and the body that it leaves out.

A mail may hold its text twice, as HTML and as plain text. xberg takes the first it understands; measured on real mail,
the other one was sometimes the only one that people would read (a signed mail, a mail whose HTML says something else).
"""

from __future__ import annotations

import dataclasses
import re
import struct

import olefile

from documents.extraction import markdown
from documents.extraction.base import PAGE_BREAK, Extraction, Identity, Page, Request
from documents.extraction.charset import decode
from documents.extraction.engines.xberg_engine import XbergEngine

_BODY_UNICODE, _BODY_BYTES = "__substg1.0_1000001F", "__substg1.0_1000001E"
_KNOWN_SHARE = 0.9
_WORD = re.compile(r"\w+")


class MsgEngine:
    """Reads a mail whole. Raises what xberg's engine raises."""

    name = "xberg"
    spawns = False

    def __init__(self, xberg: XbergEngine) -> None:
        self._xberg = xberg

    def accepts(self, identity: Identity) -> bool:
        """Only Outlook mail."""
        return identity.extension == "msg"

    def extract(self, request: Request) -> Extraction:
        """Read the mail; add the plain body if most of its words are not there yet."""
        found = self._xberg.extract(request)
        body = _plain_body(request)
        words = _WORD.findall(body.lower())
        known = set(_WORD.findall(found.text.lower()))
        if not words or sum(word in known for word in words) >= _KNOWN_SHARE * len(words):
            return found
        text = f"{found.text}{PAGE_BREAK}{body}".strip()
        return dataclasses.replace(
            found,
            text=text,
            pages=(Page(number=1, text=text),),
            markdown=f"{found.markdown}\n\n{markdown.escape(body)}".strip(),
        )


def _plain_body(request: Request) -> str:
    """Return the property PidTagBody ([MS-OXPROPS] 2.609); "" where it is missing or broken."""
    try:
        with olefile.OleFileIO(str(request.path)) as ole:
            if ole.exists(_BODY_UNICODE):
                text: str = ole.openstream(_BODY_UNICODE).read(request.output_bytes).decode("utf-16-le", "replace")
            elif ole.exists(_BODY_BYTES):
                text = decode(ole.openstream(_BODY_BYTES).read(request.output_bytes)).text
            else:
                text = ""
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error):
        return ""  # xberg has read the mail; what it found stands.
    return text.replace("\0", "").replace("\r\n", "\n").strip()
