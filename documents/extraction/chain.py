"""Run the engines of a format in order until one gives enough text; keep a record of every one that was tried."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from documents.extraction import expectation
from documents.extraction.base import (
    INCOMPLETE,
    LOOKED,
    OCR_OFF,
    PAGES_TO_READ,
    PICTURES,
    UNREADABLE_TEXT,
    VISIBLE_WITHOUT_TEXT,
    Engine,
    Extraction,
    Finisher,
    Request,
    Tried,
)
from documents.extraction.errors import (
    Damaged,
    ExtractionError,
    MissingDependency,
    OcrUnavailable,
    OutOfMemory,
    UnsupportedType,
)
from documents.extraction.properties import properties

NO_TEXT = "no_text_found"
"""Warning of a document that was read without error and holds no text."""

FINISHED_BADLY = "ocr_failed"
"""Warning of a document that has text, but also pictures of text that could not be read."""

_BETTER = 1.1
"""A later engine's text must be that much longer than an earlier one's, which knows the format better."""


@dataclasses.dataclass
class _Findings:
    """What the engines left behind so far: the best text, the errors, the record."""

    best: Extraction | None = None
    doubt: str = ""
    unfinished: ExtractionError | None = None
    errors: list[ExtractionError] = dataclasses.field(default_factory=list)
    tried: list[Tried] = dataclasses.field(default_factory=list)


def run(
    request: Request,
    table: Mapping[str, tuple[Engine, ...]],
    *,
    finishers: Mapping[str, Finisher] | None = None,
    skip: Collection[str] = (),
    on_engine: Callable[[Engine | Finisher, Sequence[Tried]], None] = lambda engine, tried: None,
) -> Extraction:
    """Return the first result with enough text, else the best one with a warning. Raises an ExtractionError.

    `skip` names engines that are left out because they killed their process before; `on_engine` is told each engine
    before it runs, and those before it, so that the parent knows who was at work when the process died or hung.
    """
    engines = [e for e in table.get(request.identity.extension, ()) if e.accepts(request.identity)]
    if not engines:
        raise UnsupportedType(f"Files of type {request.identity.extension} are not supported.")
    findings = _Findings()
    for engine in engines[:1] if _is_picture_to_leave(request) else engines:
        if engine.name in skip:
            continue
        on_engine(engine, findings.tried)
        found = _attempt(engine, request, findings)
        if found is not None and _take(found, findings):
            break
    finisher = (finishers or {}).get(request.identity.extension)
    if finisher is not None and findings.best is not None and finisher.wanted(findings.best, request):
        if request.ocr.mode == "off":
            findings.best = _warned(findings.best, OCR_OFF)
        elif finisher.name in skip:
            findings.best = _warned(findings.best, FINISHED_BADLY)
        else:
            on_engine(finisher, findings.tried)
            _finish(finisher, request, findings.best, findings)
    return _described(_decide(findings), request)


def _described(found: Extraction, request: Request) -> Extraction:
    """Add what the file says of itself where its engine read the text alone."""
    if any(key in found.metadata for key in ("title", "author", "created")):
        return found
    said = properties(request.path, request.identity.extension)
    return dataclasses.replace(found, metadata={**said, **found.metadata}) if said else found


def _is_picture_to_leave(request: Request) -> bool:
    """Whether nobody is to read this picture: then our own engine measures it, and others, which would read, wait."""
    return request.ocr.mode == "off" and request.identity.extension in PICTURES


def _attempt(engine: Engine, request: Request, findings: _Findings) -> Extraction | None:
    """Run one engine. Returns None after an error that leaves room for the next engine."""
    started = time.monotonic()
    try:
        found = engine.extract(request)
    except Exception as problem:  # An engine may raise anything on hostile input; all of it means "could not read".
        _record(_typed(problem, engine.name), engine.name, started, findings)
        return None
    findings.doubt = expectation.doubt(request, found)
    findings.tried.append(_tried(engine.name, started, findings.doubt))
    return found


def _take(found: Extraction, findings: _Findings) -> bool:
    """Keep the better text. Returns True when it is enough, so that no other engine is asked."""
    best = findings.best
    if best is None or not findings.doubt or expectation.letters(found) > _BETTER * expectation.letters(best):
        findings.best = found
    return findings.doubt in ("", expectation.NEEDS_OCR)


def _finish(finisher: Finisher, request: Request, found: Extraction, findings: _Findings) -> None:
    """Let the finisher add to the best text; when it cannot, what was found stays, with a warning."""
    started = time.monotonic()
    try:
        findings.best = finisher.finish(request, found)
    except Exception as problem:
        # Final or not: the pages that were read are worth more than the reason why others were not.
        error = _typed(problem, finisher.name)
        findings.tried.append(_tried(finisher.name, started, error.code))
        findings.unfinished = error
        findings.best = _warned(found, error.code if isinstance(error, OcrUnavailable) else FINISHED_BADLY)
        return
    findings.tried.append(_tried(finisher.name, started, "" if findings.best.text.strip() else NO_TEXT))
    findings.doubt = ""


def _typed(problem: Exception, engine: str) -> ExtractionError:
    if isinstance(problem, ExtractionError):
        return problem
    if isinstance(problem, MemoryError):
        return OutOfMemory()
    error = Damaged(evidence={"engine": engine, "exception": type(problem).__name__})
    error.__cause__ = problem
    return error


def _record(error: ExtractionError, engine: str, started: float, findings: _Findings) -> None:
    """Note an error; raise it if no other engine can change the answer, and none has given one yet."""
    findings.tried.append(_tried(engine, started, error.code))
    findings.errors.append(error)
    if error.final and (findings.best is None or not findings.best.text.strip()):
        error.tried = tuple(findings.tried)
        raise error


def _tried(engine: str, started: float, reason: str) -> Tried:
    return Tried(engine=engine, seconds=round(time.monotonic() - started, 4), reason=reason)


def _why_nothing(findings: _Findings) -> ExtractionError | None:
    """Return why there is no text; None if the document was read and simply holds none."""
    # The first engine is the one that knows the format best; an absent tool says less about the document.
    errors = sorted(findings.errors, key=lambda error: isinstance(error, MissingDependency))
    if findings.best is None:
        return errors[0] if errors else None
    if findings.best.metadata.get(VISIBLE_WITHOUT_TEXT):
        if findings.best.metadata.get(LOOKED):
            return None
        # The pages show something: that nobody could look is no result.
        return findings.unfinished or next((error for error in errors if isinstance(error, OcrUnavailable)), None)
    # That another engine found nothing proves nothing where the best one could not read the document.
    failed_first = bool(errors) and findings.tried[0].reason == errors[0].code
    return errors[0] if failed_first and not isinstance(errors[0], MissingDependency) else None


def _public(found: Extraction, findings: _Findings) -> Extraction:
    """Leave out what engines only tell each other, and add the record."""
    metadata = {key: value for key, value in found.metadata.items() if key not in (PAGES_TO_READ, UNREADABLE_TEXT)}
    return dataclasses.replace(found, metadata=metadata, tried=tuple(findings.tried))


def _warned(found: Extraction, warning: str) -> Extraction:
    return dataclasses.replace(found, warnings=(*found.warnings, warning))


def _decide(findings: _Findings) -> Extraction:
    """Decide the end: never "completed" with nothing where a page shows something and nobody could look."""
    best = findings.best
    if best is not None and best.text.strip():
        incomplete = (
            findings.doubt in (expectation.LITTLE_TEXT, expectation.GARBLED) and INCOMPLETE not in best.warnings
        )
        return _public(_warned(best, INCOMPLETE) if incomplete else best, findings)
    error = _why_nothing(findings)
    if error is None and best is not None:
        return _public(_warned(best, NO_TEXT), findings)
    error = error or Damaged()
    error.tried = tuple(findings.tried)
    raise error
