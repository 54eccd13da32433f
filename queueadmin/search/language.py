"""From text to terms. Knows no field and no database.

search  = term, separated by spaces; all of them must hold
term    = ["-"] name operator value      `-` turns it round
        | ["-"] value                    free text
value   = bare word, or "quoted text" with \\" and \\\\ inside
operator: `:` is, or is one of (comma-separated)   `~` contains   `>` `<` `>=` `<=` compare
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from queueadmin.exceptions import QueueAdminError

MAX_LENGTH = 2_000
MAX_TERMS = 20
MAX_ALTERNATIVES = 200
"""As many ids as a person may paste."""

_TERM = re.compile(
    r"""
    (?P<minus>-)?
    (?>(?P<name>[A-Za-z_][A-Za-z0-9_.]*)(?P<operator>:|~|>=|<=|>|<))?+
    (?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s"]+))
    (?=\s|$)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class SearchError(QueueAdminError):
    """This is no search that can be understood."""

    code = "bad_search"
    retryable = False


@dataclass(frozen=True, kw_only=True)
class Term:
    """One condition as it was written. `name` is empty for free text; `values` has more than one only for `:`."""

    name: str
    operator: str
    values: tuple[str, ...]
    is_negated: bool = False

    @property
    def value(self) -> str:
        return self.values[0]


def parse(text: str) -> tuple[Term, ...]:
    """The terms of a search, in order; none for blank text. Raises SearchError, saying where and what to write."""
    if len(text) > MAX_LENGTH:
        raise SearchError(f"A search has at most {MAX_LENGTH} characters; this one has {len(text)}.")
    if "\0" in text:
        raise SearchError("A search holds no NUL characters.")
    terms: list[Term] = []
    position = _skip_spaces(text, 0)
    while position < len(text):
        found = _TERM.match(text, position)
        if found is None:
            raise SearchError(_complaint(text, position))
        terms.append(_term(found))
        position = _skip_spaces(text, found.end())
    if len(terms) > MAX_TERMS:
        raise SearchError(f"A search has at most {MAX_TERMS} terms; this one has {len(terms)}.")
    return tuple(terms)


def _term(found: re.Match[str]) -> Term:
    quoted, bare = found["quoted"], found["bare"]
    name, operator = (found["name"] or "").lower(), found["operator"] or ""
    values: tuple[str, ...]
    if quoted is not None:
        values = (_ESCAPED.sub(r"\1", quoted),)
    elif operator == ":":
        values = tuple(part for part in bare.split(",") if part)
    else:
        values = (bare,)
    if not any(values):
        raise SearchError(f"Something is missing after {name}{operator}: write {name}{operator}value.")
    if len(values) > MAX_ALTERNATIVES:
        raise SearchError(f"{name} takes at most {MAX_ALTERNATIVES} values; these are {len(values)}.")
    return Term(name=name, operator=operator, values=values, is_negated=found["minus"] is not None)


def _skip_spaces(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _complaint(text: str, position: int) -> str:
    rest = text[position : position + 30]
    if text.count('"', position) % 2:
        return f'A quotation mark is not closed: {rest!r}. Write error~"timed out".'
    return f"This cannot be read: {rest!r}. Write name:value, and put text with spaces into quotation marks."
