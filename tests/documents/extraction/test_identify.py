"""One table of vectors: what the bytes are, whatever the name and the client say."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from documents.exceptions import DocumentError
from documents.extraction.base import Identity
from documents.extraction.compound import Directory, ole_format
from documents.extraction.errors import Damaged, DecompressionBomb, Empty, Encrypted, ExtractionError, UnsupportedType
from documents.extraction.formats import CONTENT_TYPES
from documents.extraction.identify import TEXT_BYTES, beginning_of_text, identify
from tests.documents.extraction.conftest import SAMPLES, ole, zipped

OOXML = '<Types><Override PartName="/a/b.xml" ContentType="application/vnd.{}+xml"/></Types>'
MAIL = b"Received: from a by b\r\nFrom: a@example.com\r\nSubject: x\r\n\r\nbody\r\n"


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def content_types(kind: str) -> bytes:
    return zipped({"[Content_Types].xml": OOXML.format(kind)})


def odf(kind: str, manifest: str = "") -> bytes:
    return zipped({"mimetype": f"application/vnd.oasis.opendocument.{kind}", "META-INF/manifest.xml": manifest})


VECTORS: list[tuple[str, bytes, str]] = [
    ("pdf", sample("two-pages.pdf"), "pdf"),
    ("pdf after junk", b"junk\n" * 100 + sample("two-pages.pdf"), "pdf"),
    ("docx", sample("letter.docx"), "docx"),
    ("xlsx", sample("budget.xlsx"), "xlsx"),
    ("pptx", sample("slides.pptx"), "pptx"),
    ("docm", content_types("ms-word.document.macroEnabled.main"), "docx"),
    ("xlsm", content_types("ms-excel.sheet.macroEnabled.main"), "xlsx"),
    ("ppsx", content_types("openxmlformats-officedocument.presentationml.slideshow.main"), "pptx"),
    ("docx without types", zipped({"word/document.xml": "<w/>"}), "docx"),
    ("odt", odf("text"), "odt"),
    ("ott", odf("text-template"), "odt"),
    ("ods", odf("spreadsheet"), "ods"),
    ("odp", odf("presentation"), "odp"),
    ("epub", zipped({"mimetype": "application/epub+zip\n"}), "epub"),
    ("doc", ole(("WordDocument", bytes(12))), "doc"),
    ("xls", ole(("Workbook", struct.pack("<HH", 0x809, 4) + bytes(4))), "xls"),
    ("ppt", ole(("PowerPoint Document", b"")), "ppt"),
    ("msg", ole(("__properties_version1.0", b"")), "msg"),
    ("rtf", rb"{\rtf1\ansi hello}", "rtf"),
    ("png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01IEND", "png"),
    ("jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\xff\xd9", "jpg"),
    ("tiff", b"II*\0\x08\0\0\0", "tiff"),
    ("gif", b"GIF89a\x01\0\x01\0;", "gif"),
    ("html", sample("page.html"), "html"),
    ("html after a comment", b"\n<!-- saved from -->\n<HTML><body>x</body>", "html"),
    ("xhtml", b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "x"><html xmlns="y"/>', "html"),
    ("html fragment", b"<div><p>a</p><p>b</p><a href='x'>c</a></div>", "html"),
    ("xml", b'<?xml version="1.0"?><a><p>x</p><p>y</p><p>z</p></a>', "xml"),
    ("xml in utf-16", '<?xml version="1.0" encoding="utf-16"?><a>x</a>'.encode("utf-16"), "xml"),
    ("json", b'{"a": [1, 2]}', "json"),
    ("eml", MAIL, "eml"),
    ("eml in an mbox", b"From a@example.com Mon Jan  1 00:00:00 2024\n" + MAIL, "eml"),
    ("csv by shape", b"a,b,c\n1,2,3\n4,5,6\n", "csv"),
    ("tsv by shape", b"a\tb\tc\n1\t2\t3\n4\t5\t6\n", "tsv"),
    ("txt", b"Dear Sir, a letter.\nIt has commas, too.\n", "txt"),
    ("txt in utf-16 without a mark", "Hello world, this is text".encode("utf-16-le"), "txt"),
    ("txt in shift-jis", sample("shift-jis.txt"), "txt"),
]


@pytest.fixture
def judge(tmp_path: Path) -> Callable[..., Identity]:
    def call(data: bytes, *, declared: str = "", file_name: str = "") -> Identity:
        path = tmp_path / "document"
        path.write_bytes(data)
        return identify(path, declared=declared, file_name=file_name)

    return call


@pytest.mark.parametrize(("data", "expected"), [v[1:] for v in VECTORS], ids=[v[0] for v in VECTORS])
def test_the_bytes_decide(judge: Callable[..., Identity], data: bytes, expected: str) -> None:
    found = judge(data)
    assert found.extension == expected
    assert found.content_type == CONTENT_TYPES[expected]
    assert found.warnings == ()


@pytest.mark.parametrize(("data", "expected"), [v[1:] for v in VECTORS[:24]], ids=[v[0] for v in VECTORS[:24]])
def test_a_false_claim_is_a_warning_and_changes_nothing(
    judge: Callable[..., Identity], data: bytes, expected: str
) -> None:
    lie = "image/png" if expected != "png" else "application/pdf"
    found = judge(data, declared=lie, file_name="picture.bmp")
    assert found.extension == expected
    assert found.declared == lie
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("type_mismatch: the content type says")


@pytest.mark.parametrize(
    ("data", "name", "declared", "expected"),
    [
        (b"# Title\n\ntext", "notes.md", "", "md"),
        (b"# Title\n\ntext", "", "text/markdown; charset=utf-8", "md"),
        (b"one column\nonly", "list.csv", "", "csv"),
        (b"a,b\n1,2\n", "", "text/csv", "csv"),
        (b"a,b,c\n1,2,3\n4,5,6\n", "plain.txt", "", "txt"),
        (b"[section]\nkey = value\n", "config.txt", "", "txt"),
        (b'{"a": 1}\n{"a": 2}\n', "lines.jsonl", "", "json"),
        (b"Subject : old style\r\n\r\nbody", "old.eml", "", "eml"),
        (b"just words", "page.html", "", "html"),
        (b"<!DOCTYPE html><html></html>", "wrong.csv", "text/plain", "html"),
    ],
)
def test_among_text_formats_the_claim_helps(
    judge: Callable[..., Identity], data: bytes, name: str, declared: str, expected: str
) -> None:
    assert judge(data, declared=declared, file_name=name).extension == expected


def test_declaring_plain_text_for_any_text_format_is_no_mismatch(judge: Callable[..., Identity]) -> None:
    assert judge(b"a;b\n", declared="text/plain", file_name="x.csv").warnings == ()
    assert judge(b"%PDF-1.4\n", declared="text/plain").warnings != ()
    assert judge(b"%PDF-1.4\n%%EOF", declared="application/octet-stream").warnings == ()


PDF, PNG, GIF = sample("two-pages.pdf"), sample("photo.png"), b"GIF89a\x01\0\x01\0\0\0\0;"
ZIP = zipped({"a.txt": "hidden"})
CUT_OFF = "cut_off: the end of the file is missing"


def polyglot(first: str, second: str) -> str:
    return f"polyglot: the file is read as {first}, and other programs take it for {second}"


ODDITIES: list[tuple[str, bytes, str, str]] = [
    ("pdf behind html", b"<html><body>x</body>" + PDF, "pdf", polyglot("pdf", "html")),
    ("pdf behind a script", b"#!/bin/sh\n" + PDF, "pdf", polyglot("pdf", "script")),
    ("pdf inside a gif", GIF + PDF, "pdf", polyglot("pdf", "gif")),
    ("zip behind a pdf", PDF + ZIP, "pdf", polyglot("pdf", "zip")),
    ("zip behind a picture", PNG + ZIP, "png", polyglot("png", "zip")),
    ("zip behind words", b"words and words\n" * 9 + ZIP, "", ""),
    ("pdf inside a zip", zipped({"a.pdf": b"%PDF-1.4", "word/document.xml": "<w/>"}), "docx",
     polyglot("docx", "pdf")),
    ("junk before a pdf", b"\r\n\r\n" + PDF, "pdf", ""),
    ("a zip in the middle of a pdf", PDF.replace(b"%%EOF", ZIP + b"\n%%EOF"), "pdf", ""),
    ("pdf cut off", PDF[:-40], "pdf", CUT_OFF),
    ("png cut off", PNG[:2000], "png", CUT_OFF),
    ("a text about pdf", b"A file that begins with %PDF-1.7 is a PDF file.\n", "txt", ""),
    ("a page about pdf", b"<html><p>Begin with %PDF-1.7, said the book.</p></html>", "html", polyglot("html", "pdf")),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected", "warning"), [v[1:] for v in ODDITIES], ids=[v[0] for v in ODDITIES])
def test_files_that_are_two_things_or_cut_off_are_told(
    judge: Callable[..., Identity], data: bytes, expected: str, warning: str
) -> None:
    if not expected:
        with pytest.raises(UnsupportedType):
            judge(data)
        return
    found = judge(data)
    assert (found.extension, found.warnings) == (expected, (warning,) if warning else ())


def test_what_was_declared_and_how_the_file_was_named_is_kept(judge: Callable[..., Identity]) -> None:
    found = judge(PDF, declared="text/csv; charset=utf-8", file_name="My Report.FINAL.Docx")
    assert (found.extension, found.declared, found.named) == ("pdf", "text/csv; charset=utf-8", "docx")
    assert [warning.partition(":")[0] for warning in found.warnings] == ["type_mismatch"] * 2
    assert judge(PDF, file_name="no ending").named == ""


def filepass() -> bytes:
    return struct.pack("<HHI", 0x809, 4, 0) + struct.pack("<HH", 0x2F, 2) + b"\1\0"


REFUSED: list[tuple[str, bytes, type[ExtractionError]]] = [
    ("nothing", b"", Empty),
    ("only white space", b" \r\n\t\n" * 10, Empty),
    ("only zeros", bytes(5000), Empty),
    ("encrypted ooxml", ole(("EncryptedPackage", b"x"), ("EncryptionInfo", b"y")), Encrypted),
    ("encrypted doc", ole(("WordDocument", bytes(10) + b"\0\x01")), Encrypted),
    ("encrypted xls", ole(("Workbook", filepass())), Encrypted),
    ("encrypted odt", odf("text", '<manifest:encryption-data manifest:checksum=""/>'), Encrypted),
    ("epub with drm", zipped({"mimetype": "application/epub+zip", "META-INF/encryption.xml":
        '<enc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>'}), Encrypted),
    ("cut docx", sample("letter.docx")[:-30], Damaged),
    ("half docx", sample("letter.docx")[:900], Damaged),
    ("cut ole", ole(("WordDocument", bytes(9000)))[:700], Damaged),
    ("png without header", b"\x89PNG\r\n\x1a\n\0\0", Damaged),
    ("plain zip", zipped({"a.txt": "x"}), UnsupportedType),
    ("other ole", ole(("Unknown", b"x")), UnsupportedType),
    ("program", b"\x7fELF\x02\x01\x01" + bytes(100), UnsupportedType),
    ("random", bytes((i * 197 + 13) % 256 for i in range(4000)), UnsupportedType),
    ("video", b"\0\0\0\x20ftypisom" + bytes(100), UnsupportedType),
    ("pixel bomb", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 20_000, 20_000), DecompressionBomb),
    ("zip bomb", zipped({"word/document.xml": bytes(70 * 1024 * 1024)}, compress=True), DecompressionBomb),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), [v[1:] for v in REFUSED], ids=[v[0] for v in REFUSED])
def test_what_cannot_be_read_is_refused_before_any_engine_runs(
    judge: Callable[..., Identity], data: bytes, expected: type[ExtractionError]
) -> None:
    with pytest.raises(ExtractionError) as caught:
        judge(data, file_name="document.docx")
    assert type(caught.value) is expected
    assert not caught.value.retryable
    assert str(caught.value)


def test_obfuscated_fonts_do_not_make_a_book_encrypted(judge: Callable[..., Identity]) -> None:
    rules = '<enc:EncryptionMethod Algorithm="http://www.idpf.org/2008/embedding"/>'
    book = zipped({"mimetype": "application/epub+zip", "META-INF/encryption.xml": rules})
    assert judge(book).extension == "epub"


def test_a_directory_of_a_million_entries_is_refused_without_reading_it(judge: Callable[..., Identity]) -> None:
    end = b"PK\x05\x06" + bytes(8) + struct.pack("<II", 200 * 1024 * 1024, 30) + bytes(2)
    with pytest.raises(DecompressionBomb):
        judge(b"PK\x03\x04" + bytes(26) + end)


def test_a_directory_that_only_its_second_end_record_owns_up_to_is_refused(judge: Callable[..., Identity]) -> None:
    # Given an archive with a directory of 9 MiB, of which the ZIP64 record tells the size and the other one nothing
    archive = zipped({f"{number}{'n' * 20_000}": b"" for number in range(450)})
    at = archive.rfind(b"PK\x05\x06")
    start = archive.find(b"PK\x01\x02")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 450, 450, at - start, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)
    end = b"PK\x05\x06" + bytes(18)
    # Then it is not read
    with pytest.raises(DecompressionBomb):
        judge(archive[:at] + record + locator + end)


@pytest.mark.parametrize(("entries", "expected"), [(20_000, UnsupportedType), (20_001, DecompressionBomb)])
def test_an_archive_lists_so_many_files_and_no_more(
    judge: Callable[..., Identity], entries: int, expected: type[ExtractionError]
) -> None:
    """Each is an object that the worker makes while its other threads wait."""
    entry = b"PK\x01\x02" + bytes(24) + (1).to_bytes(2, "little") + bytes(16) + b"a"
    end = struct.pack("<HHHHIIH", 0, 0, entries, entries, len(entry) * entries, 30, 0)
    with pytest.raises(expected):
        judge(b"PK\x03\x04" + bytes(26) + entry * entries + b"PK\x05\x06" + end)


class Counted(io.BytesIO):
    """A file that counts what is read of it."""

    read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.read_bytes += len(data)
        return data


def test_of_an_ole_file_the_top_of_the_directory_is_read_and_the_beginning_of_a_stream() -> None:
    # Given a document whose text is long, and whose directory names itself as its neighbour
    data = bytearray(ole(("WordDocument", b"\xec\xa5" + bytes(50_000)), ("Data", bytes(5000))))
    entry = data.index("Data".encode("utf-16-le"))
    data[entry + 68 : entry + 76] = struct.pack("<II", 2, 1)
    file = Counted(data)
    with Directory(file) as container:
        # Then each name is looked at once
        assert sorted(container.top) == ["data", "worddocument"]
        assert container.looked_at == 2
        # And of the text 4 KiB are read
        before = file.read_bytes
        assert container.beginning("worddocument")[:2] == b"\xec\xa5"
        assert file.read_bytes - before == 4096


@pytest.mark.parametrize("unit", [b"a", b"a b\n", "é".encode(), "é".encode("utf-16-le"), b"\xe9 ", bytes(range(256))])
def test_of_a_long_text_16_kib_are_decoded(unit: bytes) -> None:
    """To guess an encoding takes the worker milliseconds for each KiB."""
    assert TEXT_BYTES - 4096 - 4 <= len(beginning_of_text(unit * 70_000)) <= TEXT_BYTES
    assert beginning_of_text(unit) == unit


def test_tables_of_an_ole_file_that_lead_round_in_a_circle_are_refused(judge: Callable[..., Identity]) -> None:
    # Given a list of table sectors whose only sector names itself as the next, of a million
    data = bytearray(ole(("WordDocument", bytes(12))))
    circle = len(data) // 512 - 1
    data += struct.pack("<128I", *[0] * 127, circle)
    data[44:48] = struct.pack("<I", 109 + 127 * 1_000_000)
    data[68:76] = struct.pack("<II", circle, 1_000_000)
    # Then nobody goes round a million times
    with pytest.raises(Damaged):
        judge(bytes(data))


@pytest.mark.parametrize("page", ["<html>x", "no page"])
def test_a_thousand_comments_hold_nobody_up(judge: Callable[..., Identity], page: str) -> None:
    found = judge(b"<!-- -->" * 1_000 + page.encode())
    assert found.extension == ("html" if page == "<html>x" else "txt")


def test_what_is_packed_as_in_no_document_is_no_sign_and_no_failure(judge: Callable[..., Identity]) -> None:
    # Given a list of types that is packed with LZMA, and damaged
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("[Content_Types].xml", OOXML.format("ms-excel.sheet.main") * 20, zipfile.ZIP_LZMA)
        archive.writestr("word/document.xml", "<w/>")
    data = bytearray(out.getvalue())
    data[70:90] = bytes(20)
    # Then the names of the other parts decide
    assert judge(bytes(data)).extension == "docx"


BASES = [sample("letter.docx"), sample("two-pages.pdf"), sample("message.eml"), ole(("WordDocument", bytes(12))),
         sample("page.html"), json.dumps({"a": [1]}).encode()]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(BASES),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    st.integers(0, 10_000),
)
def test_whatever_the_bytes_the_answer_is_an_identity_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, base: bytes, flips: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(base[: max(1, len(base) - cut)])
    for position, value in flips:
        data[position % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(data)
    try:
        found = identify(path, declared="", file_name="x.bin")
    except DocumentError as error:
        assert not error.retryable
        return
    assert found.extension in CONTENT_TYPES


def test_the_ole_helper_of_these_tests_makes_files_that_open(tmp_path: Path) -> None:
    path = tmp_path / "x.doc"
    path.write_bytes(ole(("Workbook", bytes(8)), ("Other", bytes(5000))))
    assert ole_format(path) == "xls"
