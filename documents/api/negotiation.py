"""Choosing a representation by Accept (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

_MAX_RANGES = 64
"""Beyond this many media ranges the rest of an Accept header is ignored."""


class ExactParserOnly(BaseContentNegotiation):
    """Takes JSON bodies only, and answers JSON whatever Accept says.

    A client that accepts something else still reads an error or a status better than a bare 406. Nothing here
    looks at the query string, whose decoding a hostile `charset` parameter could break.
    """

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        essence = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == essence), None)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        only = next(iter(renderers))
        return only, str(only.media_type)


def choose(accept: str, offered: Sequence[str]) -> str | None:
    """The offered media type that an Accept header likes best; None when it refuses all.

    An empty header accepts everything. Between equals, the more specific range wins, then the one that
    the client wrote first, then our own order.
    """
    if not accept.strip():
        return offered[0]
    ranges = [_media_range(text, place) for place, text in enumerate(accept.split(",")[:_MAX_RANGES])]
    best: tuple[float, int, int] | None = None
    chosen = None
    for media_type in offered:
        matching = [item for item in ranges if _matches(item[0], media_type)]
        # The most specific range decides the quality of a type, so "text/plain;q=0, */*" refuses text.
        preference = max(((specific, -place, quality) for _, specific, place, quality in matching), default=None)
        if preference is None or preference[2] <= 0:
            continue
        rank = (preference[2], preference[0], preference[1])
        if best is None or rank > best:
            best, chosen = rank, media_type
    return chosen


def _media_range(text: str, place: int) -> tuple[str, int, int, float]:
    """(media range, how specific it is, its place, its quality)."""
    essence, *parameters = (part.strip().lower() for part in text.split(";"))
    specific = 0 if essence == "*/*" else 1 if essence.endswith("/*") else 2
    return essence, specific, place, _quality(parameters)


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return 0.0
            return quality if 0.0 <= quality <= 1.0 else 0.0
    return 1.0


def _matches(media_range: str, media_type: str) -> bool:
    return media_range in ("*/*", media_type) or media_range == media_type.partition("/")[0] + "/*"
