"""What floats above the cells of an old workbook: text boxes, remarks, and charts with their labels ([MS-XLS]).

Readers of cells leave it out, yet it is what people wrote there: a sheet may hold nothing but a chart.
"""

from __future__ import annotations

import dataclasses
import struct
from collections import defaultdict
from collections.abc import Iterator

_BOF, _EOF, _CONTINUE, _SHEET_PLACE = 0x0809, 0x000A, 0x003C, 0x0085
_TEXT_OBJECT, _SERIES_TEXT, _LABEL, _NUMBER, _KIND_OF_CACHE = 0x01B6, 0x100D, 0x0204, 0x0203, 0x1065
_CHART = 0x0020
_VALUES, _CATEGORIES = 1, 2


@dataclasses.dataclass
class _Chart:
    """Names and titles in the order of the file, and the cached points by series."""

    texts: list[str] = dataclasses.field(default_factory=list)
    kind: int = 0
    points: dict[tuple[int, int], list[str]] = dataclasses.field(default_factory=lambda: defaultdict(list))

    def lines(self) -> list[str]:
        """Return the titles, the categories once, then the values, a line for each series."""
        categories = ["\t".join(values) for (kind, _), values in self.points.items() if kind == _CATEGORIES]
        series = ["\t".join(values) for (kind, _), values in self.points.items() if kind == _VALUES]
        return [line for line in (*self.texts, *dict.fromkeys(categories), *series) if line.strip()]


def objects(stream: bytes) -> dict[int, list[str]]:
    """Return sheet number (from 1) -> the lines above its cells. A stream that is broken ends where it breaks."""
    found: dict[int, list[str]] = defaultdict(list)
    places: list[int] = []
    sheet = depth = wanted = 0
    chart: _Chart | None = None
    for at, kind, body in _records(stream):
        if kind == _SHEET_PLACE:
            places.append(int.from_bytes(body[:4], "little"))
        elif kind == _BOF:
            depth += 1
            sheet = places.index(at) + 1 if at in places else sheet
            chart = _Chart() if body[2:4] == _CHART.to_bytes(2, "little") else chart
        elif kind == _EOF:
            depth -= 1
            if chart is not None:
                found[sheet] += chart.lines()
                chart = None
        elif kind == _TEXT_OBJECT:
            wanted = int.from_bytes(body[10:12], "little")
        elif kind == _CONTINUE and wanted:
            text = _characters(body, wanted)
            wanted -= len(text)
            found[sheet] += [line.strip() for line in text.splitlines() if line.strip()]
        elif chart is not None:
            _add(chart, kind, body)
        if kind not in (_TEXT_OBJECT, _CONTINUE):
            wanted = 0
    return found


def _add(chart: _Chart, kind: int, body: bytes) -> None:
    if kind == _SERIES_TEXT and len(body) > 4:
        chart.texts.append(_characters(body[3:], body[2]))
    elif kind == _KIND_OF_CACHE:
        chart.kind = int.from_bytes(body[:2], "little")
    elif kind in (_LABEL, _NUMBER) and len(body) >= 9:
        series = int.from_bytes(body[2:4], "little")
        if kind == _LABEL:
            value = _characters(body[8:], int.from_bytes(body[6:8], "little"))
        else:
            value = f"{struct.unpack_from('<d', body.ljust(14, bytes(1)), 6)[0]:.15g}"
        chart.points[chart.kind, series].append(value.strip())


def _characters(data: bytes, count: int) -> str:
    """Return up to `count` characters behind a byte that says whether each takes one byte or two ([MS-XLS] 2.5.293)."""
    if data[:1] and data[0] & 1:
        return data[1 : 1 + 2 * count].decode("utf-16-le", "replace").replace("\0", "")
    return data[1 : 1 + count].decode("latin-1").replace("\0", "")


def _records(stream: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at + 4 <= len(stream):
        kind, length = struct.unpack_from("<HH", stream, at)
        yield at, kind, stream[at + 4 : at + 4 + length]
        at += 4 + length
