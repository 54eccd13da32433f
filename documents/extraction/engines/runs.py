"""The readable runs of bytes in old files that nothing else here reads: what `strings` shows, without what is no text.

The last resort for word processors and presentations of the 1980s and 90s: WordPerfect, Word for DOS and Windows 2,
PowerPoint 95. Where LibreOffice or catdoc is installed, they are asked first and do better. Measured on five real files
of that kind: 84 to 100 % of the words, beside names of fonts and styles that are no part of the text.
"""

from __future__ import annotations

import re

import olefile

from documents.extraction.base import INCOMPLETE, Extraction, Identity, Page, Request, extraction
from documents.extraction.errors import Damaged

_RUN = re.compile(rb"(?:[\t\r\n\x0b\x20-\x7e]|(?<=[A-Za-z])[\xc0-\xff](?=[A-Za-z ]))+")
"""Western text of the time: ASCII, and single letters with marks beside plain ones."""
_WORD = re.compile(r"[^\W\d_]{3,}")
_VOWEL = re.compile("[aeiouyà-öù-ü]", re.I)
_SHORTEST = 4
_TEXT_SHARE = 0.75
_STREAM = "PP40"
"""Where PowerPoint 95 keeps its text; its other streams are previews and embedded objects."""


class RunsEngine:
    """Collects lines that look like words. Always with a warning: parts may be missing, others may be no text."""

    name = "runs"
    spawns = False

    def accepts(self, identity: Identity) -> bool:
        """Only formats that are older than their specification is public."""
        return identity.extension in ("doc", "wpd", "ppt")

    def extract(self, request: Request) -> Extraction:
        """Read the file, at most four times the output limit of it. Raises Damaged when nothing looks like text."""
        lines: list[str] = []
        for run in _RUN.findall(_bytes(request)):
            lines += [line.strip() for line in run.decode("cp1252", "replace").splitlines() if _is_text(line)]
        if not lines:
            raise Damaged("No text was found in this file.")
        text = "\n".join(lines)[: request.output_bytes]
        return extraction(self.name, request, [Page(number=1, text=text)], warnings=[INCOMPLETE])


def _bytes(request: Request) -> bytes:
    limit = 4 * request.output_bytes
    if not olefile.isOleFile(str(request.path)):
        with request.path.open("rb") as file:
            return file.read(limit)
    with olefile.OleFileIO(str(request.path)) as ole:
        if not ole.exists(_STREAM):
            raise Damaged()  # Of a version whose text other engines find, if it is whole.
        data: bytes = ole.openstream(_STREAM).read(limit)
        return data


def _is_text(line: str) -> bool:
    """Words have vowels, and little stands between them but blanks and letters."""
    line = line.strip()
    if len(line) < _SHORTEST or not any(_VOWEL.search(word) for word in _WORD.findall(line)):
        return False
    return sum(char.isalnum() or char in " .,:;-'\"()" for char in line) >= _TEXT_SHARE * len(line) and (
        sum(map(str.isalpha, line)) * 2 >= len(line)
    )
