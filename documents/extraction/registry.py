"""Which engines read which format, best first. This table is all there is to registering an engine."""

from __future__ import annotations

from documents.extraction.base import Engine
from documents.extraction.engines.epub import EpubEngine
from documents.extraction.engines.html import HtmlEngine
from documents.extraction.engines.mail import MailEngine
from documents.extraction.engines.pdfium import PdfiumEngine
from documents.extraction.engines.text import TextEngine
from documents.extraction.engines.textract_engine import TextractEngine, TextractOcrEngine
from documents.extraction.engines.xml import XmlEngine

_text, _html, _xml, _mail, _epub = TextEngine(), HtmlEngine(), XmlEngine(), MailEngine(), EpubEngine()
_pdfium, _textract, _ocr = PdfiumEngine(), TextractEngine(), TextractOcrEngine()

ENGINES: dict[str, tuple[Engine, ...]] = {
    "pdf": (_pdfium, _textract, _ocr),
    "docx": (_textract,),
    "xlsx": (_textract,),
    "pptx": (_textract,),
    "odt": (_textract,),
    "ods": (_textract,),
    "odp": (_textract,),
    "doc": (_textract,),
    "xls": (_textract,),
    "msg": (_textract,),
    "rtf": (_textract,),
    "epub": (_epub,),
    "html": (_html,),
    "eml": (_mail,),
    "xml": (_xml,),
    "json": (_text,),
    "csv": (_text,),
    "tsv": (_text,),
    "md": (_text,),
    "txt": (_text,),
    "png": (_textract,),
    "jpg": (_textract,),
    "tiff": (_textract,),
    "gif": (_textract,),
}
"""Format (`Identity.extension`) to engines in the order they are tried."""
