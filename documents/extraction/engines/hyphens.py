"""Words that a PDF divides at the end of a line: put together again, unless the hyphen is the word's own."""

from __future__ import annotations

import re
from collections.abc import Iterable

MARK = "\x02"
"""What pdfium (of 2024 and later) leaves in place of a hyphen and the line end behind it, whatever hyphen it was."""

_DIVIDED = re.compile(rf"([^\W_]*(?:-[^\W_]+)*){MARK}([^\W_]*)")
_WHOLE = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


def vocabulary(texts: Iterable[str]) -> frozenset[str]:
    """Return the words, also those with hyphens, that stand undivided in texts of which any has a divided one."""
    texts = tuple(texts)
    if not any(MARK in text for text in texts):
        return frozenset()
    return frozenset(word.lower() for text in texts for word in _WHOLE.findall(text))


def joined(text: str, words: frozenset[str]) -> str:
    """Return `text` without marks: "whole|sale" as one word, "self|evident" with its hyphen if `words` write it so.

    Beside that, what goes on with a capital or a digit keeps its hyphen: Anglo-American, COVID-19.
    """
    if MARK not in text:
        return text
    return _DIVIDED.sub(lambda match: _joined(match.group(1), match.group(2), words), text).replace(MARK, "-")


def _joined(before: str, after: str, words: frozenset[str]) -> str:
    last = before.rpartition("-")[2]
    hyphenated = f"{before}-{after}"
    if not last.isalpha() or not after[:1].islower():
        return hyphenated
    if (last + after).lower() not in words and f"{last}-{after}".lower() in words:
        return hyphenated
    return before + after
