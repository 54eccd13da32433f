"""Which keys are taken, and that nothing else is."""

from __future__ import annotations

import posixpath
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents.exceptions import InvalidKey
from documents.storage import normalise_key
from documents.storage.keys import upload_key, uploaded_for

GOOD = [
    "a",
    "reports/2026/may.pdf",
    "Ärger mit Umlauten.docx",
    "日本語/文書.txt",
    ".hidden",
    "a..b/c...",
    "a b/c",
    "%2e%2e/x",
]
BAD = {
    "": "empty",
    "/etc/passwd": "absolute",
    "../x": r"\.\.",
    "a/../b": r"\.\.",
    "a/..": r"\.\.",
    "./a": r'"\."',
    "a//b": "empty path segment",
    "a/": "empty path segment",
    "a\\..\\b": "backslash",
    "C:\\x": "backslash",
    "a\0b": "control",
    "a\nb": "control",
    "a\x7fb": "control",
    "a\u2028b": "control",
    "a\ud800": "Unicode",
    "x" * 1025: "longer than 1024",
    "é" * 600: "longer than 1024",
    "y" * 256: "segment longer",
}


@pytest.mark.parametrize("key", GOOD)
def test_a_plain_relative_path_is_taken_unchanged(key: str) -> None:
    assert normalise_key(key) == key


@pytest.mark.parametrize(("key", "reason"), BAD.items(), ids=ascii)
def test_anything_else_is_refused_with_its_reason(key: str, reason: str) -> None:
    with pytest.raises(InvalidKey, match=reason):
        normalise_key(key)


@given(st.text(alphabet=st.sampled_from("ab./\\\0\n ~"), max_size=12))
def test_an_accepted_key_stays_below_any_root(key: str) -> None:
    try:
        accepted = normalise_key(key)
    except InvalidKey:
        return
    assert posixpath.normpath(posixpath.join("/root", accepted)) == "/root/" + accepted


TASK = UUID("0199a000-0000-7000-8000-0000000000aa")


def test_an_upload_is_known_by_its_key() -> None:
    assert upload_key("acme", TASK, "a.pdf") == f".ingestion-uploads/acme/{TASK}/a.pdf"
    assert uploaded_for(upload_key("acme", TASK, "a.pdf")) == TASK


@pytest.mark.parametrize(
    "key",
    [
        f".ingestion-uploads/{TASK}/a",
        f"x/acme/{TASK}/a",
        f".ingestion-uploads/acme/{TASK}",
        f".ingestion-uploads/acme/{TASK.hex}/a",
        ".ingestion-uploads/a/b/c",
        "a",
    ],
)
def test_any_other_key_is_the_clients(key: str) -> None:
    assert uploaded_for(key) is None
