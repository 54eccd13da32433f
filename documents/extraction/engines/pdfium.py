"""PDF by pypdfium2: page by page, with progress.

Measured: 1.3 ms median, 619 pages in 0.7 s, where pdfminer took 22 s.
"""

from __future__ import annotations

import pypdfium2 as pdfium
from pypdfium2 import raw

from documents.extraction.base import VISIBLE_WITHOUT_TEXT, Extraction, Identity, JsonValue, Page, Request, extraction
from documents.extraction.errors import Damaged, Encrypted, TooLarge, TooManyPages, UnsupportedType

_METADATA = {
    "Title": "title", "Author": "author", "Subject": "subject", "Keywords": "keywords", "Creator": "creator",
    "Producer": "producer", "CreationDate": "created", "ModDate": "modified",
}  # fmt: skip
_REPORT_EVERY = 10


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


def _read(document: pdfium.PdfDocument, count: int, request: Request) -> Extraction:
    pages: list[Page] = []
    unreadable: list[int] = []
    pictures = size = 0
    for index in range(count):
        try:
            text, visible = _page(document, index)
        except pdfium.PdfiumError:
            unreadable.append(index + 1)
            text, visible = "", False
        size += len(text)
        if size > request.output_bytes:
            raise TooLarge()
        pictures += visible and not text.strip()
        pages.append(Page(number=index + 1, text=text, label=_label(document, index)))
        if (index + 1) % _REPORT_EVERY == 0 or index + 1 == count:
            request.report("extract", index + 1, count)
    if len(unreadable) == count:
        raise Damaged("None of the PDF's pages can be read.")
    warnings = [f"pages_unreadable: {', '.join(map(str, unreadable[:20]))}"] if unreadable else []
    metadata: dict[str, JsonValue] = {"pages": count, VISIBLE_WITHOUT_TEXT: pictures or None}
    return extraction("pypdfium2", request, pages, metadata={**metadata, **_metadata(document)}, warnings=warnings)


def _page(document: pdfium.PdfDocument, index: int) -> tuple[str, bool]:
    """Return a page's text, and whether the page draws anything at all."""
    page = document[index]
    try:
        text_page = page.get_textpage()
        try:
            text = text_page.get_text_bounded() if text_page.count_chars() else ""
        finally:
            text_page.close()
        # pdfium marks a hyphen at a line's end with U+FFFE; the word goes on in the next line.
        text = text.replace("\ufffe\r\n", "").replace("\ufffe", "").replace("\r\n", "\n").replace("\0", "")
        return text, raw.FPDFPage_CountObjects(page) > 0
    finally:
        page.close()


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
