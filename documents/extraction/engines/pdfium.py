"""PDF by pypdfium2: page by page, with progress.

Measured: 1.3 ms median, 619 pages in 0.7 s, where pdfminer took 22 s.
"""

from __future__ import annotations

import ctypes
import dataclasses
import re

import pypdfium2 as pdfium
from pypdfium2 import raw

from documents.extraction.base import (
    PAGES_TO_READ,
    UNREADABLE_TEXT,
    VISIBLE_WITHOUT_TEXT,
    Extraction,
    Identity,
    JsonValue,
    Page,
    Request,
    extraction,
)
from documents.extraction.engines import hyphens, pdfium_annotations
from documents.extraction.errors import Damaged, Encrypted, TooLarge, TooManyPages, UnsupportedType

_METADATA = {
    "Title": "title", "Author": "author", "Subject": "subject", "Keywords": "keywords", "Creator": "creator",
    "Producer": "producer", "CreationDate": "created", "ModDate": "modified",
}  # fmt: skip
_REPORT_EVERY = 10
_ENOUGH_LETTERS = 60
"""A page with that much text is not looked at further: running heads and stamps on a scan are shorter."""
_GARBAGE = 0.2
_UNKNOWN = re.compile("[\ufffd\ue000-\uf8ff]")
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")
"""Characters that nobody types: what pdfium makes of glyphs whose font names no characters."""
_MANY_CONTROLS, _FEW_CONTROLS = 0.1, 5
_PICTURE_SHARE, _MANY_SHAPES, _MANY_TEXTS, _MAX_OBJECTS = 0.15, 40, 5, 2000


class PdfiumEngine:
    """Reads the text layer of a PDF. Raises Encrypted only if the empty password does not open it."""

    name = "pypdfium2"
    spawns = False

    def accepts(self, identity: Identity) -> bool:
        """Only PDF."""
        return identity.extension == "pdf"

    def extract(self, request: Request) -> Extraction:
        """Read every page; a page that fails is left empty with a warning."""
        document = _open(request)
        try:
            count = len(document)
            if count > request.max_pages:
                raise TooManyPages(f"The document has {count:,} pages; at most {request.max_pages:,} are extracted.")
            if count == 0:
                raise Damaged("The PDF has no pages.")
            return _read(document, count, request)
        finally:
            document.close()


def _open(request: Request) -> pdfium.PdfDocument:
    try:
        return pdfium.PdfDocument(str(request.path))
    except pdfium.PdfiumError as error:
        code = getattr(error, "err_code", None)
        if code == raw.FPDF_ERR_PASSWORD:
            raise Encrypted() from error
        if code == raw.FPDF_ERR_SECURITY:
            raise UnsupportedType("The PDF is protected by a security scheme that cannot be read.") from error
        raise Damaged(evidence={"pdfium_error": code}) from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Look:
    """What one page holds: its text, whether it shows anything, and whether that seems to be unread text."""

    text: str
    visible: bool = True
    to_read: bool = False
    unreadable: bool = False


def _read(document: pdfium.PdfDocument, count: int, request: Request) -> Extraction:
    pages: list[Page] = []
    looks: list[_Look | None] = []
    size = 0
    with pdfium_annotations.FormFields(document) as fields:
        for index in range(count):
            look = _look(document, index, fields)
            text = look.text if look else ""
            size += len(text)
            if size > request.output_bytes:
                raise TooLarge()
            looks.append(look)
            pages.append(Page(number=index + 1, text=text, label=_label(document, index)))
            if (index + 1) % _REPORT_EVERY == 0 or index + 1 == count:
                request.report("extract", index + 1, count)
    pages = _without_hyphens(pages)
    unreadable = [str(number) for number, look in enumerate(looks, start=1) if look is None]
    if len(unreadable) == count:
        raise Damaged("None of the PDF's pages can be read.")
    seen = [(number, look) for number, look in enumerate(looks, start=1) if look is not None]
    metadata: dict[str, JsonValue] = {
        "pages": count,
        VISIBLE_WITHOUT_TEXT: sum(look.visible and not look.text.strip() for _, look in seen) or None,
        UNREADABLE_TEXT: sum(look.unreadable for _, look in seen) or None,
        PAGES_TO_READ: [number for number, look in seen if look.to_read],
        **_metadata(document),
    }
    warnings = [f"pages_unreadable: {', '.join(unreadable[:20])}"] if unreadable else []
    return extraction("pypdfium2", request, pages, metadata=metadata, warnings=warnings)


