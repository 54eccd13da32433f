"""What a file really is, from its bytes. A false claim is a warning, never an error.

Empty, encrypted, cut off and monstrous files are recognised here, before any engine runs. Two cases stay with the
engine: a PDF may be encrypted with the empty password, which everybody can open, and damage inside a container.
Weighed and left out: libmagic (a system library), puremagic and filetype (no view into containers, no text formats).
"""

from __future__ import annotations

import csv
import os
import re
import struct
from pathlib import Path

from documents.extraction import charset, compound, containers
from documents.extraction.base import Identity
from documents.extraction.errors import Damaged, DecompressionBomb, Empty, UnsupportedType
from documents.extraction.formats import (
    CONTENT_TYPES,
    SIGNATURES,
    TEXTUAL,
    UNSUPPORTED,
    ending_of_name,
    format_of_content_type,
    format_of_name,
)
from documents.extraction.oddities import TAIL_BYTES, oddities

_HEAD_BYTES = 64 * 1024
TEXT_BYTES = 16 * 1024
"""Of a text: to guess the encoding of all 64 KiB took 0.15 s, twice."""
_MAX_PIXELS = 250_000_000
"""About A0 at 400 dpi; the decoded picture of more would need over 1 GiB."""

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HTML = re.compile(
    r"(?:<\?xml[^>]*\?>|<!--(?:[^-]|-(?!->))*-->|\s)*<(?:!doctype\s+html|html|head|body|frameset)\b", re.I
)
"""A comment ends in one place only. With `.*?` each could also end where a later one does: forty held the worker,
which runs this with the interpreter's lock, for more than a day."""
_HTML_INSIDE = re.compile(r"<(?:p|div|table|ul|ol|h[1-6]|span|br|a|title|meta|script|style|font)\b[^<>]*>", re.I)
_XML = re.compile(
    r"\s*(?:<\?xml[\s?]|<!doctype\s+(?!html)|<[A-Za-z_][\w.:-]*(?:\s+xmlns|\s*/?>|\s+[\w:.-]+\s*=))", re.I
)
_CONTROLS = re.compile("[\\0-\\x07\\x0e-\\x19\\x1c-\\x1f\ufffd]")
_WORD = re.compile(rb"[A-Za-z]{4,}")
_SHARE_OF_WORDS = 0.3
"""Of bytes by chance one in a hundred."""
_HEADER = re.compile(r"^([A-Za-z][A-Za-z0-9-]{1,60})[ \t]*:", re.M)
_MBOX_LINE = re.compile(r"From \S+ .*\r?\n")
_MAIL = frozenset(
    [
        "received",
        "return-path",
        "delivered-to",
        "message-id",
        "mime-version",
        "from",
        "to",
        "subject",
        "date",
        "content-type",
        "reply-to",
        "cc",
        "x-mailer",
        "x-original-to",
        "dkim-signature",
        "in-reply-to",
        "references",
        "sender",
    ]
)
_MAIL_ONLY = frozenset(
    ["received", "return-path", "delivered-to", "message-id", "mime-version", "x-mailer", "x-original-to"]
)


