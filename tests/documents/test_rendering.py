"""The representations of a result: what is stored of it, and the JSON that is put together from that."""

import json
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from documents import rendering
from documents.extraction.base import Extraction, Page
from documents.storage import DirectoryResultStore


@pytest.fixture
def results(tmp_path: Path) -> DirectoryResultStore:
    return DirectoryResultStore(tmp_path / "results")


def extraction(*texts: str) -> Extraction:
    pages = tuple(Page(number=number, text=text, label=f"p{number}") for number, text in enumerate(texts, start=1))
    return Extraction(
        text="\n\n".join(texts), pages=pages, engine="e", content_type="text/plain", metadata={"title": "t"}
    )


LONG = extraction('aé€😀"\\\n\x01\x7f' * 200_000, "second", "", "fourth")


def test_a_long_text_comes_in_chunks_and_reads_back_whole() -> None:
    # Given a text of several chunks, with characters of every width at their borders
    # Then both representations hold it unchanged
    assert b"".join(rendering.text_chunks(LONG)).decode() == LONG.text
    document = json.loads(b"".join(rendering.json_chunks(LONG)))
    assert document["text"] == LONG.text
    assert [page["text"] for page in document["pages"]] == [page.text for page in LONG.pages]
    assert document["pages"][1] == {"number": 2, "label": "p2", "text": "second"}
    assert document["metadata"] == {"title": "t"}


@pytest.mark.parametrize(
    "found",
    [LONG, extraction("short", "two"), extraction(), extraction(""), extraction("a\ud800b"),
     replace(extraction("a"), markdown="# ä\n" * 50_000, warnings=("w",))],
    ids=["long", "short", "no pages", "empty page", "half a pair", "markdown"],
)  # fmt: skip
def test_the_json_of_a_stored_result_is_that_of_the_extraction_and_the_text_is_stored_once(
    found: Extraction, results: DirectoryResultStore
) -> None:
    # Given a stored result
    source = {"source": {"sha256": "0", "bytes": 1}}
    key = results.write(uuid.uuid4(), 1, rendering.stored_chunks(found, source))
    # When its JSON is put together
    stored = rendering.StoredResult(results, key)
    document = stored.document
    data = b"".join(document.chunks)
    # Then it is byte by byte what the extraction says, and as long as was announced
    assert data == b"".join(rendering.json_chunks(found, source))
    assert len(data) == document.size
    # And text and Markdown come back, the text where there is no Markdown
    assert b"".join(stored.text.chunks) == b"".join(rendering.text_chunks(found))
    assert (
        b"".join(stored.markdown.chunks).decode() == found.markdown or b"".join(rendering.text_chunks(found)).decode()
    )
    # And the text was stored once
    size = sum(path.stat().st_size for path in results.root.rglob("*") if path.is_file())
    assert size < len(found.text.encode("utf-8", "replace")) + len(found.markdown.encode()) + 500


def test_the_json_of_a_long_result_is_sent_in_pieces_of_bounded_size(results: DirectoryResultStore) -> None:
    key = results.write(uuid.uuid4(), 1, rendering.stored_chunks(extraction("x" * 3_000_000, *["y"] * 5_000)))
    sizes = [len(chunk) for chunk in rendering.StoredResult(results, key).document.chunks]
    assert max(sizes) < 256 * 1024
    assert len(sizes) < 200


@pytest.mark.parametrize(
    ("text", "words"),
    [("", 0), ("  two words\n", 2), ("ab " * 100_000, 100_000), ("x" * 200_000, 1), ("a" * 65_535 + " b", 2)],
)
def test_words_are_counted_as_wc_does_also_across_pieces(text: str, words: int) -> None:
    assert json.loads(b"".join(rendering.json_chunks(extraction(text))))["words"] == words


def test_half_a_character_pair_does_not_spoil_a_result() -> None:
    found = extraction("a\ud800b")
    assert b"".join(rendering.text_chunks(found)) == b"a?b"
    assert json.loads(b"".join(rendering.json_chunks(found)))["text"] == "a?b"
