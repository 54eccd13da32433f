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
_BYTES = "001E"
"""How the name of a string property ends whose characters are bytes of a code page ([MS-OXCDATA], PtypString8)."""
_BROKEN = (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error)
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
        body, mended = _plain_body(request), _mended(request) if "\ufffd" in found.text else {}
        found = dataclasses.replace(
            found,
            text=_replaced(found.text, mended),
            pages=tuple(dataclasses.replace(page, text=_replaced(page.text, mended)) for page in found.pages),
            markdown=_replaced(found.markdown, mended),
        )
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


def _mended(request: Request) -> dict[str, str]:
    """Return each line that xberg cannot decode, as it gives it -> as it is meant.

    Strings of eight bits are in the code page of whoever wrote the mail, which its properties name wrong or not at all.
    """
    lines: dict[str, str] = {}
    try:
        with olefile.OleFileIO(str(request.path)) as ole:
            names = [entry[-1] for entry in ole.listdir() if len(entry) == 1 and entry[0].endswith(_BYTES)]
            for data in (ole.openstream(name).read(request.output_bytes) for name in names):
                if not data.isascii():
                    broken = (line.decode("utf-8", "replace").strip() for line in data.splitlines())
                    lines |= {
                        one: decode(line).text.strip() for one, line in zip(broken, data.splitlines(), strict=True)
                    }
    except _BROKEN:
        return {}  # xberg has read the mail; what it found stands.
    return {broken: meant for broken, meant in lines.items() if "\ufffd" in broken}


def _replaced(text: str, lines: dict[str, str]) -> str:
    for broken, meant in lines.items():
        text = text.replace(broken, meant)
    return text


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
    except _BROKEN:
        return ""
    return text.replace("\0", "").replace("\r\n", "\n").strip()
