"""What a running actor may know of its job: `current_job()`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

_local = threading.local()


class CancelToken:
    """Says that a job should stop, and why. Set once, from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next = 0
        self._event = threading.Event()
        self.reason: str | None = None

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout: float) -> bool:
        """Sleep up to `timeout` seconds; True as soon as the job should stop."""
        return self._event.wait(timeout)

    def set(self, reason: str) -> None:
        """Ask the job to stop: `cancelled` by a person, `shutdown` of the worker."""
        with self._lock:
            if self._event.is_set():
                return
            self.reason = reason
            self._event.set()
            callbacks = list(self._callbacks.values())
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Run `callback` when the job should stop (at once when it already should); returns the removal."""
        with self._lock:
            if not self._event.is_set():
                key = self._next = self._next + 1
                self._callbacks[key] = callback
                return lambda: self._remove(key)
        callback()
        return lambda: None

    def _remove(self, key: int) -> None:
        with self._lock:
            self._callbacks.pop(key, None)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an attempt is: `done` of `total` units of `stage`; None where unknown."""

    stage: str
    done: int | None = None
    total: int | None = None


@dataclass(kw_only=True)
class JobContext:
    """The job that the current thread runs."""

    id: UUID
    queue: str
    actor: str
    attempt: int
    run: int
    failures: int
    max_attempts: int
    cancel: CancelToken = field(default_factory=CancelToken)
    progress: Progress | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def report(self, stage: str, done: int | None = None, total: int | None = None) -> None:
        """Say how far the job is. Costs nothing here: the worker writes the last report once a second."""
        self.progress = Progress(stage=stage, done=done, total=total)

    def note(self, **fields: Any) -> None:
        """Keep JSON-able facts about this attempt; they are stored in the event that ends it."""
        self.notes.update(fields)


def current_job() -> JobContext:
    """The context of the job that this thread runs. Raises LookupError outside an actor."""
    context: JobContext | None = getattr(_local, "job", None)
    if context is None:
        raise LookupError("No job runs in this thread: current_job() works inside an actor only.")
    return context


def enter_job(context: JobContext | None) -> None:
    """Bind the thread to a job, or to none. For the broker."""
    _local.job = context
