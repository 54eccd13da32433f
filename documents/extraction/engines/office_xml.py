"""The text of docx, pptx, odt and odp straight from their XML: whatever part it stands in, whatever is around it.

No layout and no Markdown: it is the last word when the better engines left something out, such as form fields, text
boxes, comments or notes.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator

from lxml import etree

from documents.extraction.base import Extraction, Identity, Page, Request, extraction
from documents.extraction.engines.odf import PARAGRAPHS, spoken
from documents.extraction.errors import Damaged, TooLarge

_PARTS: dict[str, tuple[str, ...]] = {
    "docx": (
        r"word/document\d*\.xml", r"word/footnotes\.xml", r"word/endnotes\.xml", r"word/comments\.xml",
        r"word/header\d*\.xml", r"word/footer\d*\.xml", r"word/charts/chart\d*\.xml", r"word/diagrams/data\d*\.xml",
    ),
    "pptx": (
        r"ppt/slides/slide(\d+)\.xml", r"ppt/notesSlides/notesSlide(\d+)\.xml", r"ppt/comments/comment\d*\.xml",
        r"ppt/diagrams/data\d*\.xml", r"ppt/charts/chart\d*\.xml",
    ),
    "odt": (r"content\.xml", r"styles\.xml"),
    "odp": (r"content\.xml",),
}  # fmt: skip
_TEXT = frozenset({"t", "v"})
_LINES = frozenset({"p", "h", "tr", "br", "cr", "table-row"})
_GAPS = frozenset({"tab", "tc", "s", "table-cell"})
_NUMBER = re.compile(r"\d+")


class OfficeXmlEngine:
    """Collects text nodes, paragraph by paragraph."""

    name = "office-xml"
    spawns = False

    def accepts(self, identity: Identity) -> bool:
        """Tell whether the format is a ZIP of XML that this engine knows the parts of."""
        return identity.extension in _PARTS

    def extract(self, request: Request) -> Extraction:
        """Read the parts in order; for slides each part is a page."""
        kind = request.identity.extension
        texts: list[str] = []
        size = 0
        try:
            with zipfile.ZipFile(request.path) as archive:
                for name in _ordered(archive.namelist(), _PARTS[kind]):
                    info = archive.getinfo(name)
                    if info.file_size > 4 * request.output_bytes:
                        raise TooLarge()
                    with archive.open(info) as part:
                        text = _tidy("".join(_walk(part, foreign=kind in ("odt", "odp"))))
                    size += len(text)
                    if size > request.output_bytes:
                        raise TooLarge()
                    texts.append(text)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, etree.XMLSyntaxError) as error:
            raise Damaged(evidence={"exception": type(error).__name__}) from error
        texts = [text for text in texts if text]
        paged = texts if kind == "pptx" else ["\n\n".join(texts)]
        return extraction(self.name, request, [Page(number=n, text=text) for n, text in enumerate(paged, start=1)])


def _ordered(names: list[str], wanted: tuple[str, ...]) -> Iterator[str]:
    """Yield the parts that match, in the order of the patterns, numbered ones by number."""
    for pattern in wanted:
        matches = [name for name in names if re.fullmatch(pattern, posixpath.normpath(name))]
        yield from sorted(matches, key=lambda name: ([int(n) for n in _NUMBER.findall(name)], name))


def _walk(part: object, *, foreign: bool) -> Iterator[str]:
    """Yield text; `foreign` = every text node counts (ODF), else only those in text elements (OOXML)."""
    events = etree.iterparse(
        part, events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True,
        recover=True,
    )  # fmt: skip
    for event, element in events:
        if not isinstance(element.tag, str):
            continue
        name = element.tag.rpartition("}")[2]
        if event == "start":
            if name in _GAPS and not (foreign and name in ("s", "tab")):
                yield "\t" if name != "s" else " "
            continue
        if not foreign and name in _TEXT and element.text:
            yield element.text
        if foreign and name in _LINES:
            yield spoken(element) if name in PARAGRAPHS else ""
        if name in _LINES:
            yield "\n"
        if not foreign or name in ("p", "h", "table-row"):
            element.clear()


def _tidy(text: str) -> str:
    lines = (line.strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
