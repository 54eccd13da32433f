"""The readers of Word and PowerPoint before 2007, on files written by the specification."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from documents.extraction.base import Extraction
from documents.extraction.engines.doc import DocEngine
from documents.extraction.engines.ppt import PptEngine
from documents.extraction.engines.runs import RunsEngine
from documents.extraction.errors import Damaged, Encrypted, UnsupportedType
from tests.documents.extraction.conftest import ole
from tests.documents.extraction.legacy import chart, doc, msg, ppt, text_box, word_art, word_perfect_42, xls, xlsb

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


def test_the_words_of_word_art_are_text(extract_with: ExtractWith) -> None:
    data = ppt([("Title", "box", "")], shapes=word_art("Grand opening"))
    assert extract_with(PptEngine(), data, "x.ppt").text == "Title\nbox\nGrand opening"


def test_what_floats_above_the_cells_of_an_old_workbook_is_part_of_its_sheet(extract: ExtractWith) -> None:
    # Given a sheet of cells with a text box and a chart
    above = text_box("Checked by Ada") + chart("Exports", {"France": 1.5, "Spain": 2})
    # When it is read
    found = extract(xls({(0, 0): "Year", (1, 0): 2024.0}, above=above), "x.xls")
    # Then the sheet's page holds the cells, the box, and the chart as a table
    assert found.engine == "calamine"
    assert found.pages[0].text == "Figures\nYear\n2024\nChecked by Ada\nExports\nFrance\tSpain\n1.5\t2"
    assert "\n\nChecked by Ada\n\n" in found.markdown


@pytest.mark.parametrize("cut", [3, 700, 1100, 1300])
def test_a_workbook_whose_objects_are_cut_off_keeps_what_is_there(extract: ExtractWith, cut: int) -> None:
    data = xls({(0, 0): "Year"}, above=text_box("Checked by Ada") * 20 + chart("Exports", {"France": 1.5}))
    assert "Year" in extract(data[:-cut] + bytes(cut), "x.xls").text


def test_what_has_no_signature_is_an_old_document_if_it_is_called_one_and_holds_words(
    extract_with: ExtractWith,
) -> None:
    # Given a file of WordPerfect 4.2, which begins with nothing known
    data = word_perfect_42("The quick brown fox jumps over it.", "Nobody knew why he had.")
    # When it comes under such a name, and its runs of text are read
    found = extract_with(RunsEngine(), data, "letter.doc")
    # Then its lines are there, with a warning
    assert found.text == "The quick brown fox jumps over it.\nNobody knew why he had."
    assert found.warnings == ("text_may_be_incomplete",)
    # But under another name, or without words, it is not supported
    for content, name in ((data, "letter.bin"), (bytes(range(256)) * 4, "letter.doc")):
        with pytest.raises(UnsupportedType):
            extract_with(RunsEngine(), content, name)


def test_power_point_95_gives_its_readable_runs_and_says_so(extract_with: ExtractWith) -> None:
    stream = b"\x01\x82\xc1\xffDigital Library initiatives\rParis, September\0\xae\x9d\xc0 B\0xj\x80\xff"
    found = extract_with(RunsEngine(), ole(("PP40", stream)), "x.ppt")
    assert found.text == "Digital Library initiatives\nParis, September"
    with pytest.raises(Damaged):
        extract_with(RunsEngine(), ole(("PP40", bytes(100))), "x.ppt")


def test_a_mail_in_a_code_page_that_it_names_wrong_is_decoded_all_the_same(extract: ExtractWith) -> None:
    # Given a subject in Windows' western code page, where the mail says UTF-8
    data = msg("Grüße aus Köln".encode("cp1252"), html="<p>Schöne Tage</p>".encode(), code_page=65001)
    # When it is read
    found = extract(data, "x.msg")
    # Then both are legible, in the text, the page and the Markdown
    assert "Grüße aus Köln" in found.text
    assert "Schöne Tage" in found.text
    assert "\ufffd" not in found.text + found.markdown + found.pages[0].text


def test_a_binary_workbook_is_read(extract: ExtractWith) -> None:
    found = extract(xlsb({(0, 0): "Rent", (0, 1): 1200.0, (1, 0): "Food"}), "x.xlsb")
    assert found.engine == "calamine"
    assert found.pages[0].text == "Figures\nRent\t1200\nFood"
