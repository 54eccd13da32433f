"""textract 2.x: the general engine for office formats, and for scans where its system tools are installed.

textract runs system tools without a time limit and may leave their children behind; the sandbox's wall clock and
process group deal with both. It needs chardet < 6: with 6 and above its rtf and msg readers fail.
"""

from __future__ import annotations

import warnings
from typing import Any

from documents.extraction.base import Extraction, Identity, Page, Request, extraction
from documents.extraction.errors import Damaged, MissingDependency, OcrUnavailable

PACKAGES: dict[str, str] = {
    "unrtf": "unrtf",
    "pdftotext": "poppler-utils",
    "pdftoppm": "poppler-utils",
    "tesseract": "tesseract-ocr",
    "soffice": "libreoffice-writer",
}
"""System tool to the Debian package that brings it."""

TOOLS: dict[str, tuple[str, ...]] = {
    "rtf": ("unrtf",),
    "doc": ("soffice",),
    "png": ("tesseract",),
    "jpg": ("tesseract",),
    "tiff": ("tesseract",),
    "gif": ("tesseract",),
}
"""The system tools without which textract cannot read a format at all."""

_EXTENSIONS = frozenset({*TOOLS, "pdf", "docx", "pptx", "xlsx", "xls", "msg", "odt", "ods", "odp"})
_READ_AS = {"odp": "odt"}
"""Slides hold the same text:p elements that textract's odt reader collects."""


class TextractEngine:
    """Whatever `textract.process` reads, as one page."""

    name = "textract"
    spawns = True
    options: dict[str, Any] = {}

    def accepts(self, identity: Identity) -> bool:
        """Tell whether textract has a reader for the format."""
        return identity.extension in _EXTENSIONS

    def extract(self, request: Request) -> Extraction:
        """Run textract. Raises MissingDependency naming the Debian package of an absent tool."""
        text = _run(request, self.options)
        return extraction(self.name, request, [Page(number=1, text=text.strip().replace("\0", ""))])


class TextractOcrEngine(TextractEngine):
    """OCR of a whole PDF: pdftoppm and tesseract."""

    name = "textract-ocr"
    options = {"method": "tesseract"}

    def accepts(self, identity: Identity) -> bool:
        """Only PDF; pictures reach tesseract through TextractEngine already."""
        return identity.extension == "pdf"


def _run(request: Request, options: dict[str, Any]) -> str:
    # Imported late: 80 ms that a child reading only text files never pays.
    import textract
    from textract import exceptions

    extension = request.identity.extension
    # Its readers' libraries trust the file's name: openpyxl refuses a workbook that is not called .xlsx.
    path = request.work_dir / f"document.{extension}"
    path.symlink_to(request.path.absolute())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: bytes = textract.process(
                str(path),
                extension=_READ_AS.get(extension, extension),
                output_encoding="utf-8",
                **options,
            )
    except exceptions.LibreOfficeNotFound as error:
        raise _missing("soffice") from error
    except exceptions.MissingModuleError as error:
        raise MissingDependency(
            f"Reading this format needs the Python module {error.missing_module}, which is not installed."
        ) from error
    except exceptions.ShellError as error:
        if error.is_not_installed():
            raise _missing(error.executable) from error
        raise Damaged(evidence={"tool": error.executable, "exit_code": error.exit_code}) from error
    finally:
        path.unlink(missing_ok=True)
    return found.decode("utf-8", "replace")


def _missing(tool: str) -> MissingDependency:
    package = PACKAGES.get(tool, tool)
    return OcrUnavailable(package=package) if tool in ("tesseract", "pdftoppm") else MissingDependency(package=package)
