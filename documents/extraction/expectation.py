"""How much text a document ought to hold, judged without an engine; and whether a result falls short of it.

An engine that skips text boxes, form fields or a whole encoding reports success all the same: half the silent failures
that were measured are of this kind. The estimate need not be good, it only has to notice a text that is far too short.
"""

from __future__ import annotations

import collections
import html
import re
import unicodedata
import zipfile

from documents.extraction.base import MIB, PAGES_TO_READ, UNREADABLE_TEXT, Extraction, Request
from documents.extraction.engines.doc import DocEngine

_doc = DocEngine()

LITTLE_TEXT, GARBLED, NO_TEXT, NEEDS_OCR = "little_text", "garbled_text", "no_text_found", "needs_ocr"

_MAX_UNPACKED_BYTES = 64 * MIB
_SHORTFALL = 0.6
"""Below that share of the letters in the file's own XML, engines are compared. Field codes and the like are no text."""
_DOC_SHORTFALL = 0.85
"""Old Word files say exactly where their text is, so less may be missing."""
_FEW_LETTERS = 20
_SAMPLE = 20_000
_WORD = re.compile(r"[^\W_]+")
_PARTS = {
    "docx": (re.compile(r"word/(document\d*|footnotes|endnotes|comments)\.xml$"), re.compile(rb"<w:t[ >][^<]*")),
    "pptx": (re.compile(r"ppt/slides/slide\d+\.xml$"), re.compile(rb"<a:t[ >][^<]*")),
    "xlsx": (re.compile(r"xl/sharedStrings\.xml$"), re.compile(rb"<(?:\w+:)?t[ >][^<]*")),
    "odt": (re.compile(r"content\.xml$"), re.compile(rb">[^<]+")),
    "odp": (re.compile(r"content\.xml$"), re.compile(rb">[^<]+")),
}


def letters(found: Extraction) -> int:
    """Count what is worth reading: letters and digits, without what stands for unknown characters."""
    return _count(found.text)


def _count(text: str) -> int:
    # Word by word instead of letter by letter: a tenth of the time, which every document pays.
    return sum(map(len, _WORD.findall(text)))


def doubt(request: Request, found: Extraction) -> str:
    """Return why this text should not be trusted yet, or "". NEEDS_OCR is no matter for another text engine."""
    if found.metadata.get(PAGES_TO_READ) and not found.metadata.get(UNREADABLE_TEXT):
        # Nothing but pictures: other text engines would search for a second what is not there.
        return NEEDS_OCR
    if not found.text.strip():
        return NO_TEXT
    if found.metadata.get(UNREADABLE_TEXT):
        return LITTLE_TEXT
    if _is_garbled(found.text):
        return GARBLED
    if request.identity.extension == "doc" and found.engine != "doc":
        return LITTLE_TEXT if letters(found) < _DOC_SHORTFALL * _letters_of_doc(request) else ""
    if request.identity.extension == "ppt" and letters(found) < _FEW_LETTERS:
        return LITTLE_TEXT  # Dates that are filled in when shown, and words in embedded charts, are in no text record.
    wanted = _SHORTFALL * _letters_inside(request)
    return LITTLE_TEXT if wanted and letters(found) < wanted else ""


def _is_garbled(text: str) -> bool:
    """Tell whether a good part of the characters stand for nothing: replacement, private use, unassigned, control."""
    sample = "".join(text[:_SAMPLE].split())
    bad = sum(
        count
        for char, count in collections.Counter(sample).items()
        if char == "\ufffd" or unicodedata.category(char) in ("Co", "Cn", "Cc")
    )
    return bad > 0.2 * len(sample)


def _letters_inside(request: Request) -> int:
    """Count the letters between the tags that hold text, in formats that are ZIP files of XML."""
    if request.identity.extension not in _PARTS:
        return 0
    wanted, tags = _PARTS[request.identity.extension]
    count, budget = 0, _MAX_UNPACKED_BYTES
    try:
        with zipfile.ZipFile(request.path) as archive:
            for info in archive.infolist():
                if not wanted.search(info.filename) or info.file_size > budget:
                    continue
                budget -= info.file_size
                pieces = (match.partition(b">")[2] for match in tags.findall(archive.read(info)))
                count += _count(html.unescape(b"".join(pieces).decode("utf-8", "replace")))
    except Exception:  # An engine has read the document; what is wrong with other parts of it is no reason to fail.
        return 0
    return count


def _letters_of_doc(request: Request) -> int:
    """Count the letters that the piece table of an old Word file names: 2 ms."""
    try:
        return letters(_doc.extract(request))
    except Exception:  # A damaged table says nothing of how much text there is.
        return 0
