"""Run the engines of a format in order until one gives text; keep a record of every one that was tried."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Mapping

from documents.extraction.base import VISIBLE_WITHOUT_TEXT, Engine, Extraction, Request, Tried
from documents.extraction.errors import (
    Damaged,
    ExtractionError,
    MissingDependency,
    OcrUnavailable,
    OutOfMemory,
    UnsupportedType,
)

NO_TEXT = "no_text_found"
"""Warning of a document that was read without error and holds no text."""


@dataclasses.dataclass
class _Findings:
    """What the engines left behind so far."""

    empty: Extraction | None = None
    errors: list[ExtractionError] = dataclasses.field(default_factory=list)
    tried: list[Tried] = dataclasses.field(default_factory=list)


def run(
    request: Request,
    table: Mapping[str, tuple[Engine, ...]],
    *,
    skip: Collection[str] = (),
    on_engine: Callable[[Engine], None] = lambda engine: None,
) -> Extraction:
    """Return the first result with text, else the empty one with a warning. Raises an ExtractionError.

    `skip` names engines that are left out because they killed their process before; `on_engine` is told each engine
    before it runs, so that the parent knows who was at work when the process died.
    """
    engines = [e for e in table.get(request.identity.extension, ()) if e.accepts(request.identity)]
    if not engines:
        raise UnsupportedType(f"Files of type {request.identity.extension} are not supported.")
    findings = _Findings()
    for engine in engines:
        if engine.name in skip:
            continue
        on_engine(engine)
        found = _attempt(engine, request, findings)
        if found is not None and found.text.strip():
            return dataclasses.replace(found, tried=tuple(findings.tried))
        findings.empty = findings.empty or found
    return _without_text(findings)


def _attempt(engine: Engine, request: Request, findings: _Findings) -> Extraction | None:
    """Run one engine. Returns None after an error that leaves room for the next engine."""
    started = time.monotonic()
    error: ExtractionError
    try:
        found = engine.extract(request)
        findings.tried.append(_tried(engine, started, "" if found.text.strip() else NO_TEXT))
        return found
    except ExtractionError as known:
        error = known
    except MemoryError:
        error = OutOfMemory()
    except Exception as unknown:  # An engine may raise anything on hostile input; all of it means "could not read".
        error = Damaged(evidence={"engine": engine.name, "exception": type(unknown).__name__})
        error.__cause__ = unknown
    findings.tried.append(_tried(engine, started, error.code))
    findings.errors.append(error)
    if error.final:
        error.tried = tuple(findings.tried)
        raise error
    return None


def _tried(engine: Engine, started: float, reason: str) -> Tried:
    return Tried(engine=engine.name, seconds=round(time.monotonic() - started, 4), reason=reason)


def _without_text(findings: _Findings) -> Extraction:
    """Decide the end when no engine gave text: never "completed" with nothing where a page shows something."""
    if findings.empty is None:
        # The first engine is the one that knows the format best; an absent tool says less about the document.
        errors = sorted(findings.errors, key=lambda error: isinstance(error, MissingDependency))
        error = errors[0] if errors else Damaged()
    else:
        unread_pictures = findings.empty.metadata.get(VISIBLE_WITHOUT_TEXT)
        no_ocr = next((e for e in findings.errors if isinstance(e, OcrUnavailable)), None)
        if not (unread_pictures and no_ocr):
            warnings = (*findings.empty.warnings, NO_TEXT)
            return dataclasses.replace(findings.empty, warnings=warnings, tried=tuple(findings.tried))
        error = no_ocr
    error.tried = tuple(findings.tried)
    raise error
