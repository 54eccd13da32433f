"""Make the sample documents of this directory. Deterministic: the same bytes on every run and machine.

    python samples/make_samples.py [DIRECTORY]

Every container is written by hand from its parts (ZIP entries with a fixed date), so that no library version changes a
byte. `tests/documents/extraction/test_samples.py` compares the committed files with what this script makes.
"""

from __future__ import annotations

import base64
import io
import json
import struct
import sys
import zipfile
import zlib
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_OOXML = "http://schemas.openxmlformats.org"
_TYPES = "application/vnd.openxmlformats-officedocument"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


def make_all() -> dict[str, bytes]:
    """Return file name -> bytes of every sample."""
    return {
        "utf8.txt": TEXT.encode(),
        "utf16-with-bom.txt": ("\ufeff" + TEXT).encode("utf-16-le"),
        "windows-1252.txt": WESTERN.encode("cp1252"),
        "shift-jis.txt": JAPANESE.encode("shift_jis"),
        "koi8-r.txt": RUSSIAN.encode("koi8_r"),
        "two-pages.pdf": pdf(PDF_PAGES),
        "scanned.pdf": scanned_pdf(),
        "photo.png": png(picture(PICTURE_LINES, width=1160, height=280)),
        "letter.docx": docx(),
        "budget.xlsx": xlsx(),
        "slides.pptx": pptx(),
        "page.html": HTML.encode(),
        "message.eml": mail().encode(),
        "table.csv": CSV.encode(),
        "records.json": json.dumps(RECORDS, indent=2).encode() + b"\n",
    }


# ruff: noqa: RUF001  # other alphabets are the point
TEXT = """Quarterly report

Revenue grew by 12 % to 4.1 million €. The naïve forecast – made in São Paulo – was 9 %.
Grüße aus Köln, привет из Софии, ご挨拶。
"""
WESTERN = """Déjà vu à la brasserie

Le garçon a servi un café crème à 3,50 €. « Ça va ? » demanda-t-elle – bien sûr.
Die Straßenbahn fährt über die Brücke nach Düsseldorf.
"""
JAPANESE = """四半期報告書

売上高は十二パーセント増加しました。文字コードの判定は、この文書のような日本語の文章で確かめます。
お問い合わせは東京本社までお願いいたします。
"""
RUSSIAN = """Квартальный отчёт

Выручка выросла на двенадцать процентов. Этот документ записан в кодировке, которая была обычной до появления
Юникода, и его нужно прочитать без подсказки.
"""
HTML = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Release notes</title>
<script>var hidden = "this is not text";</script></head>
<body>Text directly under the body is kept.
<h1>Version 2.0</h1><p>Faster &amp; smaller: caf&eacute; menus load in 5&nbsp;ms.</p>
<ul><li>First change</li><li>Second change</li></ul>
<table><tr><th>Platform</th><th>Status</th></tr><tr><td>Linux</td><td>supported</td></tr></table>
</body></html>
"""
CSV = """item;quantity;price
"Desk; oak";2;349,00
Chair;8;89,50
Lamp (brass);3;42,00
"""
RECORDS = [{"id": 1, "name": "Zoë", "tags": ["alpha", "beta"]}, {"id": 2, "name": "Łukasz", "tags": []}]
PDF_PAGES = (
    ("Contract of sale", "The seller delivers forty crates of pears.", "Payment is due within thirty days."),
    ("Annex A", "Delivery address: 12 Harbour Street.", "Signed by both parties in duplicate."),
)
SCAN_LINES = (
    "Delivery note 4711",
    "The crates were handed over at the harbour.",
    "Received by Rosalind Franklin.",
)
PICTURE_LINES = ("Opening hours", "Monday to Friday from nine to five", "Closed on public holidays")


def picture(lines: tuple[str, ...], *, width: int, height: int) -> Image.Image:
    """Draw lines in black and white, in Pillow's bitmap font: the same pixels whatever FreeType is installed."""
    scale = 4
    small = Image.new("1", (width // scale, height // scale), 1)
    draw = ImageDraw.Draw(small)
    font = ImageFont.load_default_imagefont()
    for number, line in enumerate(lines):
        draw.text((10, 8 + 20 * number), line, fill=0, font=font)
    return small.resize((width, height), Image.Resampling.NEAREST)


def png(image: Image.Image) -> bytes:
    """Write a PNG of one bit a pixel. Its zlib stream is stored, not compressed: zlib versions differ."""
    stride = (image.width + 7) // 8
    packed = image.tobytes()
    rows = b"".join(b"\0" + packed[at : at + stride] for at in range(0, len(packed), stride))
    pieces = [rows[at : at + 65535] for at in range(0, len(rows), 65535)]
    stored = b"".join(
        struct.pack("<BHH", number == len(pieces), len(piece), len(piece) ^ 0xFFFF) + piece
        for number, piece in enumerate(pieces, start=1)
    )
    stream = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(rows))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", image.width, image.height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")


