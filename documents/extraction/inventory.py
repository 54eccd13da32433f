"""What this machine can extract: the programs and packages that engines use, and the formats that need them.

Imports no engine, so that the worker and its commands can ask without loading a parser.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import shutil
from collections.abc import Callable

Which = Callable[[str], str | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A program or Python package, the engine it serves, and what it is for.

    `install` is what brings it. `formats` lose something without it: all of it where `required`, else quality.
    """

    name: str
    engine: str
    install: str
    formats: tuple[str, ...]
    purpose: str
    is_program: bool = False
    required: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """A part, and the version or path that was found; "" = it is missing."""

    part: Part
    where: str


_PICTURES = ("png", "jpg", "tiff", "gif", "pdf")

PARTS: tuple[Part, ...] = (
    Part(
        name="pypdfium2", engine="pypdfium2", install="pip install pypdfium2", formats=("pdf",), required=True,
        purpose="text of PDF pages",
    ),
    Part(
        name="xberg", engine="xberg", install="pip install xberg", formats=("docx", "pptx", "rtf", "msg", "odt"),
        purpose="office formats and Outlook mail, with Markdown",
    ),
    Part(
        name="python-calamine", engine="calamine", install="pip install python-calamine",
        formats=("xlsx", "xlsb", "xls", "ods"), purpose="spreadsheets", required=True,
    ),
    Part(
        name="textract", engine="textract", install="pip install textract",
        formats=("docx", "pptx", "xlsx", "xls", "odt", "odp", "rtf", "msg"), purpose="second opinion on office formats",
    ),
    Part(
        name="lxml", engine="html, xml, epub", install="pip install lxml", formats=("html", "xml", "epub"),
        purpose="markup", required=True,
    ),
    Part(
        name="olefile", engine="doc, ppt", install="pip install olefile", formats=("doc", "ppt"),
        purpose="Word and PowerPoint before 2007", required=True,
    ),
    Part(
        name="rapidocr", engine="ocr", install="pip install rapidocr onnxruntime opencv-python-headless",
        formats=_PICTURES, purpose="text in pictures, without system packages",
    ),
    Part(
        name="tesseract", engine="ocr", install="apt-get install tesseract-ocr", formats=_PICTURES,
        purpose="text in pictures, more exact and in more languages", is_program=True,
    ),
    Part(
        name="catdoc", engine="catdoc", install="apt-get install catdoc", formats=("doc",),
        purpose="Word before 2007", is_program=True,
    ),
    Part(
        name="soffice", engine="libreoffice",
        install="apt-get install libreoffice-writer libreoffice-calc libreoffice-impress",
        formats=("wpd", "ppt", "xls", "odp", "doc"),
        purpose="WordPerfect, and old office files that nothing else reads",
        is_program=True,
    ),
    Part(
        name="pdftotext", engine="textract", install="apt-get install poppler-utils", formats=("pdf",),
        purpose="third opinion on PDF", is_program=True,
    ),
    Part(
        name="unrtf", engine="textract", install="apt-get install unrtf", formats=("rtf",),
        purpose="second opinion on RTF", is_program=True,
    ),
)  # fmt: skip

ALTERNATIVES: tuple[frozenset[str], ...] = (frozenset({"rapidocr", "tesseract"}),)
"""Parts of which one is enough: pictures are read while either is there."""


def inventory(which: Which = shutil.which) -> tuple[Found, ...]:
    """Look for every part. Starts no program and imports no engine."""
    return tuple(Found(part=part, where=_where(part, which)) for part in PARTS)


def _where(part: Part, which: Which) -> str:
    if part.is_program:
        return which(part.name) or ""
    try:
        return importlib.metadata.version(part.name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def unreadable_formats(found: tuple[Found, ...]) -> tuple[str, ...]:
    """Return the formats of which nothing can be read with what is installed."""
    missing = {one.part.name for one in found if not one.where}
    lost = {name for one in found if one.part.required and not one.where for name in one.part.formats}
    if ALTERNATIVES[0] <= missing:
        lost |= set(_PICTURES) - {"pdf"}
    return tuple(sorted(lost))


def poorer_formats(found: tuple[Found, ...]) -> tuple[str, ...]:
    """Return the formats that are read, but would be read better with what is missing."""
    formats = {name for one in found if not one.where for name in one.part.formats}
    return tuple(sorted(formats - set(unreadable_formats(found))))
