"""Which engines read which format, best first. This table is all there is to registering an engine.

The order was measured (docs/extraction.md). The next engine is asked when one fails, and when its text is suspiciously
short; engines that need a system program stand behind those that need none, unless they read more.
"""

from __future__ import annotations

from documents.extraction.base import Engine, Finisher
from documents.extraction.engines.calamine import CalamineEngine
from documents.extraction.engines.catdoc import CatdocEngine
from documents.extraction.engines.doc import DocEngine
from documents.extraction.engines.epub import EpubEngine
from documents.extraction.engines.html import HtmlEngine
from documents.extraction.engines.image import ImageEngine
from documents.extraction.engines.libreoffice import LibreOfficeEngine
from documents.extraction.engines.mail import MailEngine
from documents.extraction.engines.msg import MsgEngine
from documents.extraction.engines.odp import OdpEngine
from documents.extraction.engines.office_xml import OfficeXmlEngine
from documents.extraction.engines.pdf_ocr import PdfOcr
from documents.extraction.engines.pdfium import PdfiumEngine
from documents.extraction.engines.ppt import PptEngine
from documents.extraction.engines.runs import RunsEngine
from documents.extraction.engines.text import TextEngine
from documents.extraction.engines.textract_engine import TextractEngine
from documents.extraction.engines.xberg_engine import XbergEngine
from documents.extraction.engines.xml import XmlEngine

_text, _html, _xml, _mail, _epub = TextEngine(), HtmlEngine(), XmlEngine(), MailEngine(), EpubEngine()
_pdfium, _xberg, _textract, _calamine = PdfiumEngine(), XbergEngine(), TextractEngine(), CalamineEngine()
_doc, _ppt, _catdoc, _office_xml = DocEngine(), PptEngine(), CatdocEngine(), OfficeXmlEngine()
_runs, _odp = RunsEngine(), OdpEngine()
_image, _libreoffice, _msg = ImageEngine(), LibreOfficeEngine(_pdfium), MsgEngine(_xberg)

ENGINES: dict[str, tuple[Engine, ...]] = {
    "pdf": (_pdfium, _xberg, _textract),
    "docx": (_xberg, _office_xml, _textract),
    "xlsx": (_calamine, _xberg, _textract),
    "xlsb": (_calamine, _xberg),
    "pptx": (_xberg, _office_xml, _textract),
    "odt": (_xberg, _textract, _office_xml),
    "ods": (_calamine, _textract, _xberg),
    "odp": (_odp, _textract, _office_xml, _libreoffice),
    "doc": (_catdoc, _doc, _xberg, _libreoffice, _runs),
    "wpd": (_libreoffice, _runs),
    "xls": (_calamine, _textract, _xberg, _libreoffice),
    "ppt": (_ppt, _xberg, _libreoffice, _runs),
    "msg": (_msg, _textract),
    "rtf": (_xberg, _textract, _libreoffice),
    "epub": (_epub, _xberg),
    "html": (_html, _xberg),
    "eml": (_mail,),
    "xml": (_xml,),
    "json": (_text,),
    "csv": (_text,),
    "tsv": (_text,),
    "md": (_text,),
    "txt": (_text,),
    "png": (_image, _textract),
    "jpg": (_image, _textract),
    "tiff": (_image, _textract),
    "gif": (_image, _textract),
}
"""Format (`Identity.extension`) to engines in the order they are tried."""

FINISHERS: dict[str, Finisher] = {"pdf": PdfOcr()}
"""Format to what looks at the best result once more."""
