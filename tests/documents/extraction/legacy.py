"""Minimal Word 97 and PowerPoint 97 files, written record by record."""

from __future__ import annotations

import struct

from tests.documents.extraction.conftest import ole, ole_entry, zipped


def doc(*pieces: str, flags: int = 0) -> bytes:
    """Return a Word file whose text is `pieces`: what fits into cp1252 is stored so, the rest as UTF-16."""
    body, plc, ends = b"", b"", [0]
    start = 0x600
    for piece in pieces:
        try:
            data = piece.encode("cp1252")
            place = ((start + len(body)) * 2) | 0x4000_0000
        except UnicodeEncodeError:
            data = piece.encode("utf-16-le")
            place = start + len(body)
        plc += struct.pack("<HIH", 0, place, 0)
        body += data
        ends.append(ends[-1] + len(piece))
    table = struct.pack(f"<{len(ends)}I", *ends) + plc
    clx = b"\2" + struct.pack("<I", len(table)) + table
    fib = bytearray(start)
    struct.pack_into("<HHHHHH", fib, 0, 0xA5EC, 0x00C1, 0, 0x0409, 0, 0x0200 | flags)
    struct.pack_into("<II", fib, 0x0018, start, start + len(body))
    struct.pack_into("<II", fib, 0x01A2, 0, len(clx))
    return ole(("WordDocument", bytes(fib) + body), ("1Table", clx))


def record(kind: int, body: bytes, *, instance: int = 0, container: bool = False) -> bytes:
    """Return one record of a PowerPoint stream."""
    return struct.pack("<HHI", instance << 4 | (0xF if container else 0), kind, len(body)) + body


def ppt(slides: list[tuple[str, str, str]], *, shapes: bytes = b"") -> bytes:
    """Return a PowerPoint file of (outline, text box, notes) slides; `shapes` are more records of each slide."""
    persists: list[bytes] = []

    def persist(number: int, slide_id: int) -> bytes:
        return record(0x03F3, struct.pack("<IIIII", number, 0, 0, slide_id, 0))

    slide_list = notes_list = b""
    for index, (outline, box, notes) in enumerate(slides):
        persists.append(record(0x03EE, record(0x0FA8, box.encode("latin-1")) + shapes, container=True))
        slide_list += persist(len(persists) + 1, 256 + index) + record(0x0FA0, outline.encode("utf-16-le"))
        atom = record(0x03F1, struct.pack("<II", 256 + index, 0))
        persists.append(record(0x03F0, atom + record(0x0FA0, notes.encode("utf-16-le")), container=True))
        notes_list += persist(len(persists) + 1, 512 + index)
    document = record(
        0x03E8,
        record(0x0FF0, slide_list, container=True) + record(0x0FF0, notes_list, instance=2, container=True),
        container=True,
    )
    stream, offsets = document, [0]
    for body in persists:
        offsets.append(len(stream))
        stream += body
    directory_at = len(stream)
    stream += record(0x1772, struct.pack(f"<I{len(offsets)}I", len(offsets) << 20 | 1, *offsets))
    edit_at = len(stream)
    stream += record(0x0FF5, struct.pack("<IIIIII", 0, 0, 0, directory_at, 1, 0))
    user = record(0x0FF6, struct.pack("<III", 20, 0xE391C05F, edit_at))
    return ole(("PowerPoint Document", stream), ("Current User", user))


def word_art(text: str) -> bytes:
    """Return the properties of a WordArt shape ([MS-ODRAW] OfficeArtFOPT): a number first, then the words."""
    words = text.encode("utf-16-le")
    table = struct.pack("<HIHI", 0x0004, 90, 0xC0C0, len(words))
    return record(0xF00B, table + words, instance=2)


def biff(kind: int, body: bytes = b"") -> bytes:
    """Return one record of a workbook."""
    return struct.pack("<HH", kind, len(body)) + body


