"""EPUB by the standard library and our HTML reader: the spine's documents, one page each."""

from __future__ import annotations

import dataclasses
import posixpath
import urllib.parse
import zipfile

from lxml import etree

from documents.extraction import markdown
from documents.extraction.base import Extraction, Identity, JsonValue, Page, Request, extraction
from documents.extraction.charset import decode
from documents.extraction.engines.html import declared_charset, read_html
from documents.extraction.errors import Damaged, TooLarge, TooManyPages

_DC = "{http://purl.org/dc/elements/1.1/}"
_METADATA = {
    "title": "title",
    "creator": "author",
    "language": "language",
    "publisher": "publisher",
    "date": "date",
}


class EpubEngine:
    """Reads a book in reading order (EPUB 3.3, "spine")."""

    name = "epub"
    spawns = False

    def accepts(self, identity: Identity) -> bool:
        """Only EPUB."""
        return identity.extension == "epub"

    def extract(self, request: Request) -> Extraction:
        """Read the package document, then each chapter. A missing chapter is a warning."""
        try:
            with zipfile.ZipFile(request.path) as archive:
                return _read(archive, request)
        except (zipfile.BadZipFile, etree.XMLSyntaxError, EOFError, KeyError) as error:
            raise Damaged(evidence={"exception": type(error).__name__}) from error


def _read(archive: zipfile.ZipFile, request: Request) -> Extraction:
    package_name = _package_name(archive)
    package = _xml(archive, package_name)
    items = {item.get("id"): item.get("href", "") for item in package.iterfind(".//{*}manifest/{*}item")}
    spine = [items.get(ref.get("idref"), "") for ref in package.iterfind(".//{*}spine/{*}itemref")]
    if len(spine) > request.max_pages:
        raise TooManyPages()
    pages: list[Page] = []
    parts: list[str] = []
    missing = size = 0
    names = {name.lower(): name for name in archive.namelist()}
    for number, href in enumerate(filter(None, spine), start=1):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(package_name), urllib.parse.unquote(href)))
        real = names.get(path.partition("#")[0].lower())
        if real is None:
            missing += 1
            continue
        data = _limited(archive, real, request.output_bytes)
        chapter = read_html(decode(data, declared=declared_charset(data[:4096])).text)
        title, text = chapter.title, chapter.text
        if title and not text:  # a cover: its picture has no words, its page has a name
            text = title
        size += len(text)
        if size > request.output_bytes:
            raise TooLarge()
        parts.append(chapter.markdown or markdown.escape(text))
        pages.append(Page(number=len(pages) + 1, text=text, label=title))
        request.report("extract", number, len(spine))
    if not pages:
        raise Damaged("The book lists no chapters that exist.")
    metadata = _metadata(package)
    title = str(metadata.get("title", ""))
    if title not in pages[0].text:
        pages[0] = dataclasses.replace(pages[0], text=f"{title}\n\n{pages[0].text}".strip())
    whole = "\n\n".join(filter(None, (title and f"# {markdown.escape(title)}", *parts)))
    warnings = [f"chapters_missing: {missing}"] if missing else []
    return extraction("epub", request, pages, metadata=metadata, warnings=warnings, markdown=whole)


def _package_name(archive: zipfile.ZipFile) -> str:
    container = _xml(archive, "META-INF/container.xml")
    rootfile = container.find(".//{*}rootfile")
    name = rootfile.get("full-path", "") if rootfile is not None else ""
    if not name:
        raise Damaged("The book does not name its package document.")
    return name


def _xml(archive: zipfile.ZipFile, name: str) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True)
    root = etree.fromstring(_limited(archive, name, 16 * 1024 * 1024), parser)
    if root is None:
        raise Damaged("The book's directory cannot be read.")
    return root


def _limited(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    with archive.open(name) as entry:
        data = entry.read(limit + 1)
    if len(data) > limit:
        raise TooLarge()
    return data


def _metadata(package: etree._Element) -> dict[str, JsonValue]:
    return {key: (package.findtext(f".//{_DC}{name}") or "").strip() for name, key in _METADATA.items()}