def scanned_pdf() -> bytes:
    """A first page that is only a picture, as scanners make it, and a second one with text."""
    image = picture(SCAN_LINES, width=1160, height=1640)
    data = _run_lengths(image.tobytes())
    drawing = b"q 595 0 0 842 0 0 cm /Im1 Do Q"
    text = b"BT /F1 14 Tf 72 720 Td (This second page was typed, not scanned.) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R 6 0 R] /Count 2 >>",
        (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
            b"/Resources << /XObject << /Im1 5 0 R >> >> >>"
        ),
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(drawing), drawing),
        b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 1 "
        b"/Filter /RunLengthDecode /Length %d >>\nstream\n%b\nendstream" % (image.width, image.height, len(data), data),
        (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 7 0 R "
            b"/Resources << /Font << /F1 8 0 R >> >> >>"
        ),
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Title (Delivery note) >>",
    ]
    return _pdf_file(objects)


def _run_lengths(data: bytes) -> bytes:
    """Compress by RunLengthDecode's rules (ISO 32000-1, 7.4.5), which leave an encoder no choice worth having."""
    out = bytearray()
    for value, run in groupby(data):
        length = sum(1 for _ in run)
        while length > 1:
            count = min(length, 128)
            out += bytes((257 - count, value))
            length -= count
        if length:
            out += bytes((0, value))
    return bytes(out) + b"\x80"


def pdf(pages: tuple[tuple[str, ...], ...]) -> bytes:
    """Write a PDF with one text line below the other in Helvetica. Nothing is compressed: zlib versions differ."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * index} 0 R" for index in range(count))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for index, lines in enumerate(pages):
        shown = "\n".join(f"({line}) Tj T*" for line in lines)
        stream = f"BT /F1 14 Tf 18 TL 72 720 Td\n{shown}\nET".encode("cp1252")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * index} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n".encode() + stream + b"\nendstream")
    objects.append(b"<< /Title (Contract of sale) /Author (Sample Maker) >>")
    return _pdf_file(objects)


def _pdf_file(objects: list[bytes]) -> bytes:
    """Number the objects, and write the cross-reference table; the last object is the document information."""
    out, offsets = io.BytesIO(), []
    out.write(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    for number, body in enumerate(objects, start=1):
        offsets.append(out.tell())
        out.write(f"{number} 0 obj\n".encode() + body + b"\nendobj\n")
    start = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.writelines(f"{offset:010} 00000 n \n".encode() for offset in offsets)
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\n"
    out.write(f"{trailer}startxref\n{start}\n%%EOF\n".encode())
    return out.getvalue()


def archive(entries: Mapping[str, str]) -> bytes:
    """Write a ZIP file without dates, owners or compression levels that could differ."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            # Stored: another zlib would compress to other bytes. create_system: as on Unix, everywhere.
            info.compress_type, info.create_system = zipfile.ZIP_STORED, 3
            file.writestr(info, content)
    return out.getvalue()


