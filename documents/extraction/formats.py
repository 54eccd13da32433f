"""The formats this service has a name for: extension, media type, synonyms. Literal tables, no logic."""

from __future__ import annotations

_OOXML = "application/vnd.openxmlformats-officedocument"
_ODF = "application/vnd.oasis.opendocument"

CONTENT_TYPES: dict[str, str] = {
    "pdf": "application/pdf",
    "docx": f"{_OOXML}.wordprocessingml.document",
    "xlsx": f"{_OOXML}.spreadsheetml.sheet",
    "xlsb": "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    "pptx": f"{_OOXML}.presentationml.presentation",
    "odt": f"{_ODF}.text",
    "ods": f"{_ODF}.spreadsheet",
    "odp": f"{_ODF}.presentation",
    "epub": "application/epub+zip",
    "doc": "application/msword",
    "wpd": "application/vnd.wordperfect",
    "xls": "application/vnd.ms-excel",
    "ppt": "application/vnd.ms-powerpoint",
    "msg": "application/vnd.ms-outlook",
    "rtf": "application/rtf",
    "html": "text/html",
    "eml": "message/rfc822",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "json": "application/json",
    "xml": "application/xml",
    "md": "text/markdown",
    "txt": "text/plain",
    "png": "image/png",
    "jpg": "image/jpeg",
    "tiff": "image/tiff",
    "gif": "image/gif",
}
"""One canonical media type per format; the key is the registry's key."""

EXTENSION_SYNONYMS: dict[str, str] = {
    "htm": "html", "xhtml": "html", "xht": "html", "mht": "eml", "mhtml": "eml", "jpeg": "jpg", "jpe": "jpg",
    "tif": "tiff", "tab": "tsv", "text": "txt", "log": "txt", "markdown": "md", "jsonl": "json", "ndjson": "json",
    "geojson": "json", "ipynb": "json", "svg": "xml", "rss": "xml", "atom": "xml", "xsd": "xml", "xsl": "xml",
    "xslt": "xml", "fb2": "xml", "fodt": "xml", "docm": "docx", "dotx": "docx", "dotm": "docx", "dot": "doc",
    "wp": "wpd", "wp5": "wpd", "wp6": "wpd",
    "xlsm": "xlsx", "xltx": "xlsx", "xltm": "xlsx", "xlt": "xls", "pptm": "pptx", "potx": "pptx", "potm": "pptx",
    "ppsx": "pptx", "ppsm": "pptx", "pps": "ppt", "pot": "ppt", "ott": "odt", "ots": "ods", "otp": "odp",
}  # fmt: skip

CONTENT_TYPE_SYNONYMS: dict[str, str] = {
    "application/x-pdf": "pdf", "text/rtf": "rtf", "application/xhtml+xml": "html", "text/xml": "xml",
    "text/x-markdown": "md", "application/csv": "csv", "text/comma-separated-values": "csv", "text/tsv": "tsv",
    "image/jpg": "jpg", "image/tif": "tiff", "text/json": "json", "application/x-ndjson": "json",
    "application/ld+json": "json", "image/svg+xml": "xml", "multipart/related": "eml", "text/rfc822": "eml",
    "application/x-msword": "doc", "application/wordperfect": "wpd",
    "application/x-msexcel": "xls", "application/x-mspowerpoint": "ppt",
    "application/vnd.ms-word.document.macroenabled.12": "docx",
    "application/vnd.ms-excel.sheet.macroenabled.12": "xlsx",
    "application/vnd.ms-powerpoint.presentation.macroenabled.12": "pptx",
    f"{_OOXML}.wordprocessingml.template": "docx", f"{_OOXML}.spreadsheetml.template": "xlsx",
    f"{_OOXML}.presentationml.template": "pptx", f"{_OOXML}.presentationml.slideshow": "pptx",
    f"{_ODF}.text-template": "odt", f"{_ODF}.spreadsheet-template": "ods", f"{_ODF}.presentation-template": "odp",
}  # fmt: skip

_MAX_ENDING = 20

UNDECLARED = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/unknown"})
"""What clients send when they do not know: says nothing, so it can contradict nothing."""

TEXTUAL = frozenset({"html", "eml", "csv", "tsv", "json", "xml", "md", "txt"})
"""Formats without a signature of their own; here the claim helps to choose, and a wrong one is harmless."""

SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"{\\rtf", "rtf"),
    (b"\xdb\xa5", "doc"),  # Word 1 and 2 for Windows, before OLE files
    (b"\xffWPC", "wpd"),
    (b"1\xbe\0\0", "doc"),  # Word for DOS, Write
    (b"\t\x08\x10\0", "xls"),  # BIFF8 to BIFF2 streams without an OLE file around them
    (b"\t\x08\x08\0", "xls"),
    (b"\t\x04\x06\0", "xls"),
    (b"\t\x02\x06\0", "xls"),
    (b"\t\0\x04\0", "xls"),
)

UNSUPPORTED: tuple[tuple[bytes, str], ...] = (
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a program"),
    (b"ID3", "an audio file"),
    (b"OggS", "an audio file"),
    (b"fLaC", "an audio file"),
    (b"RIFF", "an audio, video or WebP file"),
    (b"SQLite format 3\0", "a database"),
    (b"%!PS", "a PostScript file"),
)
"""Recognised only so that the error can say what it is."""


def format_of_content_type(content_type: str) -> str:
    """Return the format a media type names, or "" if it is unknown or says nothing."""
    name = content_type.partition(";")[0].strip().lower()
    if name in UNDECLARED:
        return ""
    return CONTENT_TYPE_SYNONYMS.get(name) or next((k for k, v in CONTENT_TYPES.items() if v == name), "")


def format_of_name(file_name: str) -> str:
    """Return the format that a file name's ending names, or ""."""
    ending = ending_of_name(file_name)
    ending = EXTENSION_SYNONYMS.get(ending, ending)
    return ending if ending in CONTENT_TYPES else ""


def ending_of_name(file_name: str) -> str:
    """Return what stands behind the last point of a file name, in lower case; "" where there is none."""
    return file_name.rpartition(".")[2].strip().lower()[:_MAX_ENDING] if "." in file_name else ""
