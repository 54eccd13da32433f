"""HTML to text by lxml; also the reader of HTML bodies in mails and books.

textract drops text that stands directly under <body>; here every text node counts, block elements begin lines.
"""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Mapping
from html.parser import HTMLParser

from lxml import etree

from documents.extraction.base import Extraction, Identity, JsonValue, Page, Request, extraction
from documents.extraction.charset import decode, known
from documents.extraction.engines.html_markdown import MarkdownWriter
from documents.extraction.errors import TooLarge

_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.I)
_XML_ENCODING = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_.:-]{2,40})""", re.I)
_SKIP = frozenset({"script", "style", "template", "noscript", "svg", "math", "object", "iframe", "head"})
_BLOCK = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "br",
        "caption",
        "center",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "html",
        "legend",
        "li",
        "main",
        "menu",
        "nav",
        "ol",
        "optgroup",
        "option",
        "p",
        "pre",
        "section",
        "select",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "title",
        "tr",
        "ul",
    ]
)
_CELL = frozenset({"td", "th"})
_LISTS = frozenset({"ul", "ol", "menu"})
_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_SPACES = re.compile(r"[ \t\r\n\f\v\u00a0]+")


class HtmlEngine:
    """Reads the visible text and the title of a page. Fetches nothing."""

    name = "html"
    spawns = False

    def accepts(self, identity: Identity) -> bool:
        """Only HTML."""
        return identity.extension == "html"

    def extract(self, request: Request) -> Extraction:
        """Decode by mark, declaration or guess; then take the text."""
        if request.path.stat().st_size > request.output_bytes:
            raise TooLarge()
        decoded = decode(request.path.read_bytes(), declared=declared_charset(request.path.read_bytes()[:4096]))
        found = read_html(decoded.text)
        metadata: dict[str, JsonValue] = {"title": found.title, "encoding": decoded.encoding}
        untitled = found.title and not found.text.startswith(found.title)
        whole = f"{found.title}\n\n{found.text}" if untitled else found.text
        return extraction("html", request, [Page(number=1, text=whole)], metadata=metadata, markdown=found.markdown)


def declared_charset(head: bytes) -> str:
    """Return the codec that a page declares in its first bytes, or ""."""
    found = _XML_ENCODING.search(head) or _META_CHARSET.search(head)
    name = known(found.group(1).decode("ascii")) if found else ""
    # A page that can be searched for ASCII bytes is not UTF-16, whatever it says (WHATWG HTML 13.2.3.2).
    return "" if name.startswith(("utf-16", "utf-32")) else name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Html:
    """What a page says: its title, its text, and its Markdown ("" where it has no structure, or too much)."""

    title: str
    text: str
    markdown: str = ""


def read_html(markup: str) -> Html:
    """Read a page or fragment of any nesting depth."""
    root = _parse(markup)
    if root is None:
        return _by_stdlib(markup)
    title = root.findtext(".//title") or ""
    collector = _Collector()
    for event, node in etree.iterwalk(root, events=("start", "end", "comment", "pi")):
        if event == "start":
            collector.start(node.tag, node.attrib, node)
            collector.text(node.text)
            if node.tag == "img":
                collector.image(node.get("alt"))
        else:
            if event == "end":
                collector.end(node.tag)
            if node is not root:
                collector.text(node.tail)
    return Html(title=_SPACES.sub(" ", title).strip(), text=collector.result(), markdown=collector.markdown.result())


def _parse(markup: str) -> etree._Element | None:
    """Parse leniently, without network. None when libxml2 gave up, as it does on excessive depth."""
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, huge_tree=True, remove_comments=False)
    try:
        root = etree.fromstring(markup.replace("\0", "").encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError:
        return None
    gave_up = any(entry.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT for entry in parser.error_log)
    return None if gave_up else root


@dataclasses.dataclass
class _List:
    """A list that is open, and the number of its next item; no numbers where the page shows none."""

    numbered: bool
    kind: str = "1"
    next: int = 1

    @classmethod
    def of(cls, tag: str, attributes: Mapping[str, str | None]) -> _List:
        return cls(
            numbered=tag == "ol" and "none" not in (attributes.get("style") or ""),
            kind=attributes.get("type") or "1",
            next=_number(attributes.get("start"), 1),
        )

    def count(self, attributes: Mapping[str, str | None]) -> int | None:
        """Return the number of the next item, None in a list without numbers."""
        if not self.numbered:
            return None
        number = _number(attributes.get("value"), self.next)
        self.next = number + 1
        return number

    def shown(self, number: int | None) -> str:
        """Return what the page shows before an item, such as "3. " or "c. "."""
        if number is None:
            return ""
        letters = self.kind in ("a", "A") and 0 < number <= len(string.ascii_lowercase)
        label = string.ascii_lowercase[number - 1] if letters else _roman(number) if self.kind in "iI" else str(number)
        return f"{label.upper() if self.kind in ('A', 'I') else label}. "


def _number(value: str | None, default: int) -> int:
    return int(value) if value and re.fullmatch(r"\s*-?\d{1,9}\s*", value) else default


def _roman(number: int) -> str:
    """Return a number as a browser shows it in lists of type "i": Roman up to 3,999."""
    if not 0 < number < 4000:
        return str(number)
    shown = ""
    for value, letters in _ROMAN:
        shown, number = shown + letters * (number // value), number % value
    return shown


class _Collector:
    """Turns a walk through elements into lines: blocks begin a line, tabs separate cells, items have their numbers."""

    def __init__(self) -> None:
        self.markdown = MarkdownWriter()
        self._parts: list[str] = []
        self._skipping = 0
        self._verbatim = 0
        self._lists: list[_List] = []

    def start(self, tag: str, attributes: Mapping[str, str | None], node: etree._Element | None = None) -> None:
        if tag in _SKIP:
            self._skipping += 1
        elif tag in _BLOCK:
            self._parts.append("\n")
        self._verbatim += tag == "pre"
        number = None
        if tag in _LISTS:
            self._lists.append(_List.of(tag, attributes))
        elif tag == "li" and self._lists:
            number = self._lists[-1].count(attributes)
            self.text(self._lists[-1].shown(number), plain_only=True)
        if not self._skipping and (tag in _BLOCK or tag in _CELL):
            self.markdown.start(tag, node, number)

    def end(self, tag: str) -> None:
        if tag in _SKIP:
            self._skipping = max(0, self._skipping - 1)
        elif tag in _CELL:
            self._parts.append("\t")
        elif tag in _BLOCK:
            self._parts.append("\n")
        self._verbatim = max(0, self._verbatim - (tag == "pre"))
        if tag in _LISTS and self._lists:
            self._lists.pop()
        if not self._skipping and (tag in _BLOCK or tag in _CELL):
            self.markdown.end(tag)

    def text(self, text: str | None, *, plain_only: bool = False) -> None:
        if text and not self._skipping:
            shown = text if self._verbatim else _SPACES.sub(" ", text)
            self._parts.append(shown)
            if not plain_only:
                self.markdown.text(shown)

    def image(self, description: str | None) -> None:
        """What a picture's author wrote for those who do not see it is text of the page."""
        if description:
            self.text(f" {description} ")

    def result(self) -> str:
        lines = (line.strip(" \t") for line in "".join(self._parts).split("\n"))
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _StdlibReader(HTMLParser):
    """The same walk without a tree: slower, but any depth costs nothing."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.collector = _Collector()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.collector.start(tag, dict(attrs))
        if tag == "img":
            self.collector.image(dict(attrs).get("alt"))

    def handle_endtag(self, tag: str) -> None:
        self.collector.end(tag)

    def handle_data(self, data: str) -> None:
        self.collector.text(data)


def _by_stdlib(markup: str) -> Html:
    reader = _StdlibReader()
    reader.feed(markup)
    reader.close()
    return Html(title="", text=reader.collector.result())
