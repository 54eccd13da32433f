"""OpenDocument presentations straight from their XML: a page for each slide, with its name, title, tables and notes."""

from __future__ import annotations

import dataclasses
import re
import zipfile
import zlib
from collections.abc import Iterator

from lxml import etree

from documents.extraction import markdown
from documents.extraction.base import Extraction, Identity, Page, Request, extraction
from documents.extraction.engines.odf import PARAGRAPHS, spoken
from documents.extraction.errors import Damaged, TooLarge, TooManyPages

_CONTENT = "content.xml"


@dataclasses.dataclass
class _Slide:
    """One slide: what is its title, the other blocks (lines, or the rows of a table), and the notes below it."""

    name: str
    title: str = ""
    blocks: list[str | list[list[str]]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def text(self) -> str:
        shown = [
            "\n".join("\t".join(row) for row in block) if isinstance(block, list) else block for block in self.blocks
        ]
        return "\n".join(filter(None, (self.title, *shown, *self.notes)))

    def markdown(self, number: int) -> str:
        parts = [f"## {markdown.escape(' '.join(self.title.split()) or self.name or f'Slide {number}')}"]
        parts += [
            markdown.table(block) if isinstance(block, list) else f"- {markdown.escape(block)}" for block in self.blocks
        ]
        parts += [f"> {markdown.escape(note)}" for note in self.notes]
        return re.sub(r"(?m)^(- .*)\n\n(?=- )", r"\1\n", "\n\n".join(parts))


class OdpEngine:
    """Reads the slides in their order."""

    name = "odp"
    spawns = False

    def accepts(self, identity: Identity) -> bool:
        """Only OpenDocument presentations."""
        return identity.extension == "odp"

    def extract(self, request: Request) -> Extraction:
        """Read slide by slide. Raises Damaged, TooLarge, TooManyPages."""
        slides: list[_Slide] = []
        size = 0
        try:
            with zipfile.ZipFile(request.path) as archive:
                if archive.getinfo(_CONTENT).file_size > 4 * request.output_bytes:
                    raise TooLarge()
                with archive.open(_CONTENT) as content:
                    for slide in _slides(content):
                        slides.append(slide)
                        size += len(slide.text())
                        if len(slides) > request.max_pages:
                            raise TooManyPages()
                        if size > request.output_bytes:
                            raise TooLarge()
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, etree.XMLSyntaxError) as error:
            raise Damaged(evidence={"exception": type(error).__name__}) from error
        if not slides:
            raise Damaged("The presentation holds no slides.")
        pages = [
            Page(number=number, text=slide.text(), label=slide.name) for number, slide in enumerate(slides, start=1)
        ]
        whole = "\n\n".join(slide.markdown(number) for number, slide in enumerate(slides, start=1))
        return extraction(self.name, request, pages, metadata={"slides": len(slides)}, markdown=whole)


def _slides(content: object) -> Iterator[_Slide]:
    events = etree.iterparse(
        content, events=("end",), tag="{*}page", resolve_entities=False, no_network=True, load_dtd=False,
        huge_tree=True, recover=True,
    )  # fmt: skip
    for _, page in events:
        if "drawing" in page.tag:
            yield _slide(page)
        page.clear()


def _slide(page: etree._Element) -> _Slide:
    slide = _Slide(name=_attribute(page, "name"))
    done: set[etree._Element] = set()
    for element in page.iter(etree.Element):
        kind = etree.QName(element).localname
        if kind in PARAGRAPHS and element not in done:
            _add(slide, element, spoken(element))
        elif kind == "table" and element not in done:
            rows = [[spoken(cell) for cell in row.iterfind("{*}table-cell")] for row in element.iter("{*}table-row")]
            slide.blocks.append(rows)
            done.update(element.iter(etree.Element))
    return slide


def _add(slide: _Slide, paragraph: etree._Element, text: str) -> None:
    """Put a paragraph where its frame belongs."""
    if not text:
        return
    frame = next(paragraph.iterancestors("{*}frame"), None)
    if next(paragraph.iterancestors("{*}notes"), None) is not None:
        slide.notes.append(text)
    elif frame is not None and _attribute(frame, "class") == "title":
        slide.title = f"{slide.title}\n{text}".strip()
    else:
        slide.blocks.append(text)


def _attribute(element: etree._Element, name: str) -> str:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")
