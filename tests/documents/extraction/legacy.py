"""Minimal Word 97 and PowerPoint 97 files, written record by record."""

from __future__ import annotations

import struct

from tests.documents.extraction.conftest import ole


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
    struct.pack_into("<II", fib, 0x01A2, 0, len(clx))
    return ole(("WordDocument", bytes(fib) + body), ("1Table", clx))


def record(kind: int, body: bytes, *, instance: int = 0, container: bool = False) -> bytes:
    """Return one record of a PowerPoint stream."""
    return struct.pack("<HHI", instance << 4 | (0xF if container else 0), kind, len(body)) + body


def ppt(slides: list[tuple[str, str, str]]) -> bytes:
    """Return a PowerPoint file of (outline, text box, notes) slides."""
    persists: list[bytes] = []

    def persist(number: int, slide_id: int) -> bytes:
        return record(0x03F3, struct.pack("<IIIII", number, 0, 0, slide_id, 0))

    slide_list = notes_list = b""
    for index, (outline, box, notes) in enumerate(slides):
        persists.append(record(0x03EE, record(0x0FA8, box.encode("latin-1")), container=True))
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
