"""What is odd about a file whose type is known: its end is missing, or it is a second thing besides.

Both are warnings. A file cut off may still hold most of its text, and a file that two kinds of programs open is read as
one of them here, by its first bytes; whoever hands it on to other programs should know that they may see another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

TAIL_BYTES = 64 * 1024 + 22
"""Enough for the end record of a ZIP file with the longest comment it may have."""

_END_OF_ZIP, _END_BYTES = b"PK\x05\x06", 22
_PDF_HEADER_BYTES = 1024
_ENDS: dict[str, bytes] = {"pdf": b"%%EOF", "png": b"IEND", "jpg": b"\xff\xd9", "gif": b"\x3b"}
"""What stands at the end of a whole file: ISO 32000-1 7.5.5, PNG 11.2.5, JPEG B.1.1.3, GIF89a 27."""
_ZIPPED = frozenset({"docx", "xlsx", "xlsb", "pptx", "odt", "ods", "odp", "epub"})
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF8", "gif"),
    (b"MZ", "program"),
    (b"\x7fELF", "program"),
    (b"{\\rtf", "rtf"),
    (b"#!", "script"),
)
_MARKUP = re.compile(rb"\s*<(?:!doctype\s+html|html|head|body|script)\b", re.I)


def oddities(found: str, head: bytes, tail: bytes) -> Iterator[str]:
    """Yield the warnings about a file of format `found`, from its first bytes and its last `TAIL_BYTES`."""
    end = _ENDS.get(found)
    if end is not None and end not in tail:
        yield "cut_off: the end of the file is missing"
    second = _starts_as(found, head) or _ends_as(found, tail) or _holds_pdf(found, head)
    if second:
        yield f"polyglot: the file is read as {found}, and other programs take it for {second}"


def _starts_as(found: str, head: bytes) -> str:
    """A PDF may begin anywhere in the first KiB; what stands before it may be the beginning of something else."""
    if found != "pdf" or head.startswith(b"%PDF-"):
        return ""
    if _MARKUP.match(head):
        return "html"
    return next((what for magic, what in _STARTS if head.startswith(magic)), "")


def _ends_as(found: str, tail: bytes) -> str:
    """A ZIP file is known by its end, whatever stands before; the comment must reach exactly to the file's end."""
    if found in _ZIPPED:
        return ""
    at = tail.rfind(_END_OF_ZIP)
    while at >= 0:
        if at + _END_BYTES + int.from_bytes(tail[at + 20 : at + _END_BYTES], "little") == len(tail):
            return "zip"
        at = tail.rfind(_END_OF_ZIP, 0, at)
    return ""


def _holds_pdf(found: str, head: bytes) -> str:
    """Containers are told before PDF is looked for; readers of PDF find it all the same."""
    return "pdf" if found != "pdf" and b"%PDF-" in head[: _PDF_HEADER_BYTES + 5] and found not in ("txt", "md") else ""
