"""A hostile set, made here: what people send to break a parser, and the clear ends that each may have."""

from __future__ import annotations

import dataclasses
import io
import zipfile
import zlib

from PIL import Image

from tests.documents.extraction.conftest import SAMPLES, ole, zipped
from tests.documents.extraction.legacy import chart, doc, msg, ppt, text_box, word_art, word_perfect_42, xls, xlsb

TEXT = frozenset({"completed"})
REFUSED = frozenset({"damaged", "unsupported_type"})
CRASH = TEXT | REFUSED | {"extractor_crashed"}
BOMB = frozenset({"decompression_bomb", "too_large", "damaged", "out_of_memory"})

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Override PartName="/word/document.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
)
_RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" '
    f'Type="{_R}/officeDocument" Target="word/document.xml"/></Relationships>'
)


_MANIFEST = (
    '<m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" m:version="1.2"><m:file-entry '
    'm:full-path="/" m:media-type="application/vnd.oasis.opendocument.text"/><m:file-entry m:full-path="content.xml" '
    'm:media-type="text/xml"/></m:manifest>'
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hostile:
    """A file, and how its extraction may end."""

    name: str
    data: bytes
    ends: frozenset[str]


def fixtures() -> dict[str, bytes]:
    """Return one small document of every format, by file name."""
    found = {
        path.name: path.read_bytes()
        for path in sorted(SAMPLES.iterdir())
        if path.is_file() and path.suffix not in (".py", ".md")
    }
    content = (
        '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:text>'
        "<text:h>Heading</text:h><text:p>A paragraph of an open document.</text:p>"
        "</office:text></office:body></office:document-content>"
    )
    cells = (
        '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
        'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"><office:body><office:spreadsheet>'
        '<table:table table:name="Sheet"><table:table-row><table:table-cell office:value-type="string">'
        "<text:p>Rent</text:p></table:table-cell></table:table-row></table:table>"
        "</office:spreadsheet></office:body></office:document-content>"
    )
    slide = content.replace("<office:text>", '<d:page xmlns:d="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0">')
    slide = slide.replace("</office:text>", "</d:page>")
    chapter = "<html><body><h1>One</h1><p>It was a bright cold day in April.</p></body></html>"
    return {
        **found,
        **{f"gradient.{kind}": _picture(kind) for kind in ("gif", "jpg", "tiff")},
        "old.doc": doc("A letter of 1999.\r", "Второй абзац\r"),
        "old.ppt": ppt([("Title", "A text box that says more", "The notes")], shapes=word_art("Grand opening")),
        "older.ppt": ole(("PP40", b"\x01\x82\xc1\xffDigital Library initiatives\rParis, September\0\xae\x9d\xc0")),
        "old.xls": xls(
            {(0, 0): "Year", (1, 0): 2024.0}, above=text_box("Checked by Ada") + chart("Exports", {"France": 1.5})
        ),
        "mail.msg": msg("Grüße".encode("cp1252"), "The body of a mail.", html=b"<p>The body</p>", code_page=65001),
        "letter.wpd": word_perfect_42("The quick brown fox jumps over it.", "Nobody knew why he had."),
        "table.tsv": b"name\tcity\tyear\nAda\tLondon\t1815\nGrace\tNew York\t1906\n",
        "open.ods": zipped({"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": cells}),
        "open.odp": zipped({"mimetype": "application/vnd.oasis.opendocument.presentation", "content.xml": slide}),
        "open.xlsb": xlsb({(0, 0): "Rent", (0, 1): 1200.0}),
        "note.rtf": rb"{\rtf1\ansi{\fonttbl{\f0 Arial;}}\f0 A note in \b rich\b0 text.\par}",
        "open.odt": zipped({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": content}),
        "data.xml": b"<?xml version='1.0'?><root><entry>one</entry><entry>two</entry></root>",
        "readme.md": b"# Title\n\nSome *text*.\n",
        "book.epub": zipped(
            {
                "mimetype": "application/epub+zip",
                "META-INF/container.xml": '<container><rootfiles><rootfile full-path="a.opf"/></rootfiles></container>',
                "a.opf": '<package><manifest><item id="a" href="a.xhtml"/></manifest><spine>'
                '<itemref idref="a"/></spine></package>',
                "a.xhtml": chapter,
            }
        ),
    }


def _picture(kind: str) -> bytes:
    """Return a small picture without letters, so that looking for some takes little."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize((48, 48)).save(out, {"jpg": "JPEG", "gif": "GIF", "tiff": "TIFF"}[kind])
    return out.getvalue()


def docx(body: str, *, prolog: str = "", more: dict[str, bytes | str] | None = None, compress: bool = False) -> bytes:
    """Return a Word file around `body`."""
    document = f'{prolog}<w:document xmlns:w="{_W}" xmlns:r="{_R}"><w:body>{body}</w:body></w:document>'
    parts = {"[Content_Types].xml": _TYPES, "_rels/.rels": _RELATIONS, "word/document.xml": document}
    return zipped({**parts, **(more or {})}, compress=compress)


def hostile_set() -> list[Hostile]:
    """Return every hostile file."""
    made = [Hostile(name=f"cut-{share}-{name}", data=data[: len(data) * share // 100], ends=TEXT | REFUSED | {"empty"})
            for name, data in fixtures().items() for share in (10, 50, 90)]  # fmt: skip
    entities = '<!DOCTYPE r [<!ENTITY a0 "lol">' + "".join(
        f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)
    )
    many = "<w:p><w:r><w:t>Paragraph &#65;</w:t></w:r></w:p>"
    png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"
    header = b"\0\0\x75\x30\0\0\x75\x30\1\0\0\0\0"
    return [
        *made,
        Hostile(name="laughs.xml", data=f"{entities}]><r>&a9;</r>".encode(), ends=TEXT | REFUSED),
        Hostile(name="laughs.docx", data=docx("&a9;", prolog=f"{entities}]>"), ends=TEXT | REFUSED),
        Hostile(name="laughs.html", data=f"{entities}]><html><body>&a9;</body></html>".encode(), ends=TEXT),
        Hostile(name="deep.html", data=b"<html><body>" + b"<div>" * 100_000 + b"x", ends=TEXT),
        Hostile(name="deep.xml", data=b"<a>" * 100_000 + b"x" + b"</a>" * 100_000, ends=TEXT),
        Hostile(name="deep.json", data=b"[" * 100_000 + b"]" * 100_000, ends=TEXT),
        Hostile(name="deep.docx", data=docx("<w:tbl><w:tr><w:tc>" * 3_000), ends=CRASH),
        Hostile(name="deep.rtf", data=b"{\\rtf1 " + b"{" * 50_000 + b"x", ends=CRASH),
        Hostile(name="bomb.docx", data=docx(many * 1_500_000, compress=True), ends=BOMB),
        Hostile(name="bomb.epub", data=_bomb("mimetype", b"application/epub+zip"), ends=BOMB | REFUSED),
        Hostile(name="pixels.png", data=png + header + zlib.crc32(b"IHDR" + header).to_bytes(4, "big"), ends=BOMB),
        Hostile(name="names.docx", data=docx(many, more={"../../../tmp/escaped": "x", "/tmp/escaped": ""}), ends=TEXT),
        Hostile(name="macro.docx", data=docx(many, more={"word/vbaProject.bin": b"\0" * 500}), ends=TEXT),
        Hostile(name="formula.csv", data=b"name,value\n=cmd|'/c calc'!A1,\"@SUM(1)\"\n+1,-1\n", ends=TEXT),
        Hostile(name="noise.pdf", data=b"%PDF-1.7\n" + bytes(range(256)) * 40, ends=REFUSED),
        Hostile(name="noise.doc", data=doc("x")[:1024] + bytes(range(256)) * 40, ends=TEXT | REFUSED),
        Hostile(name="polyglot.pdf", data=b"<html><body>" + fixtures()["two-pages.pdf"], ends=TEXT),
        Hostile(name="zeros.docx", data=bytes(4096), ends=frozenset({"empty"})),
        Hostile(name="nothing.pdf", data=b"", ends=frozenset({"empty"})),
    ]


def _bomb(name: str, content: bytes) -> bytes:
    return zipped({name: content, "a.xhtml": b"<p>" + b"a" * (100 * 1024 * 1024)}, compress=True)


def calling_home(url: str) -> dict[str, bytes]:
    """Return documents, by file name, that ask their reader to fetch `url`."""
    picture = f'<w:p><w:r><w:pict><v:shape xmlns:v="urn:v"><v:imagedata r:id="rId9" r:href="{url}"/></v:shape></w:pict>'
    relation = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="rId9" Type="{_R}/image" Target="{url}" TargetMode="External"/>'
        f'<Relationship Id="rId8" Type="{_R}/attachedTemplate" Target="{url}" TargetMode="External"/></Relationships>'
    )
    odt = (
        '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"><office:body><office:text><text:p>text'
        f'<draw:frame><draw:image xlink:href="{url}"/></draw:frame></text:p>'
        f'<text:section text:name="s"><text:section-source xlink:href="{url}"/><text:p>within</text:p></text:section>'
        "</office:text></office:body></office:document-content>"
    )
    html = (
        f'<html><head><base href="{url}"><link rel="stylesheet" href="{url}"><script src="{url}"></script>'
        f'<meta http-equiv="refresh" content="0;url={url}"></head><body><img src="{url}"><iframe src="{url}"></iframe>'
        f'<object data="{url}"></object>text</body></html>'
    ).encode()
    pdf = fixtures()["two-pages.pdf"].replace(
        b"/Type /Catalog", b"/Type /Catalog /OpenAction << /S /URI /URI (" + url.encode() + b") >>"
    )
    xml = f'<!DOCTYPE r SYSTEM "{url}" [<!ENTITY e SYSTEM "{url}"><!ENTITY % p SYSTEM "{url}"> %p;]><r>text &e;</r>'
    return {
        "a.html": html,
        "a.xml": xml.encode(),
        "include.xml": f'<r xmlns:xi="http://www.w3.org/2001/XInclude">text<xi:include href="{url}"/></r>'.encode(),
        "style.xml": f'<?xml-stylesheet type="text/xsl" href="{url}"?><r>text</r>'.encode(),
        "a.svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/><text>text</text></svg>'.encode(),
        "a.docx": docx(
            f"{picture}</w:r></w:p><w:p><w:r><w:t>text</w:t></w:r></w:p>",
            more={"word/_rels/document.xml.rels": relation, "word/_rels/settings.xml.rels": relation},
        ),
        "a.odt": zipped(
            {
                "mimetype": "application/vnd.oasis.opendocument.text",
                "content.xml": odt,
                "META-INF/manifest.xml": _MANIFEST,  # LibreOffice calls a file without it damaged.
            }
        ),
        "a.rtf": b'{\\rtf1 text {\\field{\\*\\fldinst INCLUDEPICTURE "' + url.encode() + b'" \\\\d}{\\fldrslt x}}}',
        "a.eml": b"From: a@b.c\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n" + html,
        "b.eml": b"From: a@b.c\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: message/external-body; "
        b'access-type=URL; URL="' + url.encode() + b'"\r\n\r\nContent-Type: text/plain\r\n\r\ntext',
        "a.md": f"![picture]({url})\n\ntext".encode(),
        "a.pdf": pdf,
        "a.pptx": _related("slides.pptx", "ppt/slides", "slide1.xml", relation),
        "a.xlsx": _related("budget.xlsx", "xl/worksheets", "sheet1.xml", relation),
        "a.ods": zipped({"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": odt}),
        "a.odp": zipped({"mimetype": "application/vnd.oasis.opendocument.presentation", "content.xml": odt}),
        "a.msg": msg("A mail", html=html),
        "a.epub": zipped(
            {
                "mimetype": "application/epub+zip",
                "META-INF/container.xml": f'<!DOCTYPE c SYSTEM "{url}"><container><rootfiles>'
                '<rootfile full-path="a.opf"/></rootfiles></container>',
                "a.opf": f'<package><manifest><item id="a" href="a.xhtml"/><item id="b" href="{url}"/></manifest>'
                '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>',
                "a.xhtml": html,
            }
        ),
        "a.doc": doc(f'\x13 INCLUDEPICTURE "{url}" \\d \x14text\x15\r'),
        "a.csv": f'=WEBSERVICE("{url}"),text,x\n=IMAGE("{url}"),b,c\n'.encode(),
    }


def _related(sample: str, folder: str, part: str, relations: str) -> bytes:
    """Return a sample whose part refers to what `relations` names outside the file."""
    with zipfile.ZipFile(SAMPLES / sample) as archive:
        parts: dict[str, bytes | str] = {name: archive.read(name) for name in archive.namelist()}
    return zipped({**parts, f"{folder}/_rels/{part}.rels": relations})