def short(text: str) -> bytes:
    """Return a string as workbooks hold it: two bytes of length, one that says "one byte each"."""
    return struct.pack("<HB", len(text), 0) + text.encode("latin-1")


def xls(cells: dict[tuple[int, int], str | float], *, above: bytes = b"", name: str = "Figures") -> bytes:
    """Return a workbook (BIFF8) of one sheet: its cells, and the records of what floats above them."""
    rows = b"".join(
        biff(0x0204, struct.pack("<HHH", row, column, 0) + short(value))
        if isinstance(value, str)
        else biff(0x0203, struct.pack("<HHHd", row, column, 0, value))
        for (row, column), value in cells.items()
    )
    size = struct.pack("<IIHHH", 0, 1 + max(row for row, _ in cells), 0, 1 + max(column for _, column in cells), 0)
    sheet = biff(0x0809, struct.pack("<HHHHII", 0x0600, 0x0010, 0, 0, 0, 6)) + biff(0x0200, size)
    sheet += rows + above + biff(0x000A)
    start = biff(0x0809, struct.pack("<HHHHII", 0x0600, 0x0005, 0, 0, 0, 6))
    place = len(start) + 4 + 8 + len(name) + 4
    bound = biff(0x0085, struct.pack("<IHBB", place, 0, len(name), 0) + name.encode("latin-1"))
    return ole(("Workbook", start + bound + biff(0x000A) + sheet))


def xlsb(cells: dict[tuple[int, int], str | float], *, name: str = "Figures") -> bytes:
    """Return a binary workbook ([MS-XLSB]) of one sheet: records of a number, a length and a body, in a ZIP file."""

    def part(*records: tuple[int, bytes]) -> bytes:
        return b"".join(_varint(kind, 2) + _varint(len(body), 4) + body for kind, body in records)

    def wide(text: str) -> bytes:
        return struct.pack("<I", len(text)) + text.encode("utf-16-le")

    rows: list[tuple[int, bytes]] = []
    for (row, column), value in sorted(cells.items()):
        if column == 0:
            rows.append((0, struct.pack("<II", row, 0) + bytes(9)))
        at = struct.pack("<II", column, 0)
        rows.append((6, at + wide(value)) if isinstance(value, str) else (5, at + struct.pack("<d", value)))
    size = struct.pack("<IIII", 0, max(row for row, _ in cells), 0, max(column for _, column in cells))
    bundle = struct.pack("<II", 0, 1) + wide("rId1") + wide(name)
    types = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    return zipped({
        "[Content_Types].xml": '<Types><Override PartName="/xl/workbook.bin" '
        'ContentType="application/vnd.ms-excel.sheet.binary.macroEnabled.main"/></Types>',
        "xl/workbook.bin": part((131, b""), (143, b""), (156, bundle), (144, b""), (132, b"")),
        "xl/_rels/workbook.bin.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{types}/worksheet" Target="worksheets/sheet1.bin"/></Relationships>',
        "xl/worksheets/sheet1.bin": part((129, b""), (148, size), (145, b""), *rows, (146, b""), (130, b"")),
    })  # fmt: skip


