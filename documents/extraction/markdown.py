"""Markdown in both directions: plain text out of it, and tables into it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

_FENCE = re.compile(r"^\s*(```+|~~~+)")
_RULE = re.compile(r"^\s*\|?(\s*:?-{3,}:?\s*\|)*\s*:?-{3,}:?\s*\|?\s*$")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.*?)(\s+#+)?\s*$")
_QUOTE = re.compile(r"^\s{0,3}>\s?")
_IMAGE = re.compile(r"!\[((?:[^\]\\]|\\.)*)\]\([^()\s]*(?:\([^()]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)")
_LINK = re.compile(r"\[((?:[^\]\\]|\\.)*)\]\(<?([^()\s]*(?:\([^()]*\)[^()\s]*)*)>?(?:\s+\"[^\"]*\")?\)")
_STRONG = re.compile(r"(?<!\\)(\*\*|__|~~)(?=\S)(.+?)(?<=[^\s\\])\1")
_EMPHASIS = re.compile(r"(?<![\\\w*])\*(?=[^\s*])([^*\n]+?)(?<=[^\s\\*])\*(?![\w*])")
_CODE = re.compile(r"(?<!\\)(`+)(.+?)\1")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_COMMENT = re.compile(r"<!--.*?-->", re.S)
_BREAK = re.compile(r"<br\s*/?>", re.I)
_TAG = re.compile(
    r"</?(?:u|s|sub|sup|mark|small|span|ins|del|b|i|em|strong|a|p|div|details|summary)(?:\s[^<>]*)?>", re.I
)
_MARK = re.compile(r"[\\*_`\[<&~]")
_CELLS = re.compile(r"(?<!\\)\|")


def plain(markdown: str) -> str:
    """Return the text of Markdown that an engine wrote: no markup, table cells separated by tabs."""
    lines: list[str] = []
    fenced = False
    for line in _COMMENT.sub("", markdown).split("\n"):
        if _FENCE.match(line):
            fenced = not fenced
        elif fenced:
            lines.append(line)
        elif not (_RULE.match(line) and "-" in line):
            lines.append(_plain_line(line))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip()


def _plain_line(line: str) -> str:
    line = _QUOTE.sub("", line)
    if heading := _HEADING.match(line):
        line = heading.group(1)
    stripped = line.strip()
    if len(stripped) > 1 and stripped.startswith("|") and stripped.endswith("|"):
        line = "\t".join(cell.strip() for cell in _CELLS.split(stripped[1:-1]))
    return inline(line)


def inline(text: str) -> str:
    """Take the marks out of one line."""
    if not _MARK.search(text):
        return text
    text = _BREAK.sub(" ", text)
    text = _LINK.sub(_link, _IMAGE.sub(r"\1", text))
    text = _TAG.sub("", _CODE.sub(r"\2", text))
    for pattern, group in ((_STRONG, r"\2"), (_STRONG, r"\2"), (_EMPHASIS, r"\1")):
        text = pattern.sub(group, text)
    return html.unescape(_ESCAPE.sub(r"\1", text))


def _link(match: re.Match[str]) -> str:
    """The words of a link; its address where there are none."""
    return match.group(1) or match.group(2)


def escape(text: str) -> str:
    """Escape what would be read as markup inside a paragraph or cell."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)


def table(rows: Iterable[Sequence[str]]) -> str:
    """Write rows as a table of GitHub's kind; the first row is its head. "" without rows."""
    cells = [[escape(" ".join(cell.split())) for cell in row] for row in rows]
    width = max(map(len, cells), default=0)
    if not width:
        return ""
    lines = [f"| {' | '.join((*row, *[''] * (width - len(row))))} |" for row in cells]
    return "\n".join((lines[0], f"|{' --- |' * width}", *lines[1:]))
