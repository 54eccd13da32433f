"""What a ZIP or OLE container holds, read from its directory alone and within fixed bounds.

Runs in the worker's own process, so nothing here unpacks more than a few hundred KiB.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import olefile

from documents.extraction.base import MIB
from documents.extraction.errors import Damaged, DecompressionBomb, Encrypted, UnsupportedType

_END = b"PK\x05\x06"
_MAX_DIRECTORY_BYTES = 8 * MIB
_MAX_ENTRY_BYTES = 1 * MIB
_MAX_UNPACKED_BYTES = 1024 * MIB
_MAX_OLE_ENTRIES = 50_000
"""A mail to 10,000 people has as many; each costs the worker 0.05 ms."""
_FAT_SECTORS_IN_HEADER = 109
_BOMB_ENTRY_BYTES, _BOMB_RATIO = 64 * MIB, 100
"""Real office files reach ratios of 20 to 50; deflate ends at 1,032. Small entries may have any ratio."""

_OOXML_PARTS = (
    (b"wordprocessingml.", "docx"),
    (b"ms-word.", "docx"),
    (b"spreadsheetml.", "xlsx"),
    (b"ms-excel.sheet.binary", "xlsb"),
    (b"ms-excel.", "xlsx"),
    (b"presentationml.", "pptx"),
    (b"ms-powerpoint.", "pptx"),
)
_MIMETYPES = (
    (b"application/epub+zip", "epub"),
    (b"application/vnd.oasis.opendocument.text", "odt"),
    (b"application/vnd.oasis.opendocument.spreadsheet", "ods"),
    (b"application/vnd.oasis.opendocument.presentation", "odp"),
)
_OLE_STREAMS = (
    ("worddocument", "doc"),
    ("workbook", "xls"),
    ("book", "xls"),
    ("powerpoint document", "ppt"),
    ("pp40", "ppt"),
    ("__properties_version1.0", "msg"),
)
_FONT_OBFUSCATION = (b"http://www.idpf.org/2008/embedding", b"http://ns.adobe.com/pdf/enc#RC")


def zip_format(path: Path) -> str:
    """Return the document format inside a ZIP file. Raises Damaged, DecompressionBomb, Encrypted, UnsupportedType."""
    _check_directory_size(path)
    try:
        with _Bounded(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            entries = {info.filename.replace("\\", "/").lower(): info for info in archive.infolist()}
            _refuse_bomb(entries)
            found = _zip_kind(archive, entries)
            if not found:
                raise UnsupportedType("This is a ZIP archive without a document in it that this service reads.")
            _refuse_encryption(archive, entries, found)
            return found
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        struct.error,
        RuntimeError,
        OSError,
        ValueError,
    ) as error:
        raise Damaged(evidence={"exception": type(error).__name__}) from error


class _Bounded(io.BufferedReader):
    """A file of which no large piece is read at once: zipfile reads a directory in one.

    The end record says how long that is, and a ZIP64 record before it overrules it: which of them counts is zipfile's
    decision, and not the same in every version.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MAX_DIRECTORY_BYTES:
            raise DecompressionBomb("The archive lists far more files than a document has.")
        return super().read(size)