def _content_types(parts: Mapping[str, str]) -> str:
    overrides = "".join(f'<Override PartName="/{name}" ContentType="{kind}"/>' for name, kind in parts.items())
    return (
        f'{_XML}<Types xmlns="{_OOXML}/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>'
    )


def _relations(*targets: tuple[str, str]) -> str:
    rows = "".join(
        f'<Relationship Id="rId{number}" Type="{_OOXML}/officeDocument/2006/relationships/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets, start=1)
    )
    return f'{_XML}<Relationships xmlns="{_OOXML}/package/2006/relationships">{rows}</Relationships>'


def docx() -> bytes:
    """A letter with a heading, paragraphs and a table."""
    paragraph = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>".format
    cell = "<w:tc><w:tcPr/><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>".format
    table = "".join(
        f"<w:tr>{''.join(map(cell, row))}</w:tr>" for row in (("Item", "Amount"), ("Apples", "12"), ("Quinces", "7"))
    )
    body = "".join(
        (
            paragraph("Dear Ms Müller"),
            paragraph("thank you for your order of 3 May. The goods left our warehouse this morning."),
            f"<w:tbl><w:tblPr/><w:tblGrid><w:gridCol/><w:gridCol/></w:tblGrid>{table}</w:tbl>",
            paragraph("Yours sincerely"),
        )
    )
    return archive(
        {
            "[Content_Types].xml": _content_types(
                {"word/document.xml": f"{_TYPES}.wordprocessingml.document.main+xml"}
            ),
            "_rels/.rels": _relations(("officeDocument", "word/document.xml")),
            "word/document.xml": f'{_XML}<w:document xmlns:w="{_OOXML}/wordprocessingml/2006/main">'
            f"<w:body>{body}<w:sectPr/></w:body></w:document>",
        }
    )


def xlsx() -> bytes:
    """Two sheets with inline strings, numbers and a formula with its cached value."""

    def sheet(rows: tuple[tuple[str | float, ...], ...], total: str = "") -> str:
        lines = []
        for number, row in enumerate(rows, start=1):
            cells = []
            for column, value in zip("ABC", row, strict=False):
                name = f"{column}{number}"
                if isinstance(value, str):
                    cells.append(f'<c r="{name}" t="inlineStr"><is><t>{value}</t></is></c>')
                else:
                    cells.append(f'<c r="{name}"><v>{value}</v></c>')
            lines.append(f'<row r="{number}">{"".join(cells)}</row>')
        return (
            f'{_XML}<worksheet xmlns="{_OOXML}/spreadsheetml/2006/main"><sheetData>{"".join(lines)}{total}'
            "</sheetData></worksheet>"
        )

    total = '<row r="4"><c r="B4"><f>SUM(B2:B3)</f><v>1700</v></c></row>'
    worksheet = f"{_TYPES}.spreadsheetml.worksheet+xml"
    return archive(
        {
            "[Content_Types].xml": _content_types(
                {
                    "xl/workbook.xml": f"{_TYPES}.spreadsheetml.sheet.main+xml",
                    "xl/worksheets/sheet1.xml": worksheet,
                    "xl/worksheets/sheet2.xml": worksheet,
                }
            ),
            "_rels/.rels": _relations(("officeDocument", "xl/workbook.xml")),
            "xl/workbook.xml": f'{_XML}<workbook xmlns="{_OOXML}/spreadsheetml/2006/main" '
            f'xmlns:r="{_OOXML}/officeDocument/2006/relationships"><sheets>'
            '<sheet name="Budget" sheetId="1" r:id="rId1"/><sheet name="Notes" sheetId="2" r:id="rId2"/>'
            "</sheets></workbook>",
            "xl/_rels/workbook.xml.rels": _relations(
                ("worksheet", "worksheets/sheet1.xml"), ("worksheet", "worksheets/sheet2.xml")
            ),
            "xl/worksheets/sheet1.xml": sheet((("Position", "Amount"), ("Rent", 1200), ("Power", 500)), total),
            "xl/worksheets/sheet2.xml": sheet((("Approved by Grace Hopper",),)),
        }
    )


