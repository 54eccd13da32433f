"""One document: fetch, identify, extract, store. Each step is named, timed, reported, and stops when asked to."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from documents import rendering
from documents.exceptions import DocumentError
from documents.extraction.base import Extraction, Identity, JsonValue, Options, to_dict
from documents.extraction.errors import ExtractionError
from documents.extraction.identify import identify
from documents.extraction.sandbox import Sandbox
from documents.storage import DocumentStore, Downloaded, ResultStore
from documents.workspace import Workspace
from queueadmin import tracing
from queueadmin.context import JobContext
from queueadmin.exceptions import JobCancelled

logger = logging.getLogger(__name__)

_CANCELLED = "cancelled"
"""The code of whatever a storage or extraction step raises when it was stopped on request."""

_MAX_WARNINGS = 50
_MAX_WARNING_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class Document:
    """What to ingest: whose it is, where it lies, what the client says of it, how to read it. `file_size` is bytes."""

    tenant: str
    key: str
    file_name: str
    content_type: str
    file_size: int | None = None
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What the steps work with. `max_bytes` is the largest document that is read."""

    store: DocumentStore
    results: ResultStore
    sandbox: Sandbox
    workspace: Workspace
    max_bytes: int


@dataclass(kw_only=True)
class Steps:
    """The run of one attempt, step by step: progress for people, timings for the job's event, cancellation."""

    job: JobContext
    milliseconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report and time one step. Raises JobCancelled when the job should stop, before or during it."""
        self.check()
        self.job.report(name)
        started = time.monotonic()
        try:
            with tracing.span(name):
                yield
        except DocumentError as error:
            if error.code == _CANCELLED:
                raise JobCancelled() from error
            raise
        finally:
            self.milliseconds[name] = round((time.monotonic() - started) * 1000, 1)
            self.job.note(ms=dict(self.milliseconds))

    def check(self) -> None:
        """Raise JobCancelled when the job should stop."""
        if self.job.cancel.is_set():
            raise JobCancelled()


def run(document: Document, *, job: JobContext, tools: Tools) -> dict[str, Any]:
    """Ingest one document and return the summary that becomes the job's result.

    Raises DocumentErrors, which say themselves whether trying again can help, and JobCancelled.
    """
    steps = Steps(job=job)
    with tools.workspace.place() as path:
        with steps.step("fetch"):
            fetched = _fetch(document, path, job=job, tools=tools)
        with steps.step("identify"):
            identity = identify(path, declared=document.content_type, file_name=document.file_name)
            job.note(content_type=identity.content_type, declared=identity.declared, named=identity.named)
        with steps.step("extract"):
            extraction = _extract(path, identity, document.options, job=job, sandbox=tools.sandbox)
    with steps.step("store"):
        key = _store(extraction, fetched, identity, steps=steps, results=tools.results)
    return _summary(document, fetched, extraction, key)


def _fetch(document: Document, path: Path, *, job: JobContext, tools: Tools) -> Downloaded:
    """Download the document. The limit holds for the bytes read; what the client declared is not trusted."""
    logger.info("downloading from storage")
    started = time.monotonic()
    fetched = tools.store.download(
        document.key,
        path,
        max_bytes=tools.max_bytes,
        on_progress=lambda done, total: job.report("fetch", done, total),
        cancelled=job.cancel.is_set,
    )
    logger.info("downloaded", extra={"bytes": fetched.bytes, "ms": _milliseconds(started)})
    job.note(bytes=fetched.bytes)
    return fetched


def _extract(path: Path, identity: Identity, options: Options, *, job: JobContext, sandbox: Sandbox) -> Extraction:
    """Extract in the sandbox; a cancellation kills the child. Notes the engines, also when all of them failed."""
    logger.info("extracting", extra={"content_type": identity.content_type})
    started = time.monotonic()
    try:
        extraction = sandbox.extract(
            path, identity=identity, options=options, on_progress=job.report, on_cancel_register=job.cancel.on_cancel
        )
    except ExtractionError as error:
        job.note(tried=[to_dict(tried) for tried in error.tried], evidence=error.evidence)
        raise
    logger.info(
        "extracted",
        extra={
            "characters": len(extraction.text), "pages": len(extraction.pages), "engine": extraction.engine,
            "ms": _milliseconds(started),
        },
    )  # fmt: skip
    job.note(engine=extraction.engine, tried=[to_dict(tried) for tried in extraction.tried])
    return extraction


def _store(
    extraction: Extraction, fetched: Downloaded, identity: Identity, *, steps: Steps, results: ResultStore
) -> str:
    """Write the result under a key that holds task and attempt: a late writer overwrites only its own."""
    source: dict[str, JsonValue] = {**to_dict(fetched), "declared": identity.declared, "named": identity.named}
    chunks = rendering.stored_chunks(extraction, {"source": source})
    started = time.monotonic()
    key = results.write(steps.job.id, steps.job.attempt, _cancellable(chunks, steps))
    logger.info("stored", extra={"ms": _milliseconds(started)})
    return key


def _milliseconds(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _cancellable(chunks: Iterable[bytes], steps: Steps) -> Iterator[bytes]:
    for chunk in chunks:
        steps.check()
        yield chunk


def _summary(document: Document, fetched: Downloaded, extraction: Extraction, key: str) -> dict[str, Any]:
    warnings = list(extraction.warnings)
    if document.file_size is not None and document.file_size != fetched.bytes:
        warnings.insert(0, f"size_mismatch: declared {document.file_size} bytes, read {fetched.bytes}")
    return {
        "characters": len(extraction.text),
        "pages": len(extraction.pages),
        "content_type": extraction.content_type,
        "engine": extraction.engine,
        "sha256": fetched.sha256,
        "key": key,
        "warnings": [warning[:_MAX_WARNING_CHARACTERS] for warning in warnings[:_MAX_WARNINGS]],
    }
