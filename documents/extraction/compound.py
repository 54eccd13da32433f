"""What an OLE container ([MS-CFB]) holds, read from the top of its directory alone and within fixed bounds.

Runs in the worker's own process. olefile makes an object of every entry, also of those deep inside, which took 50,000
of them 2.5 seconds, and reads streams whole; here only the names at the top are looked at, and the beginning of one
stream.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import olefile

from documents.extraction.errors import Damaged, DecompressionBomb, Encrypted, UnsupportedType

MOST_ENTRIES, MOST_AT_THE_TOP = 50_000, 20_000
"""A mail to 10,000 people has as many, a fifth of them at the top."""

_TOO_MANY = "The file lists far more parts than a document has."
_FAT_SECTORS_IN_HEADER = 109
_ENTRY = struct.Struct("<64sHBBIII16sIQQIII")
"""[MS-CFB] 2.6.1: name, its bytes, kind, colour, left, right and child, class, state, two times, start, size twice."""
_STORAGE, _STREAM = 1, 2
_BEGINNING = 4096
_MOST_SMALL_BYTES = 256 * 1024
"""Of the stream that holds the small ones. In a longer one nothing is looked for: text lies in large streams."""

_STREAMS = (
    ("worddocument", "doc"),
    ("workbook", "xls"),
    ("book", "xls"),
    ("powerpoint document", "ppt"),
    ("pp40", "ppt"),
    ("__properties_version1.0", "msg"),
)


class Directory(olefile.OleFileIO):  # type: ignore[misc]  # olefile ships no types
    """olefile for the table of sectors, and the names at the top of the directory: `top` is name -> (start, bytes)."""

    looked_at = 0

    def loadfat(self, header: bytes) -> None:
        """Its list of table sectors may lead back to itself; olefile goes round as often as the header says."""
        needed = 4 * self.nb_sect // self.sectorsize
        if self.num_difat_sectors and self.num_fat_sectors > 2 * needed + _FAT_SECTORS_IN_HEADER:
            raise Damaged()
        super().loadfat(header)

    def loaddirectory(self, sect: int) -> None:
        """Called by olefile when it opens a file."""
        # One byte more than allowed, so that it is seen.
        self.directory_fp = self._open(sect, size=MOST_ENTRIES * _ENTRY.size + 1, force_FAT=True)
        self._entries = self.directory_fp.getvalue()
        if len(self._entries) > MOST_ENTRIES * _ENTRY.size:
            raise DecompressionBomb(_TOO_MANY)
        self.direntries = [None] * (len(self._entries) // _ENTRY.size)
        self.root = self._load_direntry(0)
        self.top = dict(self._siblings(self._entry(0)[6]))

    def beginning(self, name: str) -> bytes:
        """The first 4 KiB of a stream at the top; nothing where it lies far behind other small ones."""
        start, size = self.top[name]
        if size >= self.minisectorcutoff:
            return bytes(self._open(start, size=min(size, _BEGINNING), force_FAT=True).getvalue())
        if self.root.size > _MOST_SMALL_BYTES:
            return b""
        return bytes(self._open(start, size=size).getvalue())

    def _siblings(self, first: int) -> Iterator[tuple[str, tuple[int, int]]]:
        """The entries of a storage: a tree by name, in which a hostile file may go round in circles."""
        seen, todo = bytearray(len(self.direntries)), [first]
        while todo:
            number = todo.pop()
            if number >= len(seen) or seen[number]:  # also "none", which is the highest number
                continue
            seen[number] = True
            self.looked_at += 1
            if self.looked_at > MOST_AT_THE_TOP:
                raise DecompressionBomb(_TOO_MANY)
            raw, length, kind, _, left, right, _, _, _, _, _, start, size, _ = self._entry(number)
            todo += (right, left)
            if kind in (_STORAGE, _STREAM):
                yield raw[: max(0, min(length, 64) - 2)].decode("utf-16-le", "replace").lower(), (start, size)

    def _entry(self, number: int) -> tuple[Any, ...]:
        return _ENTRY.unpack_from(self._entries, number * _ENTRY.size)


def ole_format(path: Path) -> str:
    """Return the document format inside an OLE file. Raises Damaged, DecompressionBomb, Encrypted, UnsupportedType."""
    try:
        with Directory(str(path)) as ole:
            if "encryptedpackage" in ole.top or "encryptedsummary" in ole.top:
                raise Encrypted()
            stream, found = next(((stream, found) for stream, found in _STREAMS if stream in ole.top), ("", ""))
            if found in ("doc", "xls") and _is_encrypted(ole.beginning(stream), found):
                raise Encrypted()
    except (
        OSError,
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        struct.error,
    ) as error:
        # olefile signals broken structures with all of these (OleFileError is an OSError).
        raise Damaged(evidence={"exception": type(error).__name__}) from error
    if not found:
        raise UnsupportedType("This is a Microsoft OLE file of a kind that this service does not read.")
    return found


def _is_encrypted(data: bytes, found: str) -> bool:
    """Read the flag fEncrypted of a Word FIB ([MS-DOC] 2.5.2) or look for FILEPASS in a workbook ([MS-XLS] 2.4.117)."""
    if found == "doc":
        return len(data) >= 12 and bool(int.from_bytes(data[10:12], "little") & 0x0100)
    at = 0
    while at + 4 <= len(data):
        kind, length = struct.unpack_from("<HH", data, at)
        if kind in (0x2F, 0x0A):
            return bool(kind == 0x2F)
        at += 4 + length
    return False
