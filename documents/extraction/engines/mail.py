"""E-mail (RFC 5322 and MIME, also MHTML) by the standard library: headers, the best body, a list of attachments."""

from __future__ import annotations

import dataclasses
import email
import email.header
import email.message
import email.utils
import re
from collections.abc import Sequence

from documents.extraction import markdown
from documents.extraction.base import Extraction, Identity, JsonValue, Page, Request, extraction
from documents.extraction.charset import decode
from documents.extraction.engines.html import declared_charset, read_html
from documents.extraction.errors import Damaged, TooLarge

_SHOWN = ("Subject", "From", "To", "Cc", "Date")
_MAX_DEPTH = 8
_MAX_PARTS = 1000


class MailEngine:
    """Reads a mail. `policy.compat32` is used because the newer policies raise on headers that real mail has."""

    name = "mail"
    spawns = False

    def accepts(self, identity: Identity) -> bool:
        """Only mail."""
        return identity.extension == "eml"

    def extract(self, request: Request) -> Extraction:
        """Read headers and body; forwarded mails follow the text they were attached to."""
        if request.path.stat().st_size > 2 * request.output_bytes:
            raise TooLarge()
        message = email.message_from_bytes(_tidy(request.path.read_bytes()))
        if not message.keys():
            raise Damaged("The file has no mail headers.")
        attachments: list[JsonValue] = []
        whole = _render(message, attachments, depth=0)
        metadata: dict[str, JsonValue] = {name.lower(): _header(message, name) for name in (*_SHOWN, "Message-ID")}
        metadata["attachments"] = attachments
        warnings = ("attachments_not_extracted",) if attachments else ()
        return extraction(
            "mail",
            request,
            [Page(number=1, text=whole.text)],
            metadata=metadata,
            warnings=warnings,
            markdown=whole.markdown,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Body:
    """A part that people read; `markdown` is "" where it has no structure."""

    text: str
    markdown: str = ""


def _joined(parts: Sequence[_Body]) -> _Body:
    """Put parts below each other; Markdown where any of them has some."""
    kept = [part for part in parts if part.text]
    structured = any(part.markdown for part in kept)
    return _Body(
        text="\n\n".join(part.text for part in kept),
        markdown="\n\n".join(part.markdown or _lines(part.text) for part in kept) if structured else "",
    )


def _lines(text: str) -> str:
    """Plain text as Markdown that looks the same: each line ends with a hard break (CommonMark 6.7)."""
    lines = (markdown.escape(line.strip()) for line in text.split("\n"))
    return re.sub(r"(?<=[^\n])\n(?=[^\n])", "\\\\\n", "\n".join(lines))


def _tidy(data: bytes) -> bytes:
    """Drop a byte order mark, and the spaces that RFC 5322 4.5 (obsolete syntax) allows before a header's colon."""
    data = data.lstrip(b"\xef\xbb\xbf\r\n \t")
    head, blank, body = data.partition(b"\r\n\r\n" if b"\r\n\r\n" in data else b"\n\n")
    return re.sub(rb"(?m)^([A-Za-z][A-Za-z0-9-]*)[ \t]+:", rb"\1:", head) + blank + body


def _header(message: email.message.Message, name: str) -> str:
    """Return a decoded header; undecodable words stay as they are."""
    value = message.get(name)
    if value is None:
        return ""
    parts = []
    try:
        for chunk, encoding in email.header.decode_header(str(value)):
            parts.append(decode(chunk, declared=encoding or "").text if isinstance(chunk, bytes) else chunk)
    except (email.errors.HeaderParseError, ValueError):
        return str(value)
    return " ".join("".join(parts).split())


def _render(message: email.message.Message, attachments: list[JsonValue], *, depth: int) -> _Body:
    head = "\n".join(f"{name}: {value}" for name in _SHOWN if (value := _header(message, name)))
    bodies: list[_Body] = []
    before = len(attachments)
    _collect(message, bodies, attachments, depth=depth)
    names = [str(one["name"]) for one in attachments[before:] if isinstance(one, dict) and one["name"]]
    # Whoever searches for a mail by what was attached to it finds it; a mail within this one names its own.
    listed = "" if depth or not names else f"Attachments: {', '.join(names)}"
    return _joined([_Body(text=head), *bodies, _Body(text=listed)])


def _collect(part: email.message.Message, bodies: list[_Body], attachments: list[JsonValue], *, depth: int) -> None:
    """Append the texts of `part` in order; name what is attached."""
    kind = part.get_content_type()
    if depth > _MAX_DEPTH or len(attachments) > _MAX_PARTS:
        return
    if kind == "multipart/alternative":
        bodies.append(_best_alternative(part, attachments, depth=depth))
    elif part.is_multipart():
        for child in part.get_payload():
            if isinstance(child, email.message.Message):
                if kind == "message/rfc822":
                    bodies.append(_render(child, attachments, depth=depth + 1))
                else:
                    _collect(child, bodies, attachments, depth=depth + 1)
    elif (kind in ("text/plain", "text/html") and not _is_attachment(part)) or (
        kind.startswith("text/") and not part.get_filename()
    ):
        bodies.append(_body(part))
    else:
        attachments.append(_attachment(part))


def _best_alternative(part: email.message.Message, attachments: list[JsonValue], *, depth: int) -> _Body:
    """Prefer plain text over HTML unless it holds far less, as with "your client cannot show this mail"."""
    found: dict[str, _Body] = {}
    for child in part.get_payload():
        if isinstance(child, email.message.Message):
            bodies: list[_Body] = []
            _collect(child, bodies, attachments, depth=depth + 1)
            kind = "plain" if child.get_content_type() == "text/plain" else "rich"
            found[kind] = _joined([*([found[kind]] if kind in found else []), *bodies])
    plain, rich = found.get("plain", _Body(text="")), found.get("rich", _Body(text=""))
    if len(plain.text) * 2 < len(rich.text):
        return rich
    # The HTML says the same with its structure.
    return dataclasses.replace(plain, markdown=rich.markdown)


def _is_attachment(part: email.message.Message) -> bool:
    return part.get_content_disposition() == "attachment"


def _payload(part: email.message.Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _body(part: email.message.Message) -> _Body:
    data = _payload(part)
    declared = str(part.get_content_charset() or "")
    if part.get_content_type() == "text/html":
        page = read_html(decode(data, declared=declared or declared_charset(data[:4096])).text)
        return _Body(text=page.text, markdown=page.markdown)
    return _Body(text=decode(data, declared=declared).text.replace("\r\n", "\n").replace("\0", "").strip())


def _attachment(part: email.message.Message) -> dict[str, JsonValue]:
    raw = part.get_filename() or ""
    try:
        name = str(email.header.make_header(email.header.decode_header(raw)))
    except (email.errors.HeaderParseError, LookupError, ValueError):
        name = raw
    return {"name": name, "content_type": part.get_content_type(), "bytes": len(_payload(part))}
