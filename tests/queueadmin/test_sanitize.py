"""Whatever text comes in, what goes to the database can be stored."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueadmin.sanitize import Unrecordable, clean_json, clean_text, require_storable

ANY_TEXT = st.text(st.characters(exclude_categories=[]))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


def storable(text: str) -> bool:
    return "\x00" not in text and text.encode("utf-8", "replace").decode() == text


@given(text=ANY_TEXT, limit=st.integers(1, 50))
def test_clean_text_is_storable_and_short(text: str, limit: int) -> None:
    cleaned = clean_text(text, limit)
    assert storable(cleaned)
    assert len(cleaned) <= limit


@given(value=ANY_JSON)
def test_clean_json_is_storable_and_passes_the_check(value: object) -> None:
    cleaned = clean_json(value)
    require_storable(cleaned)
    assert storable(json.dumps(cleaned, ensure_ascii=False))


@given(value=ANY_JSON)
def test_the_check_refuses_exactly_what_cleaning_changes(value: object) -> None:
    try:
        require_storable(value)
    except Unrecordable:
        assert clean_json(value) != value
    else:
        assert clean_json(value) == value


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), float("inf"), "x" * 300_000, b"bytes"])
def test_what_is_not_json_or_too_large_is_refused(value: object) -> None:
    with pytest.raises(Unrecordable):
        clean_json(value)


def test_a_value_nested_without_end_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(Unrecordable):
        require_storable(loop)
    with pytest.raises(Unrecordable):
        clean_json(loop)
