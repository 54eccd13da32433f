"""The committed samples: made by their script, and completed through the real sandbox with pip packages alone."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from documents.extraction.base import Extraction, Options
from documents.extraction.errors import ExtractionError
from documents.extraction.identify import identify
from documents.extraction.sandbox import Sandbox
from documents.rendering import json_chunks, text_chunks
from tests.documents.extraction.conftest import SAMPLES, sample_paths


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox(size=1, temp_root=tmp_path_factory.mktemp("sandbox"))
    yield made
    made.close()


def test_the_script_makes_exactly_the_committed_files() -> None:
    spec = importlib.util.spec_from_file_location("make_samples", SAMPLES / "make_samples.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.make_all() == {path.name: path.read_bytes() for path in sample_paths()}


@pytest.mark.parametrize("path", sample_paths(), ids=lambda path: path.name)
def test_every_sample_completes(sandbox: Sandbox, path: Path) -> None:
    # When a sample goes through identification and the sandbox
    identity = identify(path, declared="", file_name=path.name)
    found = sandbox.extract(path, identity=identity)
    # Then it has text, pages that add up to it, and the record of the engine that read it
    assert identity.extension == path.suffix[1:]
    assert identity.warnings == ()
    assert len(found.text) > 60
    assert "\n\n".join(page.text for page in found.pages) == found.text
    assert found.engine in [one.engine for one in found.tried if one.reason in ("", "needs_ocr")]
    assert "no_text_found" not in found.warnings
    # And both representations hold it
    assert b"".join(text_chunks(found)).decode() == found.text
    document = json.loads(b"".join(json_chunks(found, {"sha256": "abc"})))
    assert document["text"] == found.text
    assert [page["text"] for page in document["pages"]] == [page.text for page in found.pages]
    assert document["metadata"] == found.metadata
    assert document["sha256"] == "abc"
    assert document["markdown"] == found.markdown


def test_a_scan_is_read_page_by_page_and_typed_pages_are_left_alone(sandbox: Sandbox) -> None:
    path = SAMPLES / "scanned.pdf"
    found = sandbox.extract(path, identity=identify(path, declared="", file_name=path.name))
    assert "handed over at the harbour" in found.pages[0].text
    assert found.pages[1].text.strip() == "This second page was typed, not scanned."
    assert found.metadata["ocr"]["pages"] == [1]
    assert [one.engine for one in found.tried] == ["pypdfium2", "ocr"]


def test_recognition_is_switched_off_or_forced_for_one_document(sandbox: Sandbox) -> None:
    def read(name: str, options: Options) -> Extraction:
        path = SAMPLES / name
        return sandbox.extract(path, identity=identify(path, declared="", file_name=name), options=options)

    # Off: what is typed is there, and the result says that nobody looked at the pictures
    scan, photo = read("scanned.pdf", Options(ocr="off")), read("photo.png", Options(ocr="off"))
    assert [bool(page.text.strip()) for page in scan.pages] == [False, True]
    assert "ocr_off" in scan.warnings
    assert "ocr" not in scan.metadata
    assert (photo.text, set(photo.warnings)) == ("", {"ocr_off", "no_text_found"})
    assert len(photo.tried) == 1
    # Forced: every page is read from its picture
    forced = read("scanned.pdf", Options(ocr="force", languages=("eng",)))
    assert forced.metadata["ocr"]["pages"] == [1, 2]
    assert "typed" in forced.pages[1].text
    # And the next document is read as usual
    assert read("scanned.pdf", Options()).metadata["ocr"]["pages"] == [1]


@pytest.mark.timeout(300)  # Two pictures by a model: seconds on a free core, minutes on one that many share.
def test_pictures_are_read_with_pip_packages_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RapidOCR, in a child whose PATH holds no program; about three seconds."""
    # Given a machine without system tools
    monkeypatch.setenv("PATH", str(tmp_path))
    bare = Sandbox(size=1, temp_root=tmp_path)
    try:
        for name, words in (("photo.png", "Monday to Friday from nine to five"), ("scanned.pdf", "crates were handed")):
            # When a picture and a scan are read
            path = SAMPLES / name
            found = bare.extract(path, identity=identify(path, declared="", file_name=name))
            # Then their words are there
            assert words in found.text
            assert found.metadata["ocr"]["engine"] == "rapidocr"
    finally:
        bare.close()


def test_a_sample_with_flipped_bytes_ends_clearly(sandbox: Sandbox, tmp_path: Path) -> None:
    """Sixty damaged samples: text or one of the clear ends, never a crash that reaches the caller."""
    random = Random(2026)
    path = tmp_path / "flipped"
    for number in range(60):
        source = sample_paths()[number % len(sample_paths())]
        data = bytearray(source.read_bytes())
        for _ in range(random.choice((1, 4, 32))):
            data[random.randrange(len(data))] = random.randrange(256)
        path.write_bytes(data)
        try:
            found = sandbox.extract(path, identity=identify(path, declared="", file_name=source.name))
        except ExtractionError as error:
            assert error.code in ("damaged", "unsupported_type", "encrypted", "decompression_bomb"), source.name
        else:
            assert found.text.strip() or "no_text_found" in found.warnings
