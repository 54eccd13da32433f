"""Rows as CSV or JSON lines, sent while they are read: whatever their number, one page of them is in memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.http import Http404, StreamingHttpResponse

Row = Mapping[str, Any]
FORMS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
"""Form of an export -> its media type."""


def csv_lines(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """A heading, then a line for each row; what is no text or number is JSON."""
    line = io.StringIO()
    writer = csv.writer(line)
    for cells in _with_heading(columns, rows):
        writer.writerow(cells)
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _with_heading(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[list[str]]:
    yield list(columns)
    for row in rows:
        yield [harmless(_cell(row.get(name))) for name in columns]


def json_lines(rows: Iterable[Row]) -> Iterator[str]:
    """One JSON document a line."""
    for row in rows:
        yield json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False) + "\n"


def download(name: str, form: str, columns: Sequence[str], rows: Iterable[Row]) -> StreamingHttpResponse:
    """An answer that the browser stores as `name`.csv or `name`.jsonl. Raises Http404 for another form."""
    if form not in FORMS:
        raise Http404("There is no such form of an export: csv, jsonl.")
    lines = csv_lines(columns, rows) if form == "csv" else json_lines(rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}.{form}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(lines, content_type=FORMS[form], headers=headers)


def harmless(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
