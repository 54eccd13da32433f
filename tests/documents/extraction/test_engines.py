"""Each engine on the samples and on small documents that hold one difficulty each."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from documents.extraction.base import Engine, Extraction
from documents.extraction.engines.catdoc import CatdocEngine
from documents.extraction.engines.libreoffice import LibreOfficeEngine
from documents.extraction.engines.office_xml import OfficeXmlEngine
from documents.extraction.engines.pdfium import PdfiumEngine
from documents.extraction.engines.textract_engine import TextractEngine
from documents.extraction.engines.xberg_engine import XbergEngine
from documents.extraction.errors import Damaged, Encrypted, ExtractionError, MissingDependency, TooLarge, TooManyPages
from tests.documents.extraction.conftest import SAMPLES, encrypted_pdf, ole, zipped

Extract = Callable[..., Extraction]


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


# -- pdf


def test_a_pdf_is_read_page_by_page_with_its_metadata(extract: Extract) -> None:
    found = extract(sample("two-pages.pdf"), "x.pdf")
    assert found.engine == "pypdfium2"
    assert [page.number for page in found.pages] == [1, 2]
    assert found.pages[0].text.startswith("Contract of sale")
    assert found.pages[1].text.startswith("Annex A")
    assert found.text == "\n\n".join(page.text for page in found.pages)
    assert found.metadata["title"] == "Contract of sale"
    assert found.metadata["pages"] == 2


def test_a_pdf_with_too_many_pages_is_refused(extract: Extract) -> None:
    with pytest.raises(TooManyPages, match="2 pages; at most 1"):
        extract(sample("two-pages.pdf"), "x.pdf", max_pages=1)


def test_a_pdf_with_a_password_is_encrypted_and_no_other_engine_is_asked(extract: Extract) -> None:
    with pytest.raises(Encrypted) as caught:
        extract(encrypted_pdf("secret"), "x.pdf")
    assert [one.engine for one in caught.value.tried] == ["pypdfium2"]


def test_a_pdf_encrypted_with_the_empty_password_is_read(extract: Extract) -> None:
    assert extract(encrypted_pdf("", text="Everybody may read this"), "x.pdf").text.strip() == "Everybody may read this"


def test_a_pdf_that_is_cut_off_is_damaged_in_every_engine(extract: Extract) -> None:
    with pytest.raises(Damaged) as caught:
        extract(sample("two-pages.pdf")[:60], "x.pdf")
    assert caught.value.tried[0].engine == "pypdfium2"
    assert len(caught.value.tried) > 1


def test_an_empty_page_is_completed_with_a_warning(extract: Extract) -> None:
    blank = sample("two-pages.pdf").replace(b" Tj", b" %j")
    found = extract(blank, "x.pdf")
    assert found.text.strip() == ""
    assert "no_text_found" in found.warnings


def pdf_of(*lines: str) -> bytes:
    """Return a PDF of one page with a line of text each."""
    shown = " ".join(f"({line}) Tj 0 -14 Td" for line in lines)
    return encrypted_pdf("", text=f"x) Tj 0 -14 Td {shown} (")


def test_divided_words_are_put_together_unless_the_hyphen_is_their_own(extract: Extract) -> None:
    lines = ("a whole-", "sale trade, self-", "evident Anglo-", "American", "and self-evident words")
    found = extract(pdf_of(*lines), "x.pdf").text
    assert "a wholesale trade, self-evident Anglo-American" in " ".join(found.split())
    assert "\x02" not in found


def test_a_pdf_behind_a_kilobyte_of_something_else_is_one(extract: Extract) -> None:
    assert extract(b"a" * 1023 + b"\n" + pdf_of("late words"), "x.pdf").engine == "pypdfium2"


# -- text


def test_encodings_are_recognised(extract: Extract) -> None:
    for name, words in {
        "utf8.txt": "привет из Софии",
        "utf16-with-bom.txt": "ご挨拶",
        "windows-1252.txt": "Le garçon a servi un café crème à 3,50 €",
        "shift-jis.txt": "四半期報告書",
        "koi8-r.txt": "Квартальный отчёт",
    }.items():
        assert words in extract(sample(name), name).text, name


@pytest.mark.parametrize(
    ("encoding", "guessed"),
    [("utf-8", False), ("utf-8-sig", False), ("utf-16", False), ("utf-32", False), ("utf-16-le", False),
     ("utf-16-be", False), ("utf-32-le", False)],
)  # fmt: skip
def test_unicode_in_every_form(extract: Extract, encoding: str, guessed: bool) -> None:
    text = "Plain words and a few others: naïve café, twelve lines of them."
    found = extract(text.encode(encoding), "x.txt")
    assert found.text == text
    assert any(warning.startswith("encoding_guessed") for warning in found.warnings) == guessed


def test_a_guess_is_said_to_be_one(extract: Extract) -> None:
    assert "encoding_guessed: cp1252" in extract(sample("windows-1252.txt"), "x.txt").warnings


def test_a_table_keeps_quoted_cells_together(extract: Extract) -> None:
    found = extract(sample("table.csv"), "table.csv")
    assert found.text.splitlines()[1] == "Desk; oak\t2\t349,00"
    assert found.metadata["rows"] == 4
    assert found.metadata["columns"] == 3


def test_a_column_without_delimiter_is_not_split_by_its_letters(extract: Extract) -> None:
    assert extract(b"pear\npeach\nplum\n", "fruit.csv").text == "pear\npeach\nplum"


def test_json_keeps_numbers_as_written_and_resolves_escapes(extract: Extract) -> None:
    assert extract(b'{"a": 1.10, "b": 10000000000000000000001}', "x.json").text.count("1.10") == 1
    assert "Zoë" in extract(sample("records.json"), "records.json").text
    lonely = extract(rb'{"a": "\ud800"}', "x.json")
    assert lonely.text.encode()


@pytest.mark.parametrize(
    ("data", "warning"),
    [
        (b"[" * 100_000, "nested_too_deep"),
        (b'{"a": ', "not_well_formed"),
        (b'{"a": 1}\n{"b": 2}\n', None),
    ],
)
def test_json_that_is_not_quite_json_is_still_text(extract: Extract, data: bytes, warning: str | None) -> None:
    found = extract(data, "x.json")
    assert found.text == data.decode()
    assert [w for w in found.warnings if not w.startswith("type")] == ([warning] if warning else [])


# -- html and xml


def test_html_keeps_all_visible_text_and_no_script(extract: Extract) -> None:
    found = extract(sample("page.html"), "page.html")
    assert found.metadata["title"] == "Release notes"
    assert "Text directly under the body is kept." in found.text
    assert "café menus load in 5 ms" in found.text
    assert "Platform\tStatus" in found.text
    assert "hidden" not in found.text


@pytest.mark.parametrize(
    "data",
    [
        '<meta charset="iso-8859-1"><p>Grüße</p>'.encode("cp1252"),
        b"\xef\xbb\xbf" + '<meta charset="iso-8859-1"><p>Grüße</p>'.encode(),
        '<meta http-equiv=Content-Type content="text/html; charset=utf-16"><p>Grüße</p>'.encode(),
        '<p>Grüße</p>'.encode("utf-16"),
    ],
    ids=["declared", "mark-beats-declaration", "impossible-declaration", "utf-16"],
)  # fmt: skip
def test_html_charsets(extract: Extract, data: bytes) -> None:
    assert "Grüße" in extract(data, "x.html").text


def test_lists_keep_their_numbers_as_the_page_shows_them(extract: Extract) -> None:
    page = "<ol start=3><li>three<li value=7>seven</ol><ol type=a><li>x</ol><ol type=I><li>r<li>s</ol><ul><li>u</ul>"
    assert extract(f"<html><body>{page}".encode(), "x.html").text.split("\n\n") == [
        "3. three", "7. seven", "a. x", "I. r", "II. s", "u",
    ]  # fmt: skip


def test_html_has_markdown_with_its_headings_lists_and_tables(extract: Extract) -> None:
    page = (
        "<html><body><h2>One *thing*</h2><p># no heading</p><ol><li>first<ul><li>inner</ul><li>second<p>more</p></ol>"
        "<table><tr><th>A<th>B|C<tr><td>1<p>2</p><td>3</table><table><tr><td><h3>Layout</h3></table>"
        "<blockquote>Said</blockquote><pre>a\n  b</pre>"
    )
    assert extract(page.encode(), "x.html").markdown.split("\n\n") == [
        "## One \\*thing\\*", "\\# no heading", "1. first\n   - inner\n2. second", "   more",
        "| A | B\\|C |\n| --- | --- |\n| 1 2 | 3 |", "### Layout", "> Said", "```\na\n  b\n```",
    ]  # fmt: skip


def test_a_page_without_structure_has_no_markdown_of_its_own(extract: Extract) -> None:
    assert extract(b"<html><body>just *words*<p>and more", "x.html").markdown == ""


@pytest.mark.parametrize("depth", [300, 5_000, 200_000])
def test_html_of_any_depth_is_read(extract: Extract, depth: int) -> None:
    found = extract(b"<html><body>" + b"<div>" * depth + b"<p>at the bottom</p>", "deep.html")
    assert "at the bottom" in found.text


def test_xml_gives_its_text_nodes(extract: Extract) -> None:
    found = extract(b"<?xml version='1.0'?><a x='no'>one<b>two</b><!-- no -->three<?pi no?></a>", "x.xml")
    assert found.text.split() == ["one", "two", "three"]
    assert found.metadata["root"] == "a"


def test_xml_that_is_broken_is_read_as_far_as_possible(extract: Extract) -> None:
    found = extract(b"<?xml version='1.0'?><a>one<b>two</a>", "x.xml")
    assert "one" in found.text
    assert "not_well_formed" in found.warnings


def test_a_deep_entity_bomb_does_not_go_off_either(extract: Extract) -> None:
    doctype = '<!DOCTYPE a [<!ENTITY x "boom boom boom">]>'
    data = f"<?xml version='1.0'?>{doctype}" + "<a>" * 3_000 + "deep &x;" + "</a>" * 3_000
    assert extract(data.encode(), "x.xml").text == "deep"


def test_deep_xml_is_read(extract: Extract) -> None:
    data = b"<?xml version='1.0'?>" + b"<a>" * 20_000 + b"deep" + b"</a>" * 20_000
    assert extract(data, "x.xml").text == "deep"


# -- mail and books


def test_a_mail_is_decoded_and_its_attachment_listed(extract: Extract) -> None:
    found = extract(sample("message.eml"), "message.eml")
    assert found.metadata["subject"] == "Minutes – May"  # noqa: RUF001  # the sample has this dash
    assert "Hello Søren" in found.text
    assert found.text.count("the minutes of the meeting") == 1
    assert found.metadata["attachments"] == [{"name": "minutes.csv", "content_type": "text/csv", "bytes": 31}]
    assert found.text.endswith("\n\nAttachments: minutes.csv")
    assert "attachments_not_extracted" in found.warnings


def test_a_mail_whose_body_has_structure_has_markdown(extract: Extract) -> None:
    # Given a mail that says the same as plain text and as HTML
    mail = (
        "From: a@example.com\r\nSubject: *News*\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/alternative; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n'
        "Agenda: one, two\r\n--b\r\nContent-Type: text/html\r\n\r\n<h2>Agenda</h2><ol><li>one<li>two</ol>\r\n--b--\r\n"
    )
    # When it is read
    found = extract(mail.encode(), "x.eml")
    # Then its text is the plain one, and its Markdown has the structure of the other
    assert found.text == "Subject: *News*\nFrom: a@example.com\n\nAgenda: one, two"
    assert found.markdown == "Subject: \\*News\\*\\\nFrom: a@example.com\n\n## Agenda\n\n1. one\n2. two"
    # And a mail of plain text has none of its own
    assert extract(b"From: a@example.com\r\nSubject: s\r\nMIME-Version: 1.0\r\n\r\n*plain*\r\n", "x.eml").markdown == ""


def test_a_forwarded_mail_is_part_of_the_text(extract: Extract) -> None:
    inner = "From: c@example.com\r\nSubject: inner\r\nMIME-Version: 1.0\r\n\r\nforwarded words\r\n"
    outer = (
        "From: a@example.com\r\nSubject: outer\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee below\r\n'
        f"--b\r\nContent-Type: message/rfc822\r\n\r\n{inner}\r\n--b--\r\n"
    )
    text = extract(outer.encode(), "x.eml").text
    assert "see below" in text
    assert "Subject: inner" in text
    assert "forwarded words" in text


def test_a_mail_with_broken_headers_is_still_read(extract: Extract) -> None:
    lines = (
        b"From: a",
        b"MIME-Version: 1.0",
        b"Subject  : =?no-such-charset?b?SGk=?= =?utf-8?b?!!!?=",
        b'Content-Type: text/plain; charset="nonsense"',
        b"",
        "Grüße".encode(),
    )
    found = extract(b"\r\n".join(lines), "x.eml")
    assert "Grüße" in found.text
    assert found.metadata["subject"]


def book(chapters: dict[str, str], spine: str) -> bytes:
    package = f"""<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
      <dc:title>A Book</dc:title></metadata><manifest><item id="one" href="ch%201.xhtml"/>
      <item id="two" href="../two.xhtml"/><item id="three" href="missing.xhtml"/></manifest>
      <spine>{spine}</spine></package>"""
    container = '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>'
    return zipped(
        {"mimetype": "application/epub+zip", "META-INF/container.xml": container, "OPS/book.opf": package, **chapters}
    )


def test_a_book_is_read_in_the_order_of_its_spine(extract: Extract) -> None:
    data = book(
        {"OPS/ch 1.xhtml": "<html><body>first</body></html>", "two.xhtml": "<html><body>second</body></html>"},
        '<itemref idref="two"/><itemref idref="one"/><itemref idref="three"/>',
    )
    found = extract(data, "x.epub")
    assert [page.text for page in found.pages] == ["A Book\n\nsecond", "first"]
    assert found.metadata["title"] == "A Book"
    assert found.markdown == "# A Book\n\nsecond\n\nfirst"
    assert "chapters_missing: 1" in found.warnings


def test_a_book_without_chapters_is_damaged(extract: Extract) -> None:
    with pytest.raises(Damaged):
        extract(book({}, '<itemref idref="three"/>'), "x.epub")


# -- office formats


@pytest.mark.parametrize(
    ("name", "engine", "words"),
    [
        ("letter.docx", "xberg", ["Dear Ms Müller", "Quinces\t7", "Yours sincerely"]),
        ("budget.xlsx", "calamine", ["Rent\t1200", "1700", "Approved by Grace Hopper"]),
        ("slides.pptx", "xberg", ["Roadmap 2027", "Suppliers in two time zones"]),
    ],
)
def test_office_documents_are_read_by_the_first_engine_of_their_chain(
    extract: Extract, name: str, engine: str, words: list[str]
) -> None:
    found = extract(sample(name), name)
    assert found.engine == engine
    assert all(word in found.text for word in words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("letter.docx", ["Dear Ms Müller", "Quinces", "Yours sincerely"]),
        ("budget.xlsx", ["Rent", "1200", "1700", "Approved by Grace Hopper"]),
        ("slides.pptx", ["Roadmap 2027", "Suppliers in two time zones"]),
    ],
)
def test_textract_reads_them_too(extract_with: Callable[..., Extraction], name: str, words: list[str]) -> None:
    found = extract_with(TextractEngine(), sample(name), name)
    assert all(word in found.text for word in words)


@pytest.mark.parametrize("name", ["letter.docx", "slides.pptx"])
def test_the_reader_of_bare_xml_finds_the_same_words(extract_with: Callable[..., Extraction], name: str) -> None:
    found = extract_with(OfficeXmlEngine(), sample(name), name)
    best = extract_with(XbergEngine(), sample(name), name)
    assert set(best.text.split()) <= set(found.text.split())


def test_sheets_are_pages_with_their_names_and_tables_in_markdown(extract: Extract) -> None:
    found = extract(sample("budget.xlsx"), "budget.xlsx")
    assert [(page.number, page.label) for page in found.pages] == [(1, "Budget"), (2, "Notes")]
    assert "## Budget" in found.markdown
    assert "| Rent | 1200 |" in found.markdown


def test_what_floats_above_the_cells_is_part_of_the_sheet(extract: Extract) -> None:
    # Given the sample's second sheet with a remark, a text box and a chart
    types = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"

    def relations(**targets: str) -> str:
        found = "".join(
            f'<Relationship Id="{kind}" Type="{types}/{kind}" Target="{part}"/>' for kind, part in targets.items()
        )
        return f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{found}</Relationships>'

    points = "<c:cat><c:v>North</c:v><c:v>South</c:v></c:cat><c:val><c:v>3</c:v><c:v>4.5</c:v></c:val>"
    with zipfile.ZipFile(io.BytesIO(sample("budget.xlsx"))) as archive:
        parts: dict[str, bytes | str] = {name: archive.read(name) for name in archive.namelist()}
    parts |= {
        "xl/worksheets/_rels/sheet2.xml.rels": relations(comments="../comments1.xml", drawing="../drawings/d.xml"),
        "xl/comments1.xml": '<c xmlns="urn:s"><comment><text><r><t>Ask </t></r><r><t>Ada</t></r></text></comment></c>',
        "xl/drawings/d.xml": '<d xmlns:a="urn:a"><a:p><a:r><a:t>In a box</a:t></a:r></a:p></d>',
        "xl/drawings/_rels/d.xml.rels": relations(chart="/xl/charts/c.xml", image="http://127.0.0.1:1/x.png"),
        "xl/charts/c.xml": f'<c:c xmlns:c="urn:c"><c:ser><c:tx><c:v>Rain</c:v></c:tx>{points}</c:ser></c:c>',
    }
    # When it is read
    found = extract(zipped(parts), "x.xlsx")
    # Then they follow the cells of their own sheet
    assert found.engine == "calamine"
    assert found.pages[1].text.endswith("\nAsk Ada\nIn a box\nRain\nNorth\tSouth\n3\t4.5")
    assert "Ask Ada" not in found.pages[0].text
    assert "\n\nIn a box\n\n" in found.markdown
    # And parts that are broken cost only themselves
    found = extract(zipped({**parts, "xl/drawings/d.xml": "<", "xl/comments1.xml": b"\0"}), "x.xlsx")
    assert "Approved by Grace Hopper" in found.text


def with_broken_lzma(parts: dict[str, bytes | str], name: str) -> bytes:
    """Return an archive whose part `name` is packed by a method with errors of its own, and damaged."""
    out = io.BytesIO(zipped({part: content for part, content in parts.items() if part != name}))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(name, b"<p>" + bytes(range(256)), zipfile.ZIP_LZMA)
        at = archive.getinfo(name).header_offset + 30 + len(name) + 9
    data = bytearray(out.getvalue())
    data[at : at + 60] = bytes(byte ^ 0xFF for byte in data[at : at + 60])
    return bytes(data)


def test_what_an_office_file_says_of_itself_is_kept_whoever_reads_its_text(extract: Extract) -> None:
    core = (
        '<p xmlns:dc="urn:dc" xmlns:t="urn:t"><dc:title>Budget 2027</dc:title><dc:creator>Grace</dc:creator>'
        "<t:created>2026-05-04T10:00:00Z</t:created></p>"
    )
    with zipfile.ZipFile(io.BytesIO(sample("budget.xlsx"))) as archive:
        parts: dict[str, bytes | str] = {name: archive.read(name) for name in archive.namelist()}
    found = extract(zipped({**parts, "docProps/core.xml": core}), "x.xlsx").metadata
    assert (found["title"], found["author"], found["created"]) == ("Budget 2027", "Grace", "2026-05-04T10:00:00Z")
    # And what is broken there costs nothing else
    assert extract(zipped({**parts, "docProps/core.xml": "<p"}), "x.xlsx").metadata["sheets"] == 2
    for part in ("docProps/core.xml", "old/xl/sharedStrings.xml"):  # of the second letters would only be counted
        assert extract(with_broken_lzma(parts, part), "x.xlsx").engine == "calamine"
    odp = zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.presentation",
            "content.xml": '<r xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><text:p>Words</text:p></r>',
            "meta.xml": "<m><title>Talk</title><initial-creator>Ada</initial-creator><generator>Made by hand"
            "</generator></m>",
        }
    )
    found = extract(odp, "x.odp").metadata
    assert (found["title"], found["author"], found["producer"]) == ("Talk", "Ada", "Made by hand")


def test_slides_are_pages_and_their_titles_are_headings(extract: Extract) -> None:
    found = extract(sample("slides.pptx"), "slides.pptx")
    assert [page.number for page in found.pages] == [1, 2]
    assert found.markdown.startswith("## Roadmap 2027")


@pytest.mark.parametrize("kind", ["text", "presentation"])
def test_open_documents_are_read(extract: Extract, kind: str) -> None:
    content = (
        '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><text:p>Hello<text:s/>there</text:p>'
        "</office:document-content>"
    )
    data = zipped({"mimetype": f"application/vnd.oasis.opendocument.{kind}", "content.xml": content})
    assert extract(data, "x").text == "Hello there"


def test_the_reader_of_bare_xml_knows_how_open_documents_write_spaces(extract_with: Callable[..., Extraction]) -> None:
    content = (
        '<r xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><text:p>a<text:tab/>b<text:s/>c</text:p></r>'
    )
    data = zipped({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": content})
    assert extract_with(OfficeXmlEngine(), data, "x.odt").text == "a b c"


def test_slides_of_an_open_presentation_are_pages(extract: Extract) -> None:
    # Given two slides: one with a title, a list, a table and notes, one with a text box
    spaces = " ".join(
        f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{full}:1.0"'
        for short, full in {"draw": "drawing", "text": "text", "table": "table", "p": "presentation"}.items()
    )
    content = (
        f'<r {spaces}><draw:page draw:name="Start"><draw:frame p:class="outline"><draw:text-box><text:list>'
        "<text:list-item><text:p>One<text:s/>thing</text:p></text:list-item><text:list-item><text:p>another</text:p>"
        '</text:list-item></text:list></draw:text-box></draw:frame><draw:frame p:class="title"><draw:text-box>'
        "<text:p>Road<text:span>map</text:span></text:p></draw:text-box></draw:frame><draw:frame><table:table>"
        "<table:table-row><table:table-cell><text:p>a</text:p></table:table-cell><table:table-cell><text:p>b</text:p>"
        "</table:table-cell></table:table-row></table:table></draw:frame><p:notes><draw:frame><draw:text-box>"
        "<text:p>Say hello</text:p></draw:text-box></draw:frame></p:notes></draw:page>"
        '<draw:page draw:name="End"><draw:custom-shape><text:p>Thanks</text:p></draw:custom-shape></draw:page></r>'
    )
    data = zipped({"mimetype": "application/vnd.oasis.opendocument.presentation", "content.xml": content})
    # When it is read
    found = extract(data, "x.odp")
    # Then each is a page with its name, and Markdown knows titles, lists, tables and notes
    assert found.engine == "odp"
    assert [(page.label, page.text) for page in found.pages] == [
        ("Start", "Roadmap\nOne thing\nanother\na\tb\nSay hello"),
        ("End", "Thanks"),
    ]
    assert found.markdown == (
        "## Roadmap\n\n- One thing\n- another\n\n| a | b |\n| --- | --- |\n\n> Say hello\n\n## End\n\n- Thanks"
    )
    assert found.metadata["slides"] == 2


@pytest.mark.parametrize(
    ("engine", "data", "name", "package"),
    [
        (TextractEngine(), rb"{\rtf1 hello}", "x.rtf", "unrtf"),
        (TextractEngine(), ole(("WordDocument", bytes(12))), "x.doc", "libreoffice-writer"),
        (CatdocEngine(), ole(("WordDocument", bytes(12))), "x.doc", "catdoc"),
        (LibreOfficeEngine(PdfiumEngine()), b"\xffWPC" + bytes(100), "x.wpd", "libreoffice-writer"),
    ],
)
def test_a_missing_tool_is_named_by_its_debian_package(
    extract_with: Callable[..., Extraction], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    engine: Engine, data: bytes, name: str, package: str,
) -> None:  # fmt: skip
    # Given a machine without system tools
    monkeypatch.setenv("PATH", str(tmp_path))
    # When an engine that needs one reads a document
    with pytest.raises(MissingDependency) as caught:
        extract_with(engine, data, name)
    # Then the error says what to install
    assert caught.value.package == package
    assert caught.value.code == "missing_dependency"
    assert f"apt-get install {package}" in str(caught.value)


def test_a_damaged_office_document_is_damaged(extract: Extract) -> None:
    data = zipped({"word/document.xml": "<w:document", "[Content_Types].xml": "<Types/>"})
    with pytest.raises(Damaged) as caught:
        extract(data, "x.docx")
    assert caught.value.tried[0].engine == "xberg"


# -- nothing is resolved, nothing is fetched

XXE = '<!DOCTYPE r [<!ENTITY e SYSTEM "{}">]>'


@pytest.mark.parametrize("scheme", ["file", "http"])
@pytest.mark.parametrize("kind", ["xml", "docx", "odt", "epub", "xlsx", "pptx"])
def test_external_entities_are_neither_read_nor_fetched(
    extract: Extract, tmp_path: Path, kind: str, scheme: str
) -> None:
    # Given a document whose entity names a local file or a listening server
    secret = tmp_path / "secret.txt"
    secret.write_text("top-secret-content")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        url = secret.as_uri() if scheme == "file" else f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        # When it is read, without any sandbox around the parser
        try:
            text = extract(hostile_document(kind, XXE.format(url)), f"x.{kind}").text
        except ExtractionError:
            text = ""
        # Then neither was touched
        assert "top-secret-content" not in text
        with pytest.raises(TimeoutError):
            listener.accept()


def hostile_document(kind: str, doctype: str) -> bytes:
    """Put a DOCTYPE and a reference to its entity `e` into the main part of a document."""
    if kind == "xml":
        return f'<?xml version="1.0"?>{doctype}<r>visible &e;</r>'.encode()
    if kind == "odt":
        space = 'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
        return zipped({"mimetype": "application/vnd.oasis.opendocument.text",
                       "content.xml": f"{doctype}<r {space}><text:p>visible &e;</text:p></r>"})  # fmt: skip
    if kind == "epub":
        return book({"OPS/ch 1.xhtml": f"{doctype}<html><body>&e;</body></html>"}, '<itemref idref="one"/>')
    source, part, before, after = {
        "docx": ("letter.docx", "word/document.xml", "Dear Ms", "&e;"),
        "xlsx": ("budget.xlsx", "xl/worksheets/sheet2.xml", "Approved", "&e;"),
        "pptx": ("slides.pptx", "ppt/slides/slide1.xml", "Roadmap", "&e;"),
    }[kind]
    with zipfile.ZipFile(io.BytesIO(sample(source))) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    declaration, _, rest = parts[part].partition("?>")
    parts[part] = f"{declaration}?>{doctype}{rest.replace(before, after)}"
    return zipped(parts)


@pytest.mark.parametrize("kind", ["xml", "docx", "odt", "epub", "xlsx", "pptx"])
def test_entity_bombs_do_not_go_off(extract: Extract, kind: str) -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    doctype = f'<!DOCTYPE r [<!ENTITY l0 "boom">{levels}<!ENTITY e "&l9;">]>'
    try:
        found = extract(hostile_document(kind, doctype), f"x.{kind}")
    except ExtractionError:
        return
    assert len(found.text) < 1_000_000


def test_a_page_full_of_remote_references_fetches_nothing(extract: Extract) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        page = (
            f'<html><head><base href="{base}/"><link rel=stylesheet href="{base}/a.css"></head><body>'
            f'<img src="{base}/b.png"><iframe src="{base}/c"></iframe><script src="{base}/d.js"></script>text</body>'
        )
        assert extract(page.encode(), "x.html").text == "text"
        with pytest.raises(TimeoutError):
            listener.accept()


# -- limits and imports


def test_a_text_above_the_output_limit_is_too_large(extract: Extract) -> None:
    with pytest.raises(TooLarge):
        extract(b"x" * (1024 * 1024 + 1), "x.txt")


def test_extraction_imports_no_django() -> None:
    """In a process of its own, with everything imported that a child can import."""
    script = (
        "import json, sys, textract, documents.extraction.sandbox, documents.extraction.child, "
        "documents.extraction.identify, documents.extraction.registry; "
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=SAMPLES.parent
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"django", "rest_framework", "dramatiq", "boto3", "queueadmin", "ingestion_site"}


def test_the_worker_itself_loads_no_parser() -> None:
    """What parses documents belongs into the child; the worker's own process only judges their first bytes."""
    script = "import json, sys, documents.extraction.sandbox; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=SAMPLES.parent
    )
    assert not {"pypdfium2", "lxml", "textract", "documents.extraction.registry"} & set(json.loads(done.stdout))
