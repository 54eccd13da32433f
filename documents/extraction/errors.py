"""How an extraction can end badly: one type per end, each with a code and a message for a person.

An error crosses the pipe between child and parent as `to_wire()` and comes back through `from_wire()` as the same type.
Details that help an operator (engine, signal, exception class) travel in `evidence`; never document text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from documents.exceptions import DocumentError
from documents.extraction.base import Tried


class ExtractionError(DocumentError):
    """The text of this document could not be extracted."""

    code = "extraction_failed"
    final: bool = False
    """True when no other engine can change the answer: the chain stops at once."""

    def __init__(self, message: str = "", *, evidence: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.evidence: dict[str, Any] = dict(evidence or {})
        self.tried: tuple[Tried, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """Return the error as JSON-able fields."""
        return {"code": self.code, "message": str(self), "evidence": self.evidence}


class UnsupportedType(ExtractionError):
    """This kind of file is not supported."""

    code = "unsupported_type"


class Encrypted(ExtractionError):
    """The document is protected by a password. Remove the protection and submit it again."""

    code = "encrypted"
    final = True


class Damaged(ExtractionError):
    """The document is damaged or incomplete and could not be read."""

    code = "damaged"


class Empty(ExtractionError):
    """The file is empty."""

    code = "empty"
    final = True


class TooLarge(ExtractionError):
    """The document holds more text than this service extracts."""

    code = "too_large"
    final = True


class TooManyPages(ExtractionError):
    """The document has more pages than this service extracts."""

    code = "too_many_pages"
    final = True


class DecompressionBomb(ExtractionError):
    """The document unpacks to far more data than a real one would."""

    code = "decompression_bomb"
    final = True


class ExtractionTimeout(ExtractionError):
    """Extraction took longer than allowed and was stopped."""

    code = "extraction_timeout"
    final = True


class OutOfMemory(ExtractionError):
    """Extraction needed more memory than allowed and was stopped."""

    code = "out_of_memory"


class ExtractorCrashed(ExtractionError):
    """The extraction process died while reading this document."""

    code = "extractor_crashed"


class ExtractionCancelled(ExtractionError):
    """Extraction was cancelled."""

    code = "cancelled"
    final = True


class SandboxUnavailable(ExtractionError):
    """The extraction process could not be started. The task is tried again later."""

    code = "sandbox_unavailable"
    retryable = True


class MissingDependency(ExtractionError):
    """A program that this format needs is not installed on the worker.

    `package` is the Debian package that brings it.
    """

    code = "missing_dependency"

    def __init__(self, message: str = "", *, package: str = "", evidence: Mapping[str, Any] | None = None) -> None:
        if not message and package:
            message = (
                f"Reading this format needs the system package {package}, which is not installed on the "
                f"worker. Install it (apt-get install {package}) and retry the task."
            )
        super().__init__(message, evidence={**(evidence or {}), "package": package})
        self.package = package


class OcrUnavailable(MissingDependency):
    """The pages are pictures and no text recognition is installed on the worker."""

    code = "ocr_unavailable"

    def __init__(self, message: str = "", *, package: str = "", evidence: Mapping[str, Any] | None = None) -> None:
        if not message and package:
            message = (
                f"The pages are pictures, and the system package {package}, which reads text from pictures, is not "
                f"installed on the worker. Install it (apt-get install {package}) and retry the task."
            )
        super().__init__(message, package=package, evidence=evidence)


ERRORS: dict[str, type[ExtractionError]] = {
    error.code: error
    for error in (
        ExtractionError, UnsupportedType, Encrypted, Damaged, Empty, TooLarge, TooManyPages, DecompressionBomb,
        ExtractionTimeout, OutOfMemory, ExtractorCrashed, ExtractionCancelled, SandboxUnavailable,
        MissingDependency, OcrUnavailable,
    )
}  # fmt: skip


def from_wire(fields: Mapping[str, Any]) -> ExtractionError:
    """Rebuild an error from `to_wire()`; an unknown code becomes a plain ExtractionError."""
    kind = ERRORS.get(str(fields.get("code", "")), ExtractionError)
    message, evidence = str(fields.get("message", "")), dict(fields.get("evidence") or {})
    if issubclass(kind, MissingDependency):
        return kind(message, package=str(evidence.get("package", "")), evidence=evidence)
    return kind(message, evidence=evidence)