def pptx() -> bytes:
    """Two slides, each with a title and a text box."""
    spaces = (
        f'xmlns:a="{_OOXML}/drawingml/2006/main" xmlns:p="{_OOXML}/presentationml/2006/main" '
        f'xmlns:r="{_OOXML}/officeDocument/2006/relationships"'
    )
    group = '<p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>'

    def slide(*texts: str) -> str:
        shapes = "".join(
            f'<p:sp><p:nvSpPr><p:cNvPr id="{number}" name="Text {number}"/><p:cNvSpPr/><p:nvPr/></p:nvSpPr><p:spPr/>'
            f"<p:txBody><a:bodyPr/><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
            for number, text in enumerate(texts, start=2)
        )
        return f"{_XML}<p:sld {spaces}><p:cSld><p:spTree>{group}{shapes}</p:spTree></p:cSld></p:sld>"

    part = f"{_TYPES}.presentationml.slide+xml"
    return archive(
        {
            "[Content_Types].xml": _content_types(
                {
                    "ppt/presentation.xml": f"{_TYPES}.presentationml.presentation.main+xml",
                    "ppt/slides/slide1.xml": part,
                    "ppt/slides/slide2.xml": part,
                }
            ),
            "_rels/.rels": _relations(("officeDocument", "ppt/presentation.xml")),
            "ppt/presentation.xml": f'{_XML}<p:presentation {spaces}><p:sldIdLst><p:sldId id="256" r:id="rId1"/>'
            '<p:sldId id="257" r:id="rId2"/></p:sldIdLst></p:presentation>',
            "ppt/_rels/presentation.xml.rels": _relations(
                ("slide", "slides/slide1.xml"), ("slide", "slides/slide2.xml")
            ),
            "ppt/slides/slide1.xml": slide("Roadmap 2027", "Three milestones before summer"),
            "ppt/slides/slide2.xml": slide("Risks", "Suppliers in two time zones"),
        }
    )


def mail() -> str:
    """A multipart mail: an encoded subject, a base64 body in two forms, an attachment."""

    def encoded(text: str) -> str:
        return base64.encodebytes(text.encode()).decode().replace("\n", "\r\n")

    plain = "Hello Søren,\n\nthe minutes of the meeting are attached.\n\nRegards, Ada\n"
    rich = "<html><body><p>Hello S&oslash;ren,</p><p>the minutes of the meeting are <b>attached</b>.</p></body></html>"
    lines = (
        "From: Ada Lovelace <ada@example.com>",
        "To: =?utf-8?q?S=C3=B8ren?= <soren@example.com>",
        "Subject: =?utf-8?b?TWludXRlcyDigJMgTWF5?=",
        "Date: Mon, 04 May 2026 09:30:00 +0000",
        "Message-ID: <sample-1@example.com>",
        "MIME-Version: 1.0",
        'Content-Type: multipart/mixed; boundary="outer"',
        "",
        "--outer",
        'Content-Type: multipart/alternative; boundary="inner"',
        "",
        "--inner",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: base64",
        "",
        encoded(plain),
        "--inner",
        "Content-Type: text/html; charset=utf-8",
        "Content-Transfer-Encoding: base64",
        "",
        encoded(rich),
        "--inner--",
        "",
        "--outer",
        'Content-Type: text/csv; name="minutes.csv"',
        'Content-Disposition: attachment; filename="minutes.csv"',
        "Content-Transfer-Encoding: base64",
        "",
        encoded("topic,decision\nbudget,approved\n"),
        "--outer--",
        "",
    )
    return "\r\n".join(lines)


def main() -> None:
    """Write every sample into the directory given, or into this one."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in make_all().items():
        (directory / name).write_bytes(data)


if __name__ == "__main__":
    main()
