"""Small documents as offices send them: three pages of text as PDF, DOCX or HTML, each with its own number."""

from __future__ import annotations

import html
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator

PAGES, LINES = 3, 44

_NS = "http://schemas.openxmlformats.org"
_OFFICE = "application/vnd.openxmlformats-officedocument.wordprocessingml"
_WORDS = [
    "The",
    "supplier",
    "delivers",
    "the",
    "goods",
    "named",
    "in",
    "the",
    "annex",
    "to",
    "the",
    "harbour",
    "within",
    "thirty",
    "days",
    "of",
    "the",
    "order",
    "and",
    "tells",
    "the",
    "buyer",
    "of",
    "every",
    "delay",
    "in",
    "writing",
    "while",
    "prices",
    "include",
    "packing",
    "insurance",
    "and",
    "the",
    "usual",
    "customs",
    "duties",
    "of",
    "both",
    "countries",
    "unless",
    "the",
    "parties",
    "have",
    "agreed",
    "on",
    "something",
    "else",
    "for",
    "a",
    "single",
    "shipment",
    "or",
    "for",
    "a",
    "season",
    "as",
    "a",
    "whole",
]


def paper(number: int) -> tuple[str, bytes]:
    """Return (file name, bytes) of document `number`; the kinds take turns."""
    kind, make = _KINDS[number % len(_KINDS)]
    return f"paper-{number}.{kind}", make(number)


def _lines(number: int, page: int) -> Iterator[str]:
    """Yield the lines of one page, some 80 characters each, different on every page of every document."""
    for line in range(LINES):
        start = (number * 31 + page * 17 + line * 7) % len(_WORDS)
        words = (_WORDS * 2)[start : start + 13]
        yield f"{number}.{page}.{line} {' '.join(words)}"


def _pdf(number: int) -> bytes:
    """A PDF whose pages are compressed, as those of all writers are."""
    kids = " ".join(f"{4 + 2 * page} 0 R" for page in range(PAGES))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {PAGES} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for page in range(PAGES):
        drawn = "".join(f"({line}) Tj T* " for line in _lines(number, page))
        stream = zlib.compress(f"BT /F1 10 Tf 50 790 Td 16 TL {drawn}ET".encode())
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * page} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(f"<< /Filter /FlateDecode /Length {len(stream)} >>\nstream\n".encode() + stream + b"\nendstream")
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for index, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{index} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n"
    return bytes(out) + f"{end}startxref\n{len(out)}\n%%EOF\n".encode()


def _docx(number: int) -> bytes:
    """A Word file with a heading and a small table on each page."""
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Section {page + 1}</w:t></w:r></w:p>'
        + "".join(f"<w:p><w:r><w:t>{line}</w:t></w:r></w:p>" for line in _lines(number, page))
        + "<w:tbl><w:tr>" + "".join(f"<w:tc><w:p><w:r><w:t>{n}</w:t></w:r></w:p></w:tc>" for n in range(4))
        + "</w:tr></w:tbl>"
        for page in range(PAGES)
    )  # fmt: skip
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_NS}/package/2006/content-types"><Override '
        f'PartName="/word/document.xml" ContentType="{_OFFICE}.document.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_NS}/package/2006/relationships"><Relationship Id="rId1" '
        f'Type="{_NS}/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{_NS}/wordprocessingml/2006/main"><w:body>{body}</w:body>'
        "</w:document>",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def _html(number: int) -> bytes:
    """A page with navigation, a script, headings and a table, as sites print them."""
    links = "".join(f'<li><a href="/section/{n}">Section {n}</a></li>' for n in range(20))
    sections = "".join(
        f"<section><h2>Section {page + 1}</h2>"
        + "".join(f'<p class="line">{html.escape(line)} <b>due</b></p>\n' for line in _lines(number, page))
        + "<table><tr><th>Item</th><th>Price</th></tr><tr><td>Crate</td><td>12.50</td></tr></table></section>"
        for page in range(PAGES)
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Terms {number}</title>'
        f"<script>var page = {number};</script></head><body><nav><ul>{links}</ul></nav>{sections}</body></html>"
    ).encode()


_KINDS: tuple[tuple[str, Callable[[int], bytes]], ...] = (("pdf", _pdf), ("docx", _docx), ("html", _html))
