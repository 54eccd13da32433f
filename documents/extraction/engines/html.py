"""HTML to text by lxml; also the reader of HTML bodies in mails and books.

textract drops text that stands directly under <body>; here every text node counts, block elements begin lines.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from lxml import etree

from documents.extraction.base import Extraction, Identity, JsonValue, Page, Request, extraction
from documents.extraction.charset import decode, known
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
        title, text = html_text(decoded.text)
        metadata: dict[str, JsonValue] = {"title": title, "encoding": decoded.encoding}
        whole = f"{title}\n\n{text}" if title and not text.startswith(title) else text
        return extraction("html", request, [Page(number=1, text=whole)], metadata=metadata)


def declared_charset(head: bytes) -> str:
    """Return the codec that a page declares in its first bytes, or ""."""
    found = _XML_ENCODING.search(head) or _META_CHARSET.search(head)
    name = known(found.group(1).decode("ascii")) if found else ""
    # A page that can be searched for ASCII bytes is not UTF-16, whatever it says (WHATWG HTML 13.2.3.2).
    return "" if name.startswith(("utf-16", "utf-32")) else name


def html_text(markup: str) -> tuple[str, str]:
    """Return (title, text) of a page or fragment of any nesting depth."""
    root = _parse(markup)
    if root is None:
        return _by_stdlib(markup)
    title = root.findtext(".//title") or ""
    collector = _Collector()
    for event, node in etree.iterwalk(root, events=("start", "end", "comment", "pi")):
        if event == "start":
            collector.start(node.tag)
            collector.text(node.text)
            if node.tag == "img":
                collector.image(node.get("alt"))
        else:
            if event == "end":
                collector.end(node.tag)
            if node is not root:
                collector.text(node.tail)
    return _SPACES.sub(" ", title).strip(), collector.result()


def _parse(markup: str) -> etree._Element | None:
    """Parse leniently, without network. None when libxml2 gave up, as it does on excessive depth."""
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, huge_tree=True, remove_comments=False)
    try:
        root = etree.fromstring(markup.replace("\0", "").encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError:
        return None
    gave_up = any(entry.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT for entry in parser.error_log)
    return None if gave_up else root


class _Collector:
    """Turns a walk through elements into lines: blocks begin a line, cells are separated by tabs."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._skipping = 0
        self._verbatim = 0

    def start(self, tag: str) -> None:
        if tag in _SKIP:
            self._skipping += 1
        elif tag in _BLOCK:
            self._parts.append("\n")
        self._verbatim += tag == "pre"

    def end(self, tag: str) -> None:
        if tag in _SKIP:
            self._skipping = max(0, self._skipping - 1)
        elif tag in _CELL:
            self._parts.append("\t")
        elif tag in _BLOCK:
            self._parts.append("\n")
        self._verbatim = max(0, self._verbatim - (tag == "pre"))

    def text(self, text: str | None) -> None:
        if text and not self._skipping:
            self._parts.append(text if self._verbatim else _SPACES.sub(" ", text))

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
        self.collector.start(tag)
        if tag == "img":
            self.collector.image(dict(attrs).get("alt"))

    def handle_endtag(self, tag: str) -> None:
        self.collector.end(tag)

    def handle_data(self, data: str) -> None:
        self.collector.text(data)


def _by_stdlib(markup: str) -> tuple[str, str]:
    reader = _StdlibReader()
    reader.feed(markup)
    reader.close()
    return "", reader.collector.result()
