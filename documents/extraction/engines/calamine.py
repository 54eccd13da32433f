"""Spreadsheets by python-calamine (MIT, a Rust wheel): every sheet with its name, as cells and as a Markdown table."""

from __future__ import annotations

import datetime
import struct
import zipfile

import olefile
import python_calamine

from documents.extraction import markdown
from documents.extraction.base import MIB, Extraction, Identity, Page, Request, extraction
from documents.extraction.engines import xls_objects, xlsx_objects
from documents.extraction.errors import Damaged, Encrypted, TooLarge, TooManyPages

_MAX_STREAM_BYTES = 64 * MIB

Cell = int | float | str | bool | datetime.time | datetime.date | datetime.datetime | datetime.timedelta | None


class CalamineEngine:
    """Reads the values of xlsx, xlsb, xls and ods (formulas by their results), and what floats above cells."""

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
        above = _objects(request)
        size = 0
        for number, name in enumerate(book.sheet_names, start=1):
            try:
                rows = _rows(book.get_sheet_by_name(name))
            except python_calamine.CalamineError:
                unreadable.append(name)
                rows = []
            lines = above.get(number, [])
            text = "\n".join((name, *("\t".join(row).rstrip("\t") for row in rows), *lines))
            size += len(text)
            if size > request.output_bytes:
                raise TooLarge()
            pages.append(Page(number=number, text=text, label=name))
            blocks = (f"## {markdown.escape(name)}", markdown.table(rows), *map(markdown.escape, lines))
            parts.append("\n\n".join(filter(None, blocks)))
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


def _objects(request: Request) -> dict[int, list[str]]:
    """Return sheet number -> lines of its text boxes, remarks and charts; nothing where their parts are broken."""
    try:
        if request.identity.extension in ("xlsx", "xlsb"):
            with zipfile.ZipFile(request.path) as archive:
                return xlsx_objects.objects(archive)
        if request.identity.extension == "xls" and olefile.isOleFile(str(request.path)):
            with olefile.OleFileIO(str(request.path)) as ole:
                stream = next((name for name in ("Workbook", "Book") if ole.exists(name)), None)
                return xls_objects.objects(ole.openstream(stream).read(_MAX_STREAM_BYTES)) if stream else {}
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error, zipfile.BadZipFile):
        pass  # The cells are read by another library, which says what is wrong with the file.
    return {}


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
