"""The filter language: what is read as what, and that nothing a person types is worse than a clear complaint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueadmin.search.language import MAX_LENGTH, SearchError, Term, parse


def test_terms_are_read_in_order() -> None:
    # Given a search with every kind of term
    text = 'state:failed,dead_letter age>2h error~"timed out" -queue:mail attempt>=3 "two words" word'

    # When it is read
    terms = parse(text)

    # Then each says what was written
    assert terms == (
        Term(name="state", operator=":", values=("failed", "dead_letter")),
        Term(name="age", operator=">", values=("2h",)),
        Term(name="error", operator="~", values=("timed out",)),
        Term(name="queue", operator=":", values=("mail",), is_negated=True),
        Term(name="attempt", operator=">=", values=("3",)),
        Term(name="", operator="", values=("two words",)),
        Term(name="", operator="", values=("word",)),
    )


def test_blank_text_has_no_terms() -> None:
    assert parse(" \n\t ") == ()


def test_a_quotation_mark_and_a_backslash_can_be_quoted() -> None:
    assert parse(r'error~"say \"no\" \\ twice"')[0].value == r'say "no" \ twice'


def test_a_comma_inside_quotation_marks_is_text() -> None:
    assert parse('tenant:"a,b"')[0].values == ("a,b",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('error~"open', "quotation mark is not closed"),
        ("state:", "cannot be read"),
        ("state:,", "missing after state:"),
        ('error~""', "missing after error~"),
        ('a"b"', "cannot be read"),
        ("a\0b", "NUL"),
        ("x" * (MAX_LENGTH + 1), "at most"),
        ("x " * 21, "terms"),
        ("id:" + ",".join("a" * 201), "values"),
    ],
)
def test_what_cannot_be_read_is_said_with_what_to_write(text: str, complaint: str) -> None:
    with pytest.raises(SearchError, match=complaint):
        parse(text)


@given(st.text(max_size=80))
def test_any_text_is_read_or_complained_about(text: str) -> None:
    try:
        terms = parse(text)
    except SearchError as error:
        assert str(error)
    else:
        assert all(term.values and all(term.values) for term in terms)


@given(st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text))
def test_whatever_is_quoted_comes_back_as_it_was(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    assert parse(f'error~"{quoted}"') == (Term(name="error", operator="~", values=(text,)),)
