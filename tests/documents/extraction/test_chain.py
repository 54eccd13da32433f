"""The order of engines, and which end is chosen when several went wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from documents.exceptions import DocumentError
from documents.extraction.base import Extraction, Identity, JsonValue, Page, Request, extraction
from documents.extraction.chain import run
from documents.extraction.errors import (
    ERRORS,
    Damaged,
    Encrypted,
    ExtractionError,
    MissingDependency,
    OcrUnavailable,
    UnsupportedType,
    from_wire,
)
from documents.extraction.formats import CONTENT_TYPES
from documents.extraction.registry import ENGINES


class Scripted:
    """An engine that gives what the test says: a text or an error."""

    spawns = False

    def __init__(
        self, name: str, outcome: str | Exception, *, pictures: int = 0, metadata: dict[str, JsonValue] | None = None
    ) -> None:
        self.name, self._outcome = name, outcome
        self._metadata: dict[str, JsonValue] = {"pages_without_text": pictures or None, **(metadata or {})}
        self.runs = 0

    def accepts(self, identity: Identity) -> bool:
        return True

    def extract(self, request: Request) -> Extraction:
        self.runs += 1
        if isinstance(self._outcome, Exception):
            raise self._outcome
        pages = [Page(number=1, text=self._outcome)]
        return extraction(self.name, request, pages, metadata=self._metadata)


def request() -> Request:
    return Request(
        path=Path("x"), work_dir=Path(), max_pages=1, output_bytes=100, report=lambda *report: None,
        identity=Identity(content_type="text/plain", extension="x"),
    )  # fmt: skip


def tried(outcome: Extraction | ExtractionError) -> list[tuple[str, str]]:
    return [(one.engine, one.reason) for one in outcome.tried]


def test_the_first_engine_that_gives_text_wins() -> None:
    last = Scripted("c", "never reached")
    found = run(request(), {"x": (Scripted("a", Damaged()), Scripted("b", "text"), last)})
    assert (found.engine, found.text) == ("b", "text")
    assert tried(found) == [("a", "damaged"), ("b", "")]
    assert last.runs == 0


def test_an_empty_result_makes_room_for_the_next_engine() -> None:
    found = run(request(), {"x": (Scripted("a", " \n"), Scripted("b", "text"))})
    assert tried(found) == [("a", "no_text_found"), ("b", "")]


def test_a_document_without_text_is_completed_with_a_warning() -> None:
    found = run(request(), {"x": (Scripted("a", ""), Scripted("b", Damaged()))})
    assert found.engine == "a"
    assert found.warnings == ("no_text_found",)


def test_pictures_without_recognition_are_never_completed_with_nothing() -> None:
    engines = (Scripted("a", "", pictures=3), Scripted("ocr", OcrUnavailable(package="tesseract-ocr")))
    with pytest.raises(OcrUnavailable) as caught:
        run(request(), {"x": engines})
    assert tried(caught.value) == [("a", "no_text_found"), ("ocr", "ocr_unavailable")]


def test_a_final_error_stops_the_chain() -> None:
    last = Scripted("b", "text")
    with pytest.raises(Encrypted) as caught:
        run(request(), {"x": (Scripted("a", Encrypted()), last)})
    assert last.runs == 0
    assert tried(caught.value) == [("a", "encrypted")]


def test_damage_says_more_than_a_missing_tool() -> None:
    engines = (Scripted("a", MissingDependency(package="unrtf")), Scripted("b", Damaged()))
    with pytest.raises(Damaged):
        run(request(), {"x": engines})


def test_engines_that_crashed_before_are_skipped() -> None:
    first = Scripted("a", "text of a")
    assert run(request(), {"x": (first, Scripted("b", "text"))}, skip=["a"]).engine == "b"
    assert first.runs == 0


def test_a_format_without_engine_is_unsupported() -> None:
    with pytest.raises(UnsupportedType, match="x"):
        run(request(), {})


def test_every_engine_in_the_table_accepts_its_format() -> None:
    for extension, engines in ENGINES.items():
        identity = Identity(content_type=CONTENT_TYPES[extension], extension=extension)
        assert engines
        assert all(engine.accepts(identity) for engine in engines), extension


@pytest.mark.parametrize("kind", ERRORS.values(), ids=lambda kind: kind.code)
def test_every_error_crosses_the_pipe_as_itself(kind: type[ExtractionError]) -> None:
    back = from_wire(kind(evidence={"signal": "SIGSEGV"}).to_wire())
    assert type(back) is kind
    assert str(back) == str(kind())
    assert back.evidence["signal"] == "SIGSEGV"


def all_errors() -> list[type[DocumentError]]:
    found, todo = [], [DocumentError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    return found


def test_codes_are_unique_except_where_two_layers_mean_the_same_end() -> None:
    layers = ("documents.exceptions", "documents.extraction.errors")
    codes = [kind.code for kind in all_errors() if kind.__module__ in layers]
    doubles = {code for code in codes if codes.count(code) > 1}
    assert doubles == {"too_large", "cancelled"}


def test_the_docstring_is_the_message() -> None:
    assert str(Encrypted()) == "The document is protected by a password. Remove the protection and submit it again."
    assert str(Encrypted("other")) == "other"


class Finishing:
    """A finisher that always wants to look, and ends as told."""

    name = "finisher"
    spawns = False

    def __init__(self, error: Exception | None = None, text: str = "") -> None:
        self._error, self._text = error, text

    def wanted(self, found: Extraction, request: Request) -> bool:
        return True

    def finish(self, request: Request, found: Extraction) -> Extraction:
        if self._error is not None:
            raise self._error
        return dataclasses.replace(found, text=found.text + self._text)


def outcome_with(engine: Scripted, finisher: Finishing, **options: tuple[str, ...]) -> Extraction:
    return run(request(), {"x": (engine,)}, finishers={"x": finisher}, **options)


def test_pictures_that_nobody_could_read_are_an_error_and_not_an_empty_result() -> None:
    with pytest.raises(OcrUnavailable):
        outcome_with(Scripted("a", "", pictures=2), Finishing(OcrUnavailable(package="tesseract-ocr")))
    with pytest.raises(Damaged):
        outcome_with(Scripted("a", "", pictures=2), Finishing(ZeroDivisionError()))


def test_text_that_was_read_is_kept_with_a_warning_when_ocr_fails() -> None:
    found = outcome_with(Scripted("a", "page one", pictures=1), Finishing(OcrUnavailable(package="tesseract-ocr")))
    assert (found.text, found.warnings) == ("page one", ("ocr_unavailable",))
    found = outcome_with(Scripted("a", "page one", pictures=1), Finishing(ZeroDivisionError()))
    assert (found.text, found.warnings) == ("page one", ("ocr_failed",))


def test_a_finisher_that_killed_its_process_is_not_asked_again() -> None:
    found = outcome_with(Scripted("a", "page one"), Finishing(text="!"), skip=("finisher",))
    assert (found.text, found.warnings) == ("page one", ("ocr_failed",))


def test_a_finisher_that_finds_nothing_leaves_a_warning() -> None:
    found = outcome_with(Scripted("a", "", pictures=1), Finishing())
    assert found.warnings == ("no_text_found",)


def test_a_picture_in_which_ocr_found_nothing_is_completed_whatever_the_next_engine_lacks() -> None:
    looked = Scripted("ocr", "", pictures=1, metadata={"ocr": {"engine": "rapidocr"}})
    found = run(request(), {"x": (looked, Scripted("b", OcrUnavailable(package="tesseract-ocr")))})
    assert found.warnings == ("no_text_found",)


def test_garbage_makes_the_next_engine_speak() -> None:
    found = run(request(), {"x": (Scripted("a", "\ufffd\ue000" * 50), Scripted("b", "plain words in the clear" * 10))})
    assert found.engine == "b"
    assert tried(found) == [("a", "garbled_text"), ("b", "")]


def test_garbage_in_every_engine_is_said() -> None:
    found = run(request(), {"x": (Scripted("a", "ab\ufffd\ue000"),)})
    assert found.warnings == ("text_may_be_incomplete",)
