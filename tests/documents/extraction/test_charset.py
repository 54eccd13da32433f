"""From bytes to text: nothing raises, a mark beats a declaration, a declaration must fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents.extraction.charset import decode, known


@given(st.binary(max_size=300), st.sampled_from(["", "utf-8", "big5", "nonsense", "utf-16", "base64", "\0"]))
def test_any_bytes_become_text_without_error(data: bytes, declared: str) -> None:
    assert isinstance(decode(data, declared=declared).text, str)


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs", "Cc"])))
def test_utf8_is_read_as_itself(text: str) -> None:
    decoded = decode(text.encode())
    assert decoded.text == text.removeprefix("\ufeff")
    assert not decoded.guessed


def test_a_declaration_that_fits_is_used() -> None:
    assert decode("日本語".encode("euc_jp"), declared="euc-jp").text == "日本語"
    assert decode("Größe €".encode("cp1252"), declared="iso-8859-1").text == "Größe €"


def test_a_few_bad_bytes_do_not_refute_a_declaration() -> None:
    data = ("中文測試內容" * 40).encode("big5") + b"\xff"
    assert decode(data, declared="big5").text.startswith("中文測試內容")


def test_a_declaration_that_does_not_fit_is_ignored() -> None:
    assert decode("Привет, мир. Это обычный русский текст.".encode("cp1251"), declared="ascii2").guessed


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Le café est déjà fermé, où êtes-vous né ? Ça coûte 5 €.", "cp1252"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy", "cp1250"),
        ("Bu güneşli günde çocuklar bahçede oynadı, ağaçlar yeşildi", "cp1254"),  # noqa: RUF001  # Turkish
        ("Это предложение написано по-русски и достаточно длинное", "cp1251"),
        ("Αυτή είναι μια ελληνική πρόταση με αρκετές λέξεις", "cp1253"),
        ("吾輩は猫である。名前はまだ無い。どこで生れたか頓と見当がつかぬ。", "shift_jis"),
        ("한국어로 작성된 문장입니다. 문자 인코딩을 확인합니다.", "euc_kr"),
    ],
)
def test_common_encodings_are_guessed(text: str, encoding: str) -> None:
    decoded = decode(text.encode(encoding))
    assert decoded.text == text
    assert decoded.guessed


@pytest.mark.parametrize("name", ["", "no-such", "base64", "rot13", "\0", "zip", "é"])
def test_names_that_are_no_text_encoding_are_unknown(name: str) -> None:
    assert known(name) == ""
