"""One call of `Sandbox.extract`: from a free child to an Extraction or the error that says why not."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from documents.extraction import wire
from documents.extraction.base import Extraction, Identity, Limits, Options, Progress, Tried, to_dict
from documents.extraction.errors import (
    ExtractionCancelled,
    ExtractionError,
    ExtractionTimeout,
    ExtractorCrashed,
    OutOfMemory,
)
from documents.extraction.process import ChildGone, ChildProcess, DeadlinePassed

logger = logging.getLogger(__name__)

_CORES = os.cpu_count() or 1
"""Asked once: the C library opens a file to answer."""

_DEATH_SECONDS = 2.0
"""How long a child whose pipe has ended may take to die; the kernel writes no core, so milliseconds are usual."""


class Pool(Protocol):
    """What a run needs of the sandbox."""

    limits: Limits

    @property
    def closed(self) -> bool:
        """Whether the sandbox is shutting down."""

    def acquire(self, cancelled: Callable[[], bool]) -> ChildProcess:
        """Wait for a child."""

    def release(self, child: ChildProcess, *, reuse: bool) -> None:
        """Give a child back."""

    def wake(self) -> None:
        """Let those who wait look at their cancellation."""


class Run:
    """One call of `extract`: its deadline, its cancellation, and the engines that killed their process on the way."""

    def __init__(self, pool: Pool, path: Path, identity: Identity, options: Options, on_progress: Progress) -> None:
        self._pool, self._limits = pool, pool.limits
        self._path, self._identity = path, identity
        self._options, self._on_progress = options, on_progress
        self._deadline: float | None = None
        self._lock = threading.Lock()
        self._child: ChildProcess | None = None
        self._cancelled = self._finished = False
        self._crashes: list[ExtractionError] = []
        self._tried: tuple[Tried, ...] = ()

    def cancel(self) -> None:
        """Kill the child at once. After the run has finished the child belongs to others: then do nothing."""
        with self._lock:
            if self._finished:
                return
            self._cancelled = True
            if self._child is not None:
                self._child.kill()
        self._pool.wake()

    def finish(self) -> None:
        """From here on `cancel` does nothing."""
        with self._lock:
            self._finished = True

    def result(self) -> Extraction:
        """Run the engines; when one kills its process, run those that are left in another."""
        while True:
            outcome = self._once()
            if isinstance(outcome, Extraction):
                return dataclasses.replace(outcome, tried=self._tried + outcome.tried)
            if outcome is None:
                continue
            # An engine that died says more about the document than the next one's missing tool.
            error = self._crashes[0] if self._crashes and not outcome.final else outcome
            error.tried = self._tried + outcome.tried
            raise error

    def _once(self) -> Extraction | ExtractionError | None:
        """Use one child. Returns None when an engine killed it and others may be left to try."""
        child = self._pool.acquire(lambda: self._cancelled)
        seconds = self._options.timeout_seconds or self._limits.timeout_seconds
        self._deadline = self._deadline or time.monotonic() + seconds
        healthy = False
        try:
            self._attach(child)
            outcome, reply = self._converse(child)
            healthy = self._may_serve_again(child, reply)
            return outcome
        except DeadlinePassed:
            return self._timeout(child, seconds)
        except ChildGone:
            return self._death(child)
        except ExtractorCrashed as error:
            error.tried = child.at_work().ended(error.code)
            return error
        finally:
            with self._lock:
                self._child = None
            self._pool.release(child, reuse=healthy)

    def _attach(self, child: ChildProcess) -> None:
        with self._lock:
            if self._cancelled:
                child.kill()
            self._child = child

    def _converse(self, child: ChildProcess) -> tuple[Extraction | ExtractionError, dict[str, Any]]:
        """Send the request, pass progress on, return what came of it with the last reply."""
        child.documents += 1
        child.send(self._request(child))
        while True:
            reply = child.receive(self._deadline or 0.0)
            kind = reply.get("kind")
            if kind == "progress":
                self._on_progress(*wire.progress_from(reply))
            elif kind == "done":
                return child.take_over(reply.get("result"), self._limits, self._identity.warnings), reply
            elif kind == "error":
                return wire.error_from(reply), reply
            else:
                raise wire.Nonsense()

    def _request(self, child: ChildProcess) -> dict[str, Any]:
        seconds = self._options.timeout_seconds or self._limits.timeout_seconds
        return {
            "path": str(child.hand_over(self._path.absolute())),
            "identity": to_dict(self._identity),
            "work_dir": str(child.work_dir),
            "output_dir": str(child.output_dir),
            "max_pages": self._options.max_pages or self._limits.max_pages,
            "output_bytes": self._limits.output_bytes,
            "ocr": to_dict(self._options.ocr_of(self._limits.ocr)),
            # Engines with threads of their own use several cores; the wall clock is the limit that counts.
            "cpu_seconds": seconds * _CORES + 5,
            "skip": self._skip(),
        }

    def _may_serve_again(self, child: ChildProcess, reply: dict[str, Any]) -> bool:
        """Clear away what system tools left running; retire a child that is old, fat or short of memory."""
        if reply.get("spawned"):
            child.clear_away()
        return (
            child.documents < self._limits.recycle_documents
            and wire.resident_bytes_from(reply) < self._limits.recycle_rss_bytes
            and reply.get("code") != OutOfMemory.code
        )

    def _death(self, child: ChildProcess) -> ExtractionError | None:
        """Find out why the pipe ended: we did it, or the document did."""
        child.wait_dead(_DEATH_SECONDS)
        work = child.at_work()
        end = child.dispose()
        if self._cancelled or self._pool.closed:
            return ExtractionCancelled()
        error = end.to_error(work.engine, self._limits)
        logger.warning("extraction child died", extra=error.evidence)
        record = work.ended(error.code)
        if not work.engine or error.final or work.engine in self._skip():
            error.tried = record
            return error
        # Those before it run again in the next child, which records them.
        self._tried += record[-1:]
        self._crashes.append(error)
        return None

    def _timeout(self, child: ChildProcess, seconds: float) -> ExtractionTimeout:
        work = child.at_work()
        error = ExtractionTimeout(
            f"Extraction took longer than {seconds:g} seconds and was stopped.", evidence={"engine": work.engine}
        )
        error.tried = work.ended(error.code)
        return error

    def _skip(self) -> list[str]:
        """Engines that killed their process."""
        return [str(crash.evidence["engine"]) for crash in self._crashes]
