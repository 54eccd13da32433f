"""The formats that are text already: txt, md, json, csv, tsv. Only the encoding has to be found."""

from __future__ import annotations

import csv
import io
import json
import re

from documents.extraction.base import Extraction, Identity, JsonValue, Page, Request, extraction
from documents.extraction.charset import Decoded, decode
from documents.extraction.errors import TooLarge

_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}")
_DELIMITERS = ",;\t|"
_CELL_LIMIT = 2**31 - 1


def read_text(request: Request) -> Decoded:
    """Read and decode the whole file. Raises TooLarge above the output limit."""
    if request.path.stat().st_size > request.output_bytes:
        raise TooLarge()
    decoded = decode(request.path.read_bytes())
    return Decoded(
        text=decoded.text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\0", ""),
        encoding=decoded.encoding,
        guessed=decoded.guessed,
    )


def _finish(
    request: Request,
    decoded: Decoded,
    text: str,
    metadata: dict[str, JsonValue] | None = None,
    warnings: tuple[str, ...] = (),
) -> Extraction:
    guess = (f"encoding_guessed: {decoded.encoding}",) if decoded.guessed else ()
    return extraction(
        "text",
        request,
        [Page(number=1, text=text)],
        metadata={"encoding": decoded.encoding, **(metadata or {})},
        warnings=warnings + guess,
    )


class TextEngine:
    """Decodes; for tables it joins cells by tabs, for JSON it resolves \\u escapes and keeps the rest as written."""

    name = "text"
    spawns = False

    def accepts(self, identity: Identity) -> bool:
        """Tell whether the format is plain text."""
        return identity.extension in ("txt", "md", "json", "csv", "tsv")

    def extract(self, request: Request) -> Extraction:
        """Decode the file and tidy it by format."""
        decoded = read_text(request)
        if request.identity.extension in ("csv", "tsv"):
            return _table(request, decoded)
        if request.identity.extension == "json":
            return _json(request, decoded)
        return _finish(request, decoded, decoded.text)


def _table(request: Request, decoded: Decoded) -> Extraction:
    """Cells joined by tabs, rows by line ends. A text that csv refuses stays as it is, with a warning."""
    delimiter = _delimiter(decoded.text, default="\t" if request.identity.extension == "tsv" else ",")
    csv.field_size_limit(_CELL_LIMIT)
    try:
        rows = list(csv.reader(io.StringIO(decoded.text, newline=""), delimiter=delimiter))
    except csv.Error:
        return _finish(request, decoded, decoded.text, warnings=("not_well_formed",))
    widths: JsonValue = max((len(row) for row in rows), default=0)
    text = "\n".join("\t".join(row) for row in rows)
    return _finish(request, decoded, text, {"rows": len(rows), "columns": widths})


def _delimiter(text: str, *, default: str) -> str:
    """Return the delimiter that gives the first lines the most cells of one width.

    csv.Sniffer was tried: it finds delimiters among letters in tables of one column.
    """
    lines = [line for line in text.splitlines()[:50] if line.strip()]

    def score(delimiter: str) -> tuple[int, bool]:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        except csv.Error:
            return 0, False
        usual = max(set(widths), key=widths.count, default=1)
        return (usual if usual > 1 and widths.count(usual) * 2 > len(widths) else 0), delimiter == default

    best = max(_DELIMITERS, key=score)
    return best if score(best)[0] else default


def _json(request: Request, decoded: Decoded) -> Extraction:
    """Numbers and order stay as written, which json.loads and dumps would change; only escapes are resolved."""
    warnings: tuple[str, ...] = ()
    text = decoded.text
    try:
        value = json.loads(text)
        if _ESCAPE.search(text):
            text = json.dumps(value, ensure_ascii=False, indent=1)
    except RecursionError:
        warnings = ("nested_too_deep",)
    except ValueError:
        # JSON lines, comments, cut off: the text is still worth having.
        warnings = () if _is_json_lines(text) else ("not_well_formed",)
    return _finish(request, decoded, text.encode("utf-8", "replace").decode(), warnings=warnings)


def _is_json_lines(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        for line in lines[:100]:
            json.loads(line)
    except (ValueError, RecursionError):
        return False
    return len(lines) > 1