def _varint(value: int, most: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that another byte follows."""
    out = bytearray()
    while True:
        more = value > 0x7F and len(out) < most - 1
        out.append(value & 0x7F | (0x80 if more else 0))
        value >>= 7
        if not more:
            return bytes(out)


def text_box(text: str) -> bytes:
    """Return the records of a text box on a sheet."""
    return biff(0x01B6, struct.pack("<HHHHHHHI", 0, 0, 0, 0, 0, len(text), 16, 0)) + biff(
        0x003C, b"\1" + text.encode("utf-16-le")
    )


def chart(title: str, points: dict[str, float]) -> bytes:
    """Return the records of a chart on a sheet with one series."""
    values = [struct.pack("<HHHd", n, 0, 0, value) for n, value in enumerate(points.values())]
    labels = [struct.pack("<HHH", n, 0, 0) + short(label) for n, label in enumerate(points)]
    return b"".join((
        biff(0x0809, struct.pack("<HHHHII", 0x0600, 0x0020, 0, 0, 0, 6)),
        biff(0x100D, struct.pack("<HBB", 0, len(title), 0) + title.encode("latin-1")),
        biff(0x1065, b"\1\0"), *(biff(0x0203, body) for body in values),
        biff(0x1065, b"\2\0"), *(biff(0x0204, body) for body in labels),
        biff(0x000A),
    ))  # fmt: skip


def word_perfect_42(*lines: str) -> bytes:
    """Return a WordPerfect 4.2 file: no signature, text of its code page between functions that begin and end alike."""
    function = bytes.fromhex("cb0a01f601cb")
    return bytes.fromhex("d0422e2cd8829fc5070005") + (b"\n" + function).join(line.encode("cp437") for line in lines)


def compound(streams: dict[str, bytes]) -> bytes:
    """Return an OLE file with streams of their exact size: small ones live in the mini stream ([MS-CFB] 2.6.2)."""
    sector, small = 512, 64
    mini, mini_fat, entries = b"", [], []
    for name, data in sorted(streams.items(), key=lambda item: (len(item[0]), item[0].upper())):
        count = max(1, -(-len(data) // small))
        entries.append((name, len(mini_fat), len(data)))
        mini_fat += [*range(len(mini_fat) + 1, len(mini_fat) + count), 0xFFFFFFFE]
        mini += data.ljust(count * small, b"\0")
    directory = [ole_entry("Root Entry", kind=5, child=1 if entries else -1, start=-2, size=len(mini))]
    for index, (name, start, size) in enumerate(entries, start=1):
        right = index + 1 if index < len(entries) else -1
        directory.append(ole_entry(name, kind=2, right=right, start=start, size=size))
    while len(directory) % 4:
        directory.append(bytes(128))
    parts = [b"".join(directory), b"".join(struct.pack("<I", n) for n in mini_fat), mini]
    sizes = [-(-len(part) // sector) for part in parts]
    starts = [1, 1 + sizes[0], 1 + sizes[0] + sizes[1]]
    fat = [0xFFFFFFFD]
    for start, size in zip(starts, sizes, strict=True):
        fat += [*range(start + 1, start + size), 0xFFFFFFFE]
    directory[0] = ole_entry("Root Entry", kind=5, child=1 if entries else -1, start=starts[2], size=len(mini))
    parts[0] = b"".join(directory)
    header = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + b"\x3e\0\3\0\xfe\xff\x09\0\x06\0" + bytes(6)
        + struct.pack("<IIIIIIIIII", 0, 1, 1, 0, 4096, starts[1], sizes[1], 0xFFFFFFFE, 0, 0) + b"\xff" * 432
    )  # fmt: skip
    parts[1] = parts[1].ljust(sizes[1] * sector, b"\xff")
    filled = (part.ljust(size * sector, b"\0") for part, size in zip(parts, sizes, strict=True))
    return header + b"".join(struct.pack("<I", n) for n in fat).ljust(sector, b"\xff") + b"".join(filled)


def msg(subject: str | bytes, body: str = "", *, html: bytes = b"", code_page: int = 0) -> bytes:
    """Return an Outlook mail: subject (as UTF-16, or bytes of a code page), plain body, and HTML in a code page."""
    numbers = [(0x3FDE0003, code_page)] if code_page else []
    properties = bytes(32) + b"".join(struct.pack("<IIII", tag, 6, value, 0) for tag, value in numbers)
    streams = {
        "__properties_version1.0": properties,
        "__substg1.0_0037001F": subject.encode("utf-16-le") if isinstance(subject, str) else b"",
        "__substg1.0_0037001E": subject if isinstance(subject, bytes) else b"",
        "__substg1.0_001A001F": "IPM.Note".encode("utf-16-le"),
        "__substg1.0_1000001F": body.encode("utf-16-le"),
        "__substg1.0_10130102": html,
    }
    return compound({name: data for name, data in streams.items() if data})
