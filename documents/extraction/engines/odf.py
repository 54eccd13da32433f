"""How text stands in OpenDocument: spaces, tabs and line ends are elements (ODF 1.2 part 1, section 6.1)."""

from __future__ import annotations

from lxml import etree

PARAGRAPHS = frozenset({"p", "h"})


def spoken(element: etree._Element) -> str:
    """Return the text of a paragraph or cell in one line."""
    pieces: list[str] = []
    for event, node in etree.iterwalk(element, events=("start", "end")):
        kind = etree.QName(node).localname if isinstance(node.tag, str) else ""
        if event == "start":
            if kind in ("tab", "s", "line-break"):
                pieces.append(" ")
            if kind:
                pieces.append(node.text or "")
        elif node is not element:
            pieces.append(node.tail or "")
            if kind in PARAGRAPHS:
                pieces.append(" ")
    return " ".join("".join(pieces).split())
