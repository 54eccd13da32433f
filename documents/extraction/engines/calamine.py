"""Spreadsheets by python-calamine (MIT, a Rust wheel): every sheet with its name, as cells and as a Markdown table."""

from __future__ import annotations

import datetime

import python_calamine

from documents.extraction import markdown
from documents.extraction.base import Extraction, Identity, Page, Request, extraction
from documents.extraction.errors import Damaged, Encrypted, TooLarge, TooManyPages

Cell = int | float | str | bool | datetime.time | datetime.date | datetime.datetime | datetime.timedelta | None


class CalamineEngine:
    """Reads the values of xlsx, xlsb, xls and ods; formulas by their cached results."""

    name = "calamine"
    spawns = False

    def accepts(self, identity: Identity) -> bool:
        """Only spreadsheets."""
        return identity.extension in ("xlsx", "xlsb", "xls", "ods")

    def extract(self, request: Request) -> Extraction:
        """Read sheet by sheet; one page each. Raises Damaged, Encrypted, TooLarge, TooManyPages."""
        try:
            book = python_calamine.CalamineWorkbook.from_path(str(request.path))
        except python_calamine.PasswordError as error:
            raise Encrypted() from error
        except (python_calamine.CalamineError, OSError) as error:
            raise Damaged(evidence={"exception": type(error).__name__}) from error
        if len(book.sheet_names) > request.max_pages:
            raise TooManyPages()
        pages, parts, unreadable = [], [], []
        size = 0
        for number, name in enumerate(book.sheet_names, start=1):
            try:
                rows = _rows(book.get_sheet_by_name(name))
            except python_calamine.CalamineError:
                unreadable.append(name)
                rows = []
            text = "\n".join((name, *("\t".join(row).rstrip("\t") for row in rows)))
            size += len(text)
            if size > request.output_bytes:
                raise TooLarge()
            pages.append(Page(number=number, text=text, label=name))
            parts.append(f"## {markdown.escape(name)}\n\n{markdown.table(rows)}".rstrip())
            request.report("extract", number, len(book.sheet_names))
        if len(unreadable) == len(book.sheet_names):
            raise Damaged("None of the workbook's sheets can be read.")
        warnings = [f"sheets_unreadable: {', '.join(unreadable)[:200]}"] if unreadable else []
        return extraction(
            self.name,
            request,
            pages,
            metadata={"sheets": len(pages)},
            warnings=warnings,
            markdown="\n\n".join(parts),
        )


def _rows(sheet: python_calamine.CalamineSheet) -> list[list[str]]:
    """Return the used rectangle without empty rows at its end."""
    rows = [[_shown(cell) for cell in row] for row in sheet.to_python(skip_empty_area=True)]
    while rows and not any(rows[-1]):
        rows.pop()
    return rows


def _shown(cell: Cell) -> str:
    """Write a value as people read it: dates as ISO 8601, whole numbers without a point."""
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(" ")
    return "" if cell is None else str(cell)
