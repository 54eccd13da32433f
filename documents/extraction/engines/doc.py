"""Word 6 to 2003 by olefile: the piece table, with footnotes, headers, comments and text boxes ([MS-DOC]).

catdoc reads slightly more old files and LibreOffice takes 0.8 s a document; this one needs neither.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import olefile

from documents.extraction.base import Extraction, Identity, Page, Request, extraction
from documents.extraction.charset import guess
from documents.extraction.errors import Damaged, Encrypted, TooLarge
from documents.extraction.ole import ole_metadata

_WORD_97 = 0x00C1
_MAGIC = (0xA5EC, 0xA5DC, 0xA5DB)
_CLX = 0x01A2
_FIELD = re.compile("\x13[^\x13\x14\x15]*(?:\x14([^\x13\x14\x15]*))?\x15")
_FIELD_ARGUMENT = re.compile(r'^\s*(?:TC|XE|TA|MACROBUTTON \S+|FORMTEXT|QUOTE)\s+"?([^"\\]*)', re.I)
_CHARACTERS = str.maketrans({
    "\r": "\n", "\x07": "\t", "\x0b": "\n", "\x0c": "\n\n", "\x0e": "\n", "\x1e": "-", "\x1f": None, "\xa0": " ",
    **dict.fromkeys("\0\x01\x02\x03\x04\x05\x06\x08\x13\x14\x15", None),
})  # fmt: skip


class DocEngine:
    """Reads the binary format of Word."""

    name = "doc"
    spawns = False

    def accepts(self, identity: Identity) -> bool:
        """Only binary Word."""
        return identity.extension == "doc"

    def extract(self, request: Request) -> Extraction:
        """Read the text in the order main text, footnotes, headers, comments, endnotes, text boxes."""
        if not olefile.isOleFile(str(request.path)):
            raise Damaged("The document is of a version before Word 6.")
        with olefile.OleFileIO(str(request.path)) as ole:
            if not ole.exists("WordDocument"):
                raise Damaged("The document holds no text stream.")
            main = ole.openstream("WordDocument").read()
            text = _text(ole, main)
            metadata = ole_metadata(ole)
        if len(text) > request.output_bytes:
            raise TooLarge()
        return extraction(self.name, request, [Page(number=1, text=_tidy(text))], metadata=metadata)


def _text(ole: olefile.OleFileIO, main: bytes) -> str:
    if len(main) < 0x20 or int.from_bytes(main[:2], "little") not in _MAGIC:
        raise Damaged("The document's header is damaged.")
    version, flags = int.from_bytes(main[2:4], "little"), int.from_bytes(main[10:12], "little")
    if flags & 0x0100:
        raise Encrypted()
    if version < _WORD_97:
        start, end = struct.unpack_from("<II", main, 0x18)
        data = main[start:end]
        return data.decode(guess(data), "replace")
    table = "1Table" if flags & 0x0200 else "0Table"
    if len(main) < _CLX + 8 or not ole.exists(table):
        raise Damaged("The document's table of pieces is missing.")
    at, length = struct.unpack_from("<II", main, _CLX)
    return "".join(_pieces(main, ole.openstream(table).read()[at : at + length]))


def _pieces(main: bytes, clx: bytes) -> Iterator[str]:
    """Yield the text piece by piece ([MS-DOC] 2.9.38 Clx, 2.8.35 PlcPcd, 2.9.73 FcCompressed)."""
    at = 0
    while at + 3 <= len(clx) and clx[at] == 1:
        at += 3 + int.from_bytes(clx[at + 1 : at + 3], "little")
    if at + 5 > len(clx) or clx[at] != 2:
        raise Damaged("The document's table of pieces is damaged.")
    length = int.from_bytes(clx[at + 1 : at + 5], "little")
    plc = clx[at + 5 : at + 5 + length]
    count = (len(plc) - 4) // 12
    ends = struct.unpack_from(f"<{count + 1}I", plc, 0) if count > 0 else ()
    for index in range(count):
        size = ends[index + 1] - ends[index]
        place = int.from_bytes(plc[4 * (count + 1) + 8 * index + 2 :][:4], "little")
        if size <= 0 or size > len(main):
            continue
        if place & 0x4000_0000:
            start = (place & 0x3FFF_FFFF) // 2
            yield main[start : start + size].decode("cp1252", "replace")
        else:
            yield main[place : place + 2 * size].decode("utf-16-le", "replace")


def _tidy(text: str) -> str:
    """Keep the results of fields instead of their codes, innermost first, and turn marks into white space."""
    before = None
    while before != text:
        before = text
        text = _FIELD.sub(_shown, text)
    text = text.translate(_CHARACTERS)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip()


def _shown(field: re.Match[str]) -> str:
    if field.group(1) is not None:
        return field.group(1)
    argument = _FIELD_ARGUMENT.match(field.group(0)[1:-1])
    return argument.group(1) if argument else ""
