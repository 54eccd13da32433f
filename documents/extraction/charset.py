"""From bytes to text: byte order marks first, then UTF-8, then a guess that says it is one."""

from __future__ import annotations

import codecs
import collections
import dataclasses
import re

from charset_normalizer import from_bytes

# UTF-32 before UTF-16: the little-endian mark of one begins with that of the other.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ISO_2022 = re.compile(rb"\x1b(\$[@AB()]|\([BJI])")
# Single-byte relatives that share most letters; statistics on a short text cannot tell them apart, alphabets can.
# ruff: noqa: RUF001  # the alphabets hold what looks like other characters, that is their point
_LANGUAGES = {
    "cp1252": (
        "éàèùâêîôûçëïüœæ",
        "äöüß",
        "áéíóúñüç",
        "ãõçáéíóúâêôàü",
        "àèéìòù",
        "åäöé",
        "æøåéòôó",
        "áðéíóúýþæö",
        "éëïóèüö",
    ),
    "cp1250": ("ąćęłńóśźż", "áčďéěíňóřšťúůý", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž", "ăâîşţ", "áčďéěíňóřšťúůýž"),
    "cp1254": ("çğıöşüâîû",),
    "cp1257": ("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž"),
    "iso8859_2": ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž", "ăâîşţ"),
    "iso8859_13": ("ąčęėįšųūž", "āčēģīķļņšūž"),
    "iso8859_16": ("ăâîșț",),
    "iso8859_3": ("ċġħżàèìòù", "ĉĝĥĵŝŭ"),
}
"""Encoding to the letters beyond ASCII of each language written in it."""
_SIGNS = frozenset("€‚„…†‡‰‹›‘’“”•–—™¡¿«»°§©®½¼¾£¥·²³ªº´\u00a0\u00ad")
_LATIN_NAMES = {
    *_LANGUAGES, "cp1258", "latin_1", "mac_roman", "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_9", "iso8859_10",
    "iso8859_13", "iso8859_14", "iso8859_15", "iso8859_16",
}  # fmt: skip
_SAMPLE_BYTES = 256 * 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoded:
    """Text, the encoding it was read as, and whether that was a guess."""

    text: str
    encoding: str
    guessed: bool = False


def decode(data: bytes, *, declared: str = "") -> Decoded:
    """Decode `data`; never raises. A `declared` charset is believed only where it fits the bytes.

    Guessing: charset-normalizer got multi-byte and eastern encodings of the measured corpus right where chardet 5 did
    not, and confuses the single-byte encodings of Europe, which `_nearest_latin` corrects.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return Decoded(text=data.decode(encoding, "replace"), encoding=encoding)
    # UTF-16 without a mark is valid UTF-8 full of zero bytes, so it is looked for first.
    utf8 = "" if _ISO_2022.search(data[:4096]) else "utf-8"
    for encoding in filter(None, (_wide(data), utf8, known(declared))):
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
    best = from_bytes(sample).best()
    encoding = best.encoding if best else "cp1252"
    return _nearest_latin(sample) if encoding in _LATIN_NAMES else encoding


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


def _nearest_latin(sample: bytes) -> str:
    """Choose the encoding in which the letters beyond ASCII are those of one language; the first one wins ties.

    Single letters decide nothing (most alphabets share some), the absence of foreign ones does.
    """
    high = collections.Counter(byte for byte in sample if byte >= 0x80)

    def score(encoding: str, letters: str) -> float:
        total = 0.0
        for byte, count in high.items():
            char = bytes((byte,)).decode(encoding, "replace").replace("İ", "i\u0307").lower()[0]
            if char in letters or (char == "i" and "ı" in letters):
                weight = 1.0
            elif char in _SIGNS:
                weight = 0.3
            else:
                weight = -1.5 if char.isalpha() else -3.0
            total += weight * count
        return total

    return max(_LANGUAGES, key=lambda encoding: max(score(encoding, letters) for letters in _LANGUAGES[encoding]))
