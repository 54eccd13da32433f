"""The engines that run system programs, on the real programs. `.ci/run` installs all of them but LibreOffice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from documents.extraction.base import Extraction, Ocr
from documents.extraction.engines import ocr
from documents.extraction.engines.catdoc import CatdocEngine
from documents.extraction.engines.libreoffice import LibreOfficeEngine
from documents.extraction.engines.pdfium import PdfiumEngine
from documents.extraction.engines.textract_engine import TextractEngine
from documents.extraction.identify import identify
from documents.extraction.sandbox import Sandbox
from tests.documents.extraction.conftest import SAMPLES, Listener
from tests.documents.extraction.hostile import calling_home
from tests.documents.extraction.legacy import doc

Needs = Callable[..., None]
ExtractWith = Callable[..., Extraction]
RTF = rb"{\rtf1\ansi{\fonttbl{\f0 Arial;}}\f0 A note in \b rich\b0  text.\par}"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(size=1, temp_root=tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("name", ["photo.png", "scanned.pdf"])
def test_pictures_are_read_by_tesseract_where_it_is_installed(needs: Needs, sandbox: Sandbox, name: str) -> None:
    needs("tesseract-ocr", "tesseract")
    # When a picture and a scan go through the sandbox, with tools
    path = SAMPLES / name
    found = sandbox.extract(path, identity=identify(path, declared="", file_name=name))
    # Then tesseract read them, and not the engine that needs no program
    assert found.metadata["ocr"]["engine"] == "tesseract"
    assert ("Monday to Friday" if name == "photo.png" else "handed over at the harbour") in found.text


def test_tesseract_is_asked_in_the_languages_that_are_wanted_and_installed(needs: Needs) -> None:
    needs("tesseract-ocr", "tesseract")
    assert ocr.chosen_languages(Ocr(languages=("eng", "no-such-language"))) == ["eng"]
    assert ocr.chosen_languages(Ocr(languages=("no-such-language",)))[0] == "eng"


@pytest.mark.parametrize(
    ("package", "program", "name", "data", "words"),
    [
        ("tesseract-ocr", "tesseract", "photo.png", None, "Monday to Friday"),
        ("poppler-utils", "pdftotext", "two-pages.pdf", None, "Contract of sale"),
        ("unrtf", "unrtf", "note.rtf", RTF, "A note in rich text."),
    ],
)
def test_textract_reads_with_the_programs_that_it_needs(
    needs: Needs, extract_with: ExtractWith, package: str, program: str, name: str, data: bytes | None, words: str
) -> None:
    needs(package, program)
    found = extract_with(TextractEngine(), data or (SAMPLES / name).read_bytes(), name)
    assert words in found.text


def test_catdoc_reads_old_word_files(needs: Needs, extract_with: ExtractWith) -> None:
    needs("catdoc", "catdoc")
    assert "A letter of 1999." in extract_with(CatdocEngine(), doc("A letter of 1999.\r"), "old.doc").text


@pytest.mark.parametrize("name", ["a.odt", "a.rtf", "a.docx"])
def test_libre_office_fetches_nothing_although_it_could(
    needs: Needs, extract_with: ExtractWith, listener: Listener, name: str
) -> None:
    needs("libreoffice-writer", "soffice", in_ci=False)
    # When a document that names a picture, a template or a section on a server is converted outside the sandbox
    found = extract_with(LibreOfficeEngine(PdfiumEngine()), calling_home(listener.url)[name], name)
    assert "text" in found.text
    # Then the server, which listens, has not been asked
    assert listener.reached == []


def test_libre_office_reads_page_by_page(needs: Needs, extract_with: ExtractWith) -> None:
    # It weighs half a gigabyte: nobody is made to install it for the tests, CI neither.
    needs("libreoffice-writer", "soffice", in_ci=False)
    found = extract_with(LibreOfficeEngine(PdfiumEngine()), RTF, "note.rtf")
    assert "A note in rich text." in found.text
    assert (found.engine, len(found.pages)) == ("libreoffice", 1)
