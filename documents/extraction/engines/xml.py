"""XML to text: the text nodes, one a line. No DTD is loaded, no entity resolved, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable
from xml.parsers import expat

from lxml import etree

from documents.extraction.base import Extraction, Identity, Page, Request, extraction
from documents.extraction.errors import Damaged, TooLarge

_MAX_TOKEN = 100_000
"""Longer runs without a space are embedded binaries (Word 2003 XML, SVG), not text."""


class XmlEngine:
    """Reads well-formed XML, and what libxml2 can recover of other XML, with a warning."""

    name = "xml"
    spawns = False

    def accepts(self, identity: Identity) -> bool:
        """Only XML."""
        return identity.extension == "xml"

    def extract(self, request: Request) -> Extraction:
        """Collect the text nodes."""
        if request.path.stat().st_size > request.output_bytes:
            raise TooLarge()
        name, texts, warnings = _read(request.path.read_bytes())
        lines = (" ".join(text.split()) for text in texts)
        text = "\n".join(line for line in lines if line and (" " in line or len(line) <= _MAX_TOKEN))
        return extraction("xml", request, [Page(number=1, text=text)], metadata={"root": name}, warnings=warnings)


def _read(data: bytes) -> tuple[str, Iterable[str], tuple[str, ...]]:
    """Return root name, text nodes and warnings: parsed strictly, then leniently.

    Entities stay unresolved, so no bomb goes off and `huge_tree` may lift the limits of size and depth. libxml2 still
    stops at a depth of 2,048; such documents are read by expat, which keeps no tree.
    """
    problem = ""
    for recover in (False, True):
        parser = etree.XMLParser(
            resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=True,
            recover=recover, remove_comments=True, remove_pis=True,
        )  # fmt: skip
        try:
            root = etree.fromstring(data, parser)
        except etree.XMLSyntaxError as error:
            if error.code == etree.ErrorTypes.ERR_RESOURCE_LIMIT:
                return _read_deep(data)
            problem = type(error).__name__
            continue
        if root is not None:
            # itertext(tag) leaves out what is no element; unresolved entities have no text of their own.
            warnings = ("not_well_formed",) if recover else ()
            return etree.QName(root).localname, root.itertext(etree.Element), warnings
    raise Damaged("The XML document cannot be read.", evidence={"exception": problem})


def _read_deep(data: bytes) -> tuple[str, Iterable[str], tuple[str, ...]]:
    """Collect text by expat. A default handler turns the expansion of entities off (expat's XML_SetDefaultHandler)."""
    parser = expat.ParserCreate()
    names: list[str] = []
    texts: list[str] = []
    pending: list[str] = []

    def flush(*ignored: object) -> None:
        texts.append("".join(pending))
        pending.clear()

    def start(name: str, attributes: dict[str, str]) -> None:
        flush()
        if not names:
            names.append(name)

    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = flush
    parser.CharacterDataHandler = pending.append
    parser.DefaultHandler = lambda other: None
    try:
        parser.Parse(data, True)
    except expat.ExpatError:
        return (names or [""])[0], texts, ("not_well_formed",)
    return names[0], texts, ()