def _without_hyphens(pages: list[Page]) -> list[Page]:
    words = hyphens.vocabulary(page.text for page in pages)
    return [dataclasses.replace(page, text=hyphens.joined(page.text, words)) for page in pages]


def _look(document: pdfium.PdfDocument, index: int, fields: pdfium_annotations.FormFields) -> _Look | None:
    """Read a page; None if it cannot be read."""
    try:
        page = document[index]
    except pdfium.PdfiumError:
        return None
    try:
        text_page = page.get_textpage()
        try:
            text = text_page.get_text_bounded() if text_page.count_chars() else ""
        finally:
            text_page.close()
        text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufffe\n", hyphens.MARK).replace("\ufffe", "")
        values = [value for value in fields.values(page) if value not in text]
        return dataclasses.replace(_judged(page, text), text=_tidy("\n".join(filter(None, (text, *values)))))
    except pdfium.PdfiumError:
        return None
    finally:
        page.close()


def _tidy(text: str) -> str:
    return _CONTROLS.sub(lambda match: match.group() if match.group() == hyphens.MARK else " ", text)


def _judged(page: pdfium.PdfPage, text: str) -> _Look:
    """Judge whether a page with little text, or with garbage, shows text that is not in its text layer."""
    letters = sum(map(str.isalnum, text[: _ENOUGH_LETTERS * 20]))
    controls = len(_CONTROLS.findall(text)) - text.count(hyphens.MARK)
    garbled = len(_UNKNOWN.findall(text)) > _GARBAGE * max(len(text), 1) or (
        controls > max(_FEW_CONTROLS, _MANY_CONTROLS * len(text))
    )
    if letters >= _ENOUGH_LETTERS and not garbled:
        return _Look(text=text)
    count = raw.FPDFPage_CountObjects(page)
    width, height = page.get_size()
    texts = shapes = 0
    covered = 0.0
    for number in range(min(count, _MAX_OBJECTS)):
        item = raw.FPDFPage_GetObject(page, number)
        kind = raw.FPDFPageObj_GetType(item)
        texts += kind == raw.FPDF_PAGEOBJ_TEXT
        shapes += kind in (raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_SHADING)
        if kind in (raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_FORM):
            covered += _area(item) / max(width * height, 1.0)
    pictured = covered >= _PICTURE_SHARE or shapes >= _MANY_SHAPES
    unreadable = garbled or (texts >= _MANY_TEXTS and letters * 2 < texts) or (texts > 0 and not letters)
    return _Look(text=text, visible=count > 0, to_read=pictured or unreadable or garbled, unreadable=unreadable)


def _area(item: object) -> float:
    """Return the area of an object's box, in square points."""
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    if not raw.FPDFPageObj_GetBounds(item, left, bottom, right, top):
        return 0.0
    return abs(right.value - left.value) * abs(top.value - bottom.value)


def _label(document: pdfium.PdfDocument, index: int) -> str:
    """Return the page's own number ("iv"); a label that is no valid text is none."""
    try:
        return str(document.get_page_label(index)).replace("\0", "")
    except UnicodeDecodeError:
        return ""


def _metadata(document: pdfium.PdfDocument) -> dict[str, JsonValue]:
    """Return what the document says of itself; entries that are no valid text are left out, the rest kept."""
    found: dict[str, JsonValue] = {}
    for key, name in _METADATA.items():
        try:
            found[name] = str(document.get_metadata_value(key)).replace("\0", "")
        except UnicodeDecodeError:
            continue
    return found
