"""OCR of the PDF pages that show something and hold no text, or of all: drawn by pypdfium2, one page at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pypdfium2 as pdfium
from PIL import Image

from documents.extraction.base import (
    LOOKED,
    PAGE_BREAK,
    PAGES_TO_READ,
    VISIBLE_WITHOUT_TEXT,
    Extraction,
    JsonValue,
    Page,
    Request,
)
from documents.extraction.engines import ocr
from documents.extraction.errors import Damaged

_POINTS_PER_INCH = 72


class PdfOcr:
    """Fills in the pages that the text engines left without text; the others stay as they are, unless forced."""

    name = "ocr"
    spawns = True

    def wanted(self, found: Extraction, request: Request) -> bool:
        """Tell whether any page was marked as worth a look."""
        return request.ocr.mode == "force" or bool(found.metadata.get(PAGES_TO_READ))

    def finish(self, request: Request, found: Extraction) -> Extraction:
        """Read the marked pages. Raises OcrUnavailable, Damaged."""
        ocr.readers()
        forced = request.ocr.mode == "force"
        marked = [int(str(number)) for number in _numbers(found.metadata.get(PAGES_TO_READ))]
        numbers = [page.number for page in found.pages] if forced else marked
        pages = {page.number: page for page in found.pages}
        used: set[str] = set()
        read: list[JsonValue] = []
        without = 0
        try:
            document = pdfium.PdfDocument(str(request.path))
        except pdfium.PdfiumError as error:
            raise Damaged(evidence={"engine": self.name}) from error
        try:
            for done, number in enumerate(numbers, start=1):
                text, reader = self._page(document, number, request)
                used.add(reader)
                old = pages.get(number, Page(number=number, text=""))
                together = (text or old.text) if forced else _merged(old.text, text)
                pages[number] = dataclasses.replace(old, text=together)
                if text:
                    read.append(number)
                without += not pages[number].text.strip() and bool(reader)
                request.report("ocr", done, len(numbers))
        finally:
            document.close()
        ordered = tuple(pages[number] for number in sorted(pages))
        metadata = {
            key: value for key, value in found.metadata.items() if key not in (PAGES_TO_READ, VISIBLE_WITHOUT_TEXT)
        }
        metadata[LOOKED] = {"engine": ", ".join(sorted(filter(None, used))), "pages": read, "dpi": request.ocr.dpi}
        if without:
            metadata[VISIBLE_WITHOUT_TEXT] = without
        text = PAGE_BREAK.join(page.text for page in ordered)
        return dataclasses.replace(found, pages=ordered, text=text, metadata=metadata, markdown="")

    def _page(self, document: pdfium.PdfDocument, number: int, request: Request) -> tuple[str, str]:
        """Draw one page and read it; a page that cannot be drawn has no text."""
        try:
            picture = drawn(document, number - 1, request)
        except (pdfium.PdfiumError, ValueError):
            return "", ""
        dpi = request.ocr.dpi
        return ocr.read_picture(picture, dpi=dpi, request=request)


def _numbers(value: JsonValue) -> Iterator[JsonValue]:
    if isinstance(value, list | tuple):
        yield from value


def drawn(document: pdfium.PdfDocument, index: int, request: Request) -> Image.Image:
    """Draw a page in grey at the wanted resolution, less where the page is so large that it would not fit."""
    page = document[index]
    try:
        width, height = page.get_size()
        scale = request.ocr.dpi / _POINTS_PER_INCH
        pixels = width * height * scale * scale
        if pixels > request.ocr.max_pixels:
            scale *= (request.ocr.max_pixels / pixels) ** 0.5
        bitmap = page.render(scale=scale, grayscale=True, may_draw_forms=False)
        try:
            picture: Image.Image = bitmap.to_pil().copy()
            return picture
        finally:
            bitmap.close()
    finally:
        page.close()


def _merged(native: str, recognised: str) -> str:
    """Put both together unless one holds the other: a stamp on a scan is in both."""
    native = native.strip()
    if not native or "".join(native.split()).lower() in "".join(recognised.split()).lower():
        return recognised
    return f"{recognised}\n{native}" if recognised else native
