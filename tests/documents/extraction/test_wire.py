"""What a child may answer, field by field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents.extraction import wire
from documents.extraction.base import Extraction, Page
from documents.extraction.child import handed_over
from documents.extraction.errors import ExtractorCrashed

GOOD: dict[str, Any] = {
    "text": "one\n\nzwei ✓", "markdown": "", "engine": "good", "content_type": "text/plain", "warnings": ["odd: 1"],
    "metadata": {"pages": 2, "title": "Größe", "ratio": 0.5, "attachments": [{"name": "a"}], "dpi": None},
    "pages": [[1, "", 0, 3], [2, "b", 5, 11]], "tried": [{"engine": "good", "seconds": 0.25, "reason": ""}],
}  # fmt: skip


NESTED: list[Any] = []
for _ in range(60):
    NESTED = [NESTED]


def extraction(**changes: Any) -> Any:
    return wire.extraction_from(wire.parsed(json.dumps({**GOOD, **changes}).encode()), ("from outside",))


def test_what_an_honest_child_answers_comes_through() -> None:
    found = extraction()
    assert [(page.number, page.label, page.text) for page in found.pages] == [(1, "", "one"), (2, "b", "zwei ✓")]
    assert found.metadata == GOOD["metadata"]
    assert found.warnings == ("from outside", "odd: 1")
    assert (found.tried[0].engine, found.tried[0].seconds) == ("good", 0.25)


def test_a_page_whose_name_is_as_long_as_its_text_comes_through(tmp_path: Path) -> None:
    """A chapter whose title is never closed is named by all that follows."""
    found = Extraction(
        text="text", pages=(Page(number=1, label="x" * 30_000, text="text"),), engine="epub", content_type="text/plain"
    )
    (page,) = wire.extraction_from(handed_over(found, tmp_path, limit=1000), ()).pages
    assert (page.text, page.label) == ("text", "x" * 500)


@pytest.mark.parametrize(
    "changes",
    [
        {"text": None},
        {"text": "nul \0"},
        {"text": "half of a pair \ud800", "pages": []},
        {"metadata": {"title": ["deep", {"x": "\udfff"}]}},
        {"metadata": {"created": float("nan")}},
        {"metadata": {"created": float("-inf")}},
        {"metadata": {"pages": 10**30}},
        {"metadata": {"deep": NESTED}},
        {"metadata": []},
        {"engine": "x" * 1000},
        {"warnings": "text"},
        {"warnings": [1]},
        {"pages": [[1, "", 0, 12]]},
        {"pages": [[1, "", -3, 3]]},
        {"pages": [[1, "", 3, 0]]},
        {"pages": [[True, "", 0, 3]]},
        {"pages": [["1", "", 0, 3]]},
        {"pages": [[1, 0, 3]]},
        {"pages": [[1, "", 0, 3.0]]},
        {"pages": [[1, "", 0, 11], [2, "", 0, 11]]},
        {"pages": [[1, "", 0, 0]] * 100_001},
        {"tried": [{"engine": "good", "seconds": -1, "reason": ""}]},
        {"tried": [{"engine": "good", "seconds": True, "reason": ""}]},
        {"tried": ["good"]},
        {"tried": [GOOD["tried"][0]] * 101},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_anything_else_is_nonsense(changes: dict[str, Any]) -> None:
    """Also one text shared by many pages, which would become as many copies of it in the worker."""
    with pytest.raises(ExtractorCrashed, match="nonsense"):
        extraction(**changes)


def test_evidence_that_is_nested_too_deeply_is_nonsense() -> None:
    """Python 3.13 reads it, and whoever went through it afterwards would end with a RecursionError."""
    with pytest.raises(wire.Nonsense):
        wire.error_from({"code": "damaged", "message": "", "evidence": {"deep": NESTED}, "tried": []})


@pytest.mark.parametrize(
    "line", [b"", b"[]", b'{"x": 1e999}', b'{"x": Infinity}', b'{"x": "\xed\xa0\x80"}', b'{"x":' + b"[" * 100_000]
)
def test_a_line_is_an_object_of_finite_numbers_in_utf_8(line: bytes) -> None:
    with pytest.raises(wire.Nonsense):
        wire.parsed(line)


TEXT = st.text(st.sampled_from("aé\0\ud800"), max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted({*GOOD, "code", "message", "evidence", "stage", "done", "since"})), JSON))
def test_whatever_is_answered_is_an_extraction_or_nonsense(fields: dict[str, Any]) -> None:
    line = json.dumps({**GOOD, **fields}).encode()
    for read in (lambda said: wire.extraction_from(said, ()), wire.error_from, wire.progress_from):
        try:
            read(wire.parsed(line))
        except wire.Nonsense:
            continue
    wire.at_work(line)
