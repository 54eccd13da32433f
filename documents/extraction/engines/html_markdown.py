"""Markdown of a page while it is walked through: headings, lists, tables, quotations and verbatim text.

Emphasis, links and pictures' addresses are left out: they are looks and places, not structure.
"""

from __future__ import annotations

import dataclasses
import re

from lxml import etree

from documents.extraction import markdown

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_MAX_INDENT = 24
_MAX_TABLES = 8
"""Tables further inside are layout: asking each for what it holds would take the square of their number."""
_SPACES = re.compile(r"\s+")
_LEADING_MARK = re.compile(r"^(?:(\d+)([.)])|([#+-]))(?=\s)")


@dataclasses.dataclass
class _Level:
    """One list: how far its items are indented, and the mark of the item that has no text yet."""

    indent: int
    mark: str = ""
    width: int = 2


class MarkdownWriter:
    """Is told the same as the collector of plain text; `result` has the Markdown, "" where it would be plain text."""

    def __init__(self) -> None:
        self._blocks: list[tuple[str, str]] = []
        self._inline: list[str] = []
        self._lists: list[_Level] = []
        self._heading = self._quotes = self._verbatim = 0
        self._rows: list[list[str]] | None = None
        self._tables = 0
        self._structured = False

    def start(self, tag: str, node: etree._Element | None, number: int | None) -> None:
        """Begin an element; `number` is that of a list item, None in lists without."""
        self._tables += tag == "table"
        if self._rows is not None:
            self._start_in_table(tag, self._rows)
            return
        self.flush()
        if tag in _HEADINGS:
            self._heading = _HEADINGS[tag]
        elif tag in ("ul", "ol", "menu"):
            outer = self._lists[-1] if self._lists else None
            self._lists.append(_Level(indent=min(outer.indent + outer.width, _MAX_INDENT) if outer else 0))
        elif tag == "li" and self._lists:
            mark = "-" if number is None else f"{number}."
            self._lists[-1].mark, self._lists[-1].width = mark, len(mark) + 1
        elif tag == "blockquote":
            self._quotes += 1
        elif tag == "pre":
            self._verbatim += 1
        elif tag == "table" and node is not None and self._tables <= _MAX_TABLES and _is_data(node):
            self._rows = []

    def _start_in_table(self, tag: str, rows: list[list[str]]) -> None:
        if tag == "tr":
            rows.append([])
        elif tag in ("td", "th"):
            self._inline.clear()
        else:
            self._inline.append(" ")

    def end(self, tag: str) -> None:
        """End an element."""
        self._tables -= tag == "table"
        if self._rows is not None:
            if tag in ("td", "th"):
                if self._rows:
                    self._rows[-1].append("".join(self._inline))
                self._inline.clear()
            elif tag == "table":
                self._add("table", markdown.table(self._rows))
                self._rows = None
            return
        self.flush()
        if tag in _HEADINGS:
            self._heading = 0
        elif tag in ("ul", "ol", "menu") and self._lists:
            self._lists.pop()
        elif tag == "blockquote":
            self._quotes = max(0, self._quotes - 1)
        elif tag == "pre":
            self._verbatim = max(0, self._verbatim - 1)

    def text(self, text: str) -> None:
        """Add characters to the block that is open."""
        self._inline.append(text)

    def flush(self) -> None:
        """End the block that is open, if it has any text."""
        text = "".join(self._inline)
        self._inline.clear()
        if not text.strip():
            return
        if self._verbatim:
            self._add("pre", f"```\n{text.strip(chr(10))}\n```")
            return
        text = markdown.escape(_SPACES.sub(" ", text).strip())
        if self._heading:
            self._add("heading", f"{'#' * self._heading} {text}")
            return
        text = _LEADING_MARK.sub(lambda found: f"{found[1] or ''}\\{found[2] or found[3]}", text)
        if not self._lists:
            self._add("text", text)
            return
        level = self._lists[-1]
        mark = f"{level.mark} " if level.mark else " " * level.width
        self._add("item" if level.mark else "more", f"{' ' * level.indent}{mark}{text}")
        level.mark = ""

    def _add(self, kind: str, text: str) -> None:
        if not text:
            return
        self._structured |= kind != "text" or self._quotes > 0
        marks = "> " * min(self._quotes, 8)
        self._blocks.append((kind, "\n".join(f"{marks}{line}" for line in text.split("\n")) if marks else text))

    def result(self) -> str:
        """Return the Markdown, "" where no structure was met."""
        self.flush()
        if not self._structured:
            return ""
        parts: list[str] = []
        before = ""
        for kind, text in self._blocks:
            parts.append(("\n" if (before, kind) == ("item", "item") else "\n\n") if parts else "")
            parts.append(text)
            before = kind
        return "".join(parts)


def _is_data(table: etree._Element) -> bool:
    """Tables that hold tables, or one column, are there for the layout of the page."""
    if table.find(".//table") is not None:
        return False
    return any(len([cell for cell in row if cell.tag in ("td", "th")]) > 1 for row in table.iter("tr"))
