"""What an office file says of itself: title, author, dates. For engines that give text alone."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import olefile
from lxml import etree

from documents.extraction.base import MIB, JsonValue
from documents.extraction.ole import ole_metadata

_OOXML = frozenset({"docx", "pptx", "xlsx", "xlsb"})
_ODF = frozenset({"odt", "ods", "odp"})
_OLE = frozenset({"doc", "xls", "ppt"})
_PARTS: Mapping[str, Mapping[str, str]] = {
    "docProps/core.xml": {
        "title": "title", "creator": "author", "subject": "subject", "keywords": "keywords", "created": "created",
        "modified": "modified", "lastModifiedBy": "modified_by",
    },
    "docProps/app.xml": {"Application": "producer"},
    "meta.xml": {
        "title": "title", "initial-creator": "author", "subject": "subject", "keyword": "keywords",
        "creation-date": "created", "date": "modified", "creator": "modified_by", "generator": "producer",
    },
}  # fmt: skip
"""Part to the elements that matter (ECMA-376 part 2 annex D, ODF 1.2 part 1 section 4.3), by local name."""
_MAX_PART_BYTES = 1 * MIB
_MAX_CHARACTERS = 1000


def properties(path: Path, extension: str) -> dict[str, JsonValue]:
    """Return what the file's property parts say; nothing where there are none or they are broken."""
    try:
        if extension in _OOXML or extension in _ODF:
            with zipfile.ZipFile(path) as archive:
                return _of_archive(archive, odf=extension in _ODF)
        if extension in _OLE and olefile.isOleFile(str(path)):
            with olefile.OleFileIO(str(path)) as ole:
                return ole_metadata(ole)
    except Exception:  # The text has been read; no damage to a list of properties is a reason to lose it.
        return {}
    return {}


def _of_archive(archive: zipfile.ZipFile, *, odf: bool) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    names = frozenset(archive.namelist())
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    for part, wanted in _PARTS.items():
        if part not in names or (part == "meta.xml") != odf:
            continue
        with archive.open(part) as file:
            root = etree.fromstring(file.read(_MAX_PART_BYTES), parser)
        for element in root.iter(etree.Element):
            key = wanted.get(etree.QName(element).localname)
            text = (element.text or "").strip()
            if key and text:
                found.setdefault(key, text[:_MAX_CHARACTERS])
    return found