def identify(path: Path, *, declared: str, file_name: str) -> Identity:
    """Judge the file at `path`. Reads 64 KiB and the directories of containers.

    Raises Empty, Encrypted, Damaged, DecompressionBomb, or UnsupportedType when it is nothing this service names.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(-min(TAIL_BYTES, path.stat().st_size), os.SEEK_END)
        tail = file.read()
    found = _by_signature(path, head, tail) or _by_text(head, declared, file_name)
    return Identity(
        content_type=CONTENT_TYPES[found],
        extension=found,
        declared=declared,
        named=ending_of_name(file_name),
        warnings=(*_mismatches(found, declared, file_name), *oddities(found, head, tail)),
    )


def _by_signature(path: Path, head: bytes, tail: bytes) -> str:
    if not head.strip(b"\0 \t\r\n\f\xef\xbb\xbf"):
        raise Empty()
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return containers.zip_format(path)
    if head.startswith(_OLE):
        return compound.ole_format(path)
    if _is_pdf(head, tail):
        return "pdf"
    for magic, found in SIGNATURES:
        if head.startswith(magic):
            _refuse_pixel_bomb(head, found)
            return found
    for magic, what in UNSUPPORTED:
        if head.startswith(magic) and _is_binary(head):
            raise UnsupportedType(f"This is {what}, which this service does not read.")
    if head[4:8] == b"ftyp":
        raise UnsupportedType("This is a video, audio or HEIF file, which this service does not read.")
    return ""


def _is_pdf(head: bytes, tail: bytes) -> bool:
    """ISO 32000-1 Annex H, note 13: readers accept the header anywhere in the first 1024 bytes.

    Behind other bytes it counts only where the file goes on like a PDF: texts about PDF mention it, too.
    """
    at = head.find(b"%PDF-", 0, 1024 + len(b"%PDF-"))
    return at == 0 or (at > 0 and (b"startxref" in tail or b" obj" in head or b"%%EOF" in tail))


def _refuse_pixel_bomb(head: bytes, found: str) -> None:
    try:
        if found == "png":
            width, height = struct.unpack_from(">II", head, 16)
        elif found == "gif":
            width, height = struct.unpack_from("<HH", head, 6)
        else:
            return
    except struct.error as error:
        raise Damaged("The picture ends inside its header.") from error
    if width * height > _MAX_PIXELS:
        raise DecompressionBomb(f"The picture has {width} x {height} pixels; at most {_MAX_PIXELS:,} are read.")


def _is_binary(head: bytes) -> bool:
    """Text has next to no control characters, in whatever encoding."""
    return _is_noise(charset.decode(beginning_of_text(head)).text)


def _is_noise(text: str) -> bool:
    controls = len(_CONTROLS.findall(text))
    return controls > max(2, len(text) * 0.02)


def beginning_of_text(head: bytes) -> bytes:
    """The part that is decoded, cut where a UTF-8, UTF-16 or UTF-32 character cannot be torn."""
    if len(head) <= TEXT_BYTES:
        return head
    head = head[:TEXT_BYTES]
    line_end = max(head.rfind(b"\n", len(head) - 4096), head.rfind(b" ", len(head) - 64))
    return head[: (line_end // 4 * 4) if b"\0" in head[:64] else line_end] if line_end > 0 else head[:-4]


def _by_text(head: bytes, declared: str, file_name: str) -> str:
    """Choose among the text formats: a clear sign, else the claim if it is possible, else a look at the shape."""
    text = charset.decode(beginning_of_text(head)).text.lstrip("\ufeff")
    if _is_noise(text):
        if _is_old_document(head, declared, file_name):
            return "wpd"
        raise UnsupportedType()
    signs = _signs(text)
    claims = [claim for claim in (format_of_name(file_name), format_of_content_type(declared)) if claim in TEXTUAL]
    for claim in claims:
        # "text/plain" is what everybody sends for everything: it must not overrule a name or a clear sign.
        if claim != "txt" and (
            claim in signs or (claim in ("md", "csv", "tsv", "txt") and not signs & {"eml", "html"})
        ):
            return claim
        if claim == "html" or (claim == "eml" and _HEADER.match(text)):
            return claim
    for sign in ("html", "eml", "xml", "json"):
        if sign in signs and not ("txt" in claims and sign == "json"):
            return sign
    return _table_delimiter(text) if not claims and _table_delimiter(text) else "txt"


def _is_old_document(head: bytes, declared: str, file_name: str) -> bool:
    """WordPerfect 4.2 and its contemporaries have no signature: the claim counts, where a good part of it is words."""
    claims = {format_of_name(file_name), format_of_content_type(declared)}
    return bool(claims & {"doc", "wpd"}) and sum(map(len, _WORD.findall(head))) >= _SHARE_OF_WORDS * len(head)


def _signs(text: str) -> set[str]:
    """Return the formats this text bears a clear sign of."""
    signs: set[str] = set()
    start = text.lstrip()[:8192]
    if _HTML.match(start):
        signs.add("html")
    elif start.startswith("<?xml"):
        signs.add("xml")
    elif start.startswith("<") and len(_HTML_INSIDE.findall(start)) >= 3:
        signs.add("html")
    elif _XML.match(start):
        signs.add("xml")
    if start[:1] in "{[" and _looks_like_json(start):
        signs.add("json")
    mail = _MBOX_LINE.sub("", start, count=1) if start.startswith("From ") else start
    names = [name.lower() for name in _HEADER.findall(re.split(r"\r?\n\r?\n", mail, maxsplit=1)[0])]
    known = sum(name in _MAIL for name in names)
    if _HEADER.match(mail) and (known >= 3 or (known >= 2 and _MAIL_ONLY.intersection(names))):
        signs.add("eml")
    return signs


def _looks_like_json(start: str) -> bool:
    return bool(re.match(r'[{\[]\s*(?:["{\[\]}]|-?\d|true\b|false\b|null\b)', start))


def _table_delimiter(text: str) -> str:
    """Return "csv" or "tsv" when the first lines all have the same number of cells, else ""."""
    lines = [line for line in text.splitlines()[:20] if line.strip()]
    for delimiter, found in (("\t", "tsv"), (",", "csv"), (";", "csv")):
        try:
            widths = {len(row) for row in csv.reader(lines, delimiter=delimiter)}
        except csv.Error:
            continue
        if len(lines) >= 3 and len(widths) == 1 and widths.pop() >= 3:
            return found
    return ""


def _mismatches(found: str, declared: str, file_name: str) -> tuple[str, ...]:
    claims = (
        (format_of_content_type(declared), "content type"),
        (format_of_name(file_name), "file name"),
    )
    # Every text format is also plain text: declared as such it is no contradiction.
    return tuple(
        f"type_mismatch: the {what} says {claim}, the content is {found}"
        for claim, what in claims
        if claim and claim != found and not (claim == "txt" and found in TEXTUAL)
    )
