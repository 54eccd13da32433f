"""The readers of Word and PowerPoint before 2007, on files written by the specification."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from documents.extraction.base import Extraction
from documents.extraction.engines.doc import DocEngine
from documents.extraction.engines.ppt import PptEngine
from documents.extraction.errors import Damaged, Encrypted
from tests.documents.extraction.conftest import ole
from tests.documents.extraction.legacy import doc, ppt

ExtractWith = Callable[..., Extraction]


def test_word_pieces_are_joined_whatever_their_encoding(extract_with: ExtractWith) -> None:
    found = extract_with(DocEngine(), doc("Grüße aus Köln, ", "привет\r", "the end\r"), "x.doc")
    assert found.text == "Grüße aus Köln, привет\nthe end"


def test_word_fields_show_their_results_and_not_their_codes(extract_with: ExtractWith) -> None:
    text = 'see \x13 HYPERLINK "http://example.com" \x14our \x13 REF x \x14site\x15\x15, page \x13 PAGE \x15.\r'
    assert extract_with(DocEngine(), doc(text), "x.doc").text == "see our site, page ."


def test_an_encrypted_word_file_is_encrypted(extract_with: ExtractWith) -> None:
    with pytest.raises(Encrypted):
        extract_with(DocEngine(), doc("secret", flags=0x0100), "x.doc")


def test_a_word_file_without_its_table_is_damaged(extract_with: ExtractWith) -> None:
    data = doc("text")
    with pytest.raises(Damaged):
        extract_with(DocEngine(), data.replace("1Table".encode("utf-16-le"), "9Table".encode("utf-16-le")), "x.doc")


def test_slides_come_in_order_with_boxes_and_notes(extract_with: ExtractWith) -> None:
    # Given two slides with an outline, a text box and notes each
    data = ppt([("Titel: eins", "box", "say hello"), ("Second", "box two\rtwo lines", "")])
    # When they are read
    found = extract_with(PptEngine(), data, "x.ppt")
    # Then each is a page, and Markdown knows title and notes
    assert [page.text for page in found.pages] == ["Titel: eins\nbox\nsay hello", "Second\nbox two\ntwo lines"]
    assert found.markdown.startswith("## Titel: eins\n\n- box\n\n> say hello")
    assert found.metadata["slides"] == 2


def test_the_cells_of_a_table_may_repeat_the_outline_may_not(extract_with: ExtractWith) -> None:
    found = extract_with(PptEngine(), ppt([("Same", "Same", "")]), "x.ppt")
    assert found.text == "Same"


def test_records_that_point_at_themselves_end(extract_with: ExtractWith) -> None:
    """A chain of edits that is a circle, and lengths beyond the stream: bounded by construction."""
    data = bytearray(ppt([("a", "b", "c")]))
    at = data.index(b"\xf5\x0f\x18\x00\x00\x00")
    data[at + 14 : at + 18] = (1).to_bytes(4, "little")  # the edit before this one: anywhere
    assert "a" in extract_with(PptEngine(), bytes(data), "x.ppt").text


def test_a_presentation_without_a_document_is_damaged(extract_with: ExtractWith) -> None:
    with pytest.raises(Damaged):
        extract_with(PptEngine(), ole(("PowerPoint Document", b"\0" * 100)), "x.ppt")
