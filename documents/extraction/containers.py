"""What a ZIP container holds, read from its directory alone and within fixed bounds.

Runs in the worker's own process, so nothing here unpacks more than a few hundred KiB.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

from documents.extraction.base import MIB
from documents.extraction.errors import Damaged, DecompressionBomb, Encrypted, UnsupportedType

_END = b"PK\x05\x06"
_MAX_DIRECTORY_BYTES = 2 * MIB
_MAX_ENTRIES, _ENTRY = 20_000, b"PK\x01\x02"
"""Each costs the worker 5 microseconds, while all of its other threads wait."""
_MAX_ENTRY_BYTES = 1 * MIB
_MAX_UNPACKED_BYTES = 1024 * MIB
_TOO_MANY = "The archive lists far more files than a document has."
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
            raise DecompressionBomb(_TOO_MANY)
        data = super().read(size)
        if len(data) > len(_ENTRY) * _MAX_ENTRIES and data.count(_ENTRY) > _MAX_ENTRIES:
            raise DecompressionBomb(_TOO_MANY)
        return data


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
        raise DecompressionBomb(_TOO_MANY)


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
