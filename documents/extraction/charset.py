"""From bytes to text: byte order marks first, then UTF-8, then a guess that says it is one."""

from __future__ import annotations

import codecs
import dataclasses

from charset_normalizer import from_bytes

from documents.extraction.encoding_guess import escaped, plausible

# UTF-32 before UTF-16: the little-endian mark of one begins with that of the other.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 256 * 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoded:
    """Text, the encoding it was read as, and whether that was a guess."""

    text: str
    encoding: str
    guessed: bool = False


def decode(data: bytes, *, declared: str = "") -> Decoded:
    """Decode `data`; never raises. A `declared` charset is believed only where it fits the bytes."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return Decoded(text=data.decode(encoding, "replace"), encoding=encoding)
    # UTF-16 without a mark is valid UTF-8 full of zero bytes, so it is looked for first.
    for encoding in filter(None, (_wide(data), escaped(data[:_SAMPLE_BYTES]), "utf-8", known(declared))):
        try:
            return Decoded(text=data.decode(encoding), encoding=encoding)
        except UnicodeError:
            continue
    # A few bad bytes do not refute a declaration; many do.
    if named := known(declared):
        text = data.decode(named, "replace")
        if text.count("\ufffd") * 100 <= len(text):
            return Decoded(text=text, encoding=named)
    encoding = guess(data)
    return Decoded(text=data.decode(encoding, "replace"), encoding=encoding, guessed=True)


def guess(data: bytes) -> str:
    """Return the most plausible encoding of bytes that are not UTF-8."""
    sample = data[:_SAMPLE_BYTES]
    if found := plausible(sample):
        return found
    best = from_bytes(sample).best()
    return best.encoding if best else "cp1252"


def known(name: str) -> str:
    """Return the codec's name, or "" for one that Python does not have or that is not a text encoding."""
    try:
        codec = codecs.lookup(name.strip().strip("\"'")) if name else None
    except (LookupError, ValueError, UnicodeError):
        return ""
    # The charset of mails called "iso-8859-1" is cp1252 in practice (WHATWG Encoding Standard says the same).
    if codec is None or not getattr(codec, "_is_text_encoding", True):
        return ""
    return "cp1252" if codec.name in ("iso8859-1", "ascii") else codec.name


def _wide(data: bytes) -> str:
    """Recognise UTF-16 and UTF-32 without a mark by where the zero bytes of western text stand."""
    head = data[:1024]
    if len(head) < 4 or len(data) % 2 or b"\0" not in head:
        return ""
    zeros = [head[offset::4].count(0) * 4 / len(head) for offset in range(4)]
    if len(data) % 4 == 0 and min(zeros[1:]) > 0.9:
        return "utf-32-le"
    if len(data) % 4 == 0 and min(zeros[:3]) > 0.9:
        return "utf-32-be"
    if min(zeros[1], zeros[3]) > 0.4 and max(zeros[0], zeros[2]) < 0.1:
        return "utf-16-le"
    if min(zeros[0], zeros[2]) > 0.4 and max(zeros[1], zeros[3]) < 0.1:
        return "utf-16-be"
    return ""
