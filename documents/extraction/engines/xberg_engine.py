"""xberg (MIT): one Rust wheel for office formats and mail, with Markdown; needs no system package.

Given bytes only, so that it opens no path and no URL; no cache, no OCR, no archive inside the document, one thread.
It is asked for Markdown once and the plain text is derived from it: its own plain text drops the notes of old slides
and writes style names into headings, and asking twice costs twice.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from documents.extraction import markdown
from documents.extraction.base import Extraction, Identity, JsonValue, Page, Request, extraction
from documents.extraction.errors import Damaged, Encrypted, MissingDependency, TooLarge

_EXTENSIONS = frozenset({
    "pdf", "docx", "pptx", "xlsx", "xlsb", "odt", "ods", "odp", "doc", "ppt", "xls", "rtf", "msg", "epub", "html",
})  # fmt: skip
_PAGED = frozenset({"pdf", "pptx", "ppt"})
"""Formats whose pages it keeps apart; in a docx its pages are explicit page breaks only."""

_METADATA = {
    "title": "title", "subject": "subject", "language": "language", "created_at": "created",
    "modified_at": "modified", "created_by": "creator", "modified_by": "modified_by",
}  # fmt: skip
_MAIL = frozenset({"application/vnd.ms-outlook", "message/rfc822"})
"""Attachments whose text belongs to the mail: mails that were forwarded or answered. Other attachments are listed."""

_MAX_FILE_BYTES = 256 * 1024 * 1024


class XbergEngine:
    """Whatever xberg reads."""

    name = "xberg"
    spawns = False

    def accepts(self, identity: Identity) -> bool:
        """Tell whether it is used for the format."""
        return identity.extension in _EXTENSIONS

    def extract(self, request: Request) -> Extraction:
        """Read the document. Raises Damaged, Encrypted, TooLarge, MissingDependency."""
        document = _document(request)
        whole = document.content.strip()
        title = document.metadata.title if document.metadata else None
        pages = [
            Page(number=page.page_number, text=markdown.plain(_with_notes(page)))
            for page in (document.pages or ())
            if request.identity.extension in _PAGED
        ]
        for child in document.children or ():
            if child.mime_type in _MAIL:
                whole += f"\n\n{child.result.content.strip()}"
        text = markdown.plain(whole)
        # Its pages sometimes lack what the whole has: then the whole is worth more than the page numbers.
        if sum(len(page.text) for page in pages) < 0.9 * len(text):
            pages = [Page(number=1, text=text)]
        metadata = _metadata(document.metadata)
        if title and title not in text:
            metadata["title"] = title
        warnings = ["attachments_not_extracted"] if metadata.get("attachments") else []
        return extraction(self.name, request, pages, metadata=metadata, warnings=warnings, markdown=whole)


def _with_notes(page: Any) -> str:
    return f"{page.content}\n\n{page.speaker_notes}" if page.speaker_notes else str(page.content)


def _document(request: Request) -> Any:
    try:
        xberg = importlib.import_module("xberg")
    except ImportError as error:
        raise MissingDependency(
            "Reading this format needs the Python package xberg, which is not installed here.", package="xberg"
        ) from error
    if request.path.stat().st_size > _MAX_FILE_BYTES:
        raise TooLarge("The document is larger than this format is read.")
    config = xberg.ExtractionConfig(
        use_cache=False,
        disable_ocr=True,
        output_format="markdown",
        enable_quality_processing=False,
        max_archive_depth=1 if request.identity.extension == "msg" else 0,
        extraction_timeout_secs=None,
        pages=xberg.PageConfig(extract_pages=request.identity.extension in _PAGED),
        concurrency=xberg.ConcurrencyConfig(max_threads=1),
    )
    given = xberg.ExtractInput(
        kind="bytes",
        bytes=request.path.read_bytes(),
        mime_type=request.identity.content_type,
        filename=f"document.{request.identity.extension}",
    )
    result = asyncio.run(xberg.extract(given, config))
    if not result.results:
        # Its error items carry a text and no type; a password is the one cause that no other engine changes.
        reasons = " ".join(str(getattr(item, "message", item)) for item in result.errors)[:300].lower()
        raise Encrypted() if "password" in reasons else Damaged(evidence={"engine": "xberg"})
    return result.results[0]


def _metadata(found: Any) -> dict[str, JsonValue]:
    if found is None:
        return {}
    metadata: dict[str, JsonValue] = {
        name: str(value) for attribute, name in _METADATA.items() if (value := getattr(found, attribute, None))
    }
    if found.authors:
        metadata["author"] = ", ".join(map(str, found.authors))
    mail = getattr(found.format, "email", None) if found.format else None
    if mail is not None:
        metadata["attachments"] = [{"name": str(name)} for name in mail.attachments]
        metadata["to"] = ", ".join(map(str, mail.to_emails))
        metadata["cc"] = ", ".join(map(str, mail.cc_emails))
        metadata["from"] = str(mail.from_email or mail.from_name or "")
    if found.keywords:
        metadata["keywords"] = ", ".join(map(str, found.keywords))
    return metadata
