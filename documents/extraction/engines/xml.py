"""XML to text: the text nodes, one a line. No DTD is loaded, no entity resolved, nothing fetched."""

from __future__ import annotations

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
        root, warnings = _parse(request)
        lines = []
        for text in root.itertext(etree.Element):
            # itertext(tag) leaves comments and instructions out; unresolved entities have no text of their own.
            line = " ".join(text.split())
            if line and not (len(line) > _MAX_TOKEN and " " not in line):
                lines.append(line)
        title = {"root": etree.QName(root).localname}
        return extraction("xml", request, [Page(number=1, text="\n".join(lines))], metadata=title, warnings=warnings)


def _parse(request: Request) -> tuple[etree._Element, tuple[str, ...]]:
    """Parse strictly, then leniently. `huge_tree` lifts depth limits; entities stay unresolved, so no bomb goes off."""
    data = request.path.read_bytes()
    problem = ""
    for recover in (False, True):
        parser = etree.XMLParser(
            resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=True,
            recover=recover, remove_comments=True, remove_pis=True,
        )  # fmt: skip
        try:
            root = etree.fromstring(data, parser)
        except etree.XMLSyntaxError as error:
            problem = type(error).__name__
            continue
        if root is not None:
            return root, ("not_well_formed",) if recover else ()
    raise Damaged("The XML document cannot be read.", evidence={"exception": problem})