def _check_directory_size(path: Path) -> None:
    """Refuse a missing or monstrous central directory before zipfile turns each entry into an object."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 65_557))
        tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        raise Damaged("The end of this ZIP-based document is missing: it was cut off. Upload it again.")
    directory_bytes = int.from_bytes(tail[at + 12 : at + 16], "little")
    if directory_bytes == 0xFFFFFFFF and (zip64 := tail.rfind(b"PK\x06\x06")) >= 0:
        directory_bytes = int.from_bytes(tail[zip64 + 40 : zip64 + 48], "little")
    if directory_bytes > _MAX_DIRECTORY_BYTES:
        raise DecompressionBomb("The archive lists far more files than a document has.")


def _refuse_bomb(entries: dict[str, zipfile.ZipInfo]) -> None:
    total = 0
    for info in entries.values():
        total += info.file_size
        ratio = info.file_size / max(info.compress_size, 1)
        if total > _MAX_UNPACKED_BYTES or (info.file_size > _BOMB_ENTRY_BYTES and ratio > _BOMB_RATIO):
            raise DecompressionBomb(evidence={"unpacked_bytes": total})


def _zip_kind(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]) -> str:
    mimetype = _read(archive, entries, "mimetype").strip().lower()
    for prefix, found in _MIMETYPES:
        if mimetype.startswith(prefix):
            return found
    types = _read(archive, entries, "[content_types].xml").lower()
    for start in _find_all(types, b'contenttype="'):
        value = types[start : types.find(b'"', start)]
        if value.endswith((b".main+xml", b"binary.macroenabled.main")):
            for needle, found in _OOXML_PARTS:
                if needle in value:
                    return found
    for name, found in (
        ("word/document.xml", "docx"),
        ("xl/workbook.xml", "xlsx"),
        ("xl/workbook.bin", "xlsb"),
        ("ppt/presentation.xml", "pptx"),
        ("meta-inf/container.xml", "epub"),
    ):
        if name in entries:
            return found
    manifest = _read(archive, entries, "meta-inf/manifest.xml").lower()
    return next((found for prefix, found in _MIMETYPES if b'"' + prefix in manifest), "")


def _refuse_encryption(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], found: str) -> None:
    if any(info.flag_bits & 1 for info in entries.values()):
        raise Encrypted()
    if found in ("odt", "ods", "odp") and b"encryption-data" in _read(archive, entries, "meta-inf/manifest.xml"):
        raise Encrypted()
    if found == "epub":
        rules = _read(archive, entries, "meta-inf/encryption.xml")
        # Obfuscated fonts are no obstacle to reading; any other algorithm is a DRM scheme.
        methods = rules.count(b"EncryptionMethod") - rules.count(b"/EncryptionMethod")
        if methods > sum(rules.count(name) for name in _FONT_OBFUSCATION):
            raise Encrypted()


def _read(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], name: str) -> bytes:
    """Return at most 1 MiB of one entry; nothing when it is absent, locked, or packed as in no document.

    OPC, ODF and EPUB know two methods; others have errors of their own, and LZMA asks for as much memory as it likes.
    """
    info = entries.get(name)
    if info is None or info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return b""
    with archive.open(info) as entry:
        return entry.read(_MAX_ENTRY_BYTES)


def _find_all(haystack: bytes, needle: bytes) -> list[int]:
    found, at = [], haystack.find(needle)
    while at >= 0:
        found.append(at + len(needle))
        at = haystack.find(needle, at + 1)
    return found


class _Directory(olefile.OleFileIO):  # type: ignore[misc]  # olefile ships no types
    """olefile within bounds: it looks for streams named twice in a list, which took 10,000 entries 1.3 seconds."""

    _entries = 0

    def loadfat(self, header: bytes) -> None:
        """Its list of table sectors may lead back to itself; olefile goes round as often as the header says."""
        needed = 4 * self.nb_sect // self.sectorsize
        if self.num_difat_sectors and self.num_fat_sectors > 2 * needed + _FAT_SECTORS_IN_HEADER:
            raise Damaged()
        super().loadfat(header)

    def _check_duplicate_stream(self, first_sect: int, minifat: bool = False) -> None:
        """Its only effect is a line in olefile's log."""

    def _load_direntry(self, sid: int) -> Any:
        self._entries += 1
        if self._entries > _MAX_OLE_ENTRIES:
            raise DecompressionBomb("The file lists far more parts than a document has.")
        return super()._load_direntry(sid)


def ole_format(path: Path) -> str:
    """Return the document format inside an OLE file. Raises Damaged, Encrypted, UnsupportedType."""
    try:
        with _Directory(str(path)) as ole:
            names = {entry[0].lower() for entry in ole.listdir(streams=True, storages=True)}
            if "encryptedpackage" in names or "encryptedsummary" in names:
                raise Encrypted()
            found = next((found for stream, found in _OLE_STREAMS if stream in names), "")
            if found in ("doc", "xls") and _legacy_encrypted(ole, found):
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


def _legacy_encrypted(ole: olefile.OleFileIO, found: str) -> bool:
    """Read the flag fEncrypted of a Word FIB ([MS-DOC] 2.5.2) or look for FILEPASS in a workbook ([MS-XLS] 2.4.117)."""
    if found == "doc":
        head = ole.openstream("WordDocument").read(12)
        return len(head) == 12 and bool(int.from_bytes(head[10:12], "little") & 0x0100)
    data = ole.openstream("Workbook" if ole.exists("Workbook") else "Book").read(4096)
    at = 0
    while at + 4 <= len(data):
        kind, length = struct.unpack_from("<HH", data, at)
        if kind in (0x2F, 0x0A):
            return bool(kind == 0x2F)
        at += 4 + length
    return False
