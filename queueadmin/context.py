"""What a running actor may know of its job: `current_job()`; and what log lines say of whoever writes them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from queueadmin import origin
from queueadmin.origin import Origin

_local = threading.local()
_worker = ""
"""The name of this worker process; "" in any other."""


_cancelling = threading.Lock()
"""Shared by all tokens: a job is cancelled once in a while, but a token is made for every one."""


class CancelToken:
    """Says that a job should stop, and why. Set once, from another thread."""

    __slots__ = ("_callbacks", "reason")

    def __init__(self) -> None:
        self.reason: str | None = None
        self._callbacks: list[Callable[[], object]] | None = None

    def is_set(self) -> bool:
        return self.reason is not None

    def wait(self, timeout: float) -> bool:
        """Sleep up to `timeout` seconds; True as soon as the job should stop."""
        event = threading.Event()
        forget = self.on_cancel(event.set)
        event.wait(timeout)
        forget()
        return self.is_set()

    def set(self, reason: str) -> None:
        """Ask the job to stop: `cancelled` by a person, `shutdown` of the worker."""
        with _cancelling:
            if self.reason is not None:
                return
            self.reason = reason
            callbacks, self._callbacks = self._callbacks or [], None
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Run `callback` when the job should stop (at once when it already should); returns the removal."""
        with _cancelling:
            if self.reason is None:
                self._callbacks = [*(self._callbacks or []), callback]
                return lambda: self._remove(callback)
        callback()
        return lambda: None

    def _remove(self, callback: Callable[[], object]) -> None:
        with _cancelling:
            self._callbacks = [item for item in self._callbacks or [] if item is not callback]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an attempt is: `done` of `total` units of `stage`; None where unknown."""

    stage: str
    done: int | None = None
    total: int | None = None


@dataclass(kw_only=True)
class JobContext:
    """The job that the current thread runs. `parent_id` is the job that it follows up."""

    id: UUID
    queue: str
    actor: str
    attempt: int
    run: int
    failures: int
    max_attempts: int
    parent_id: UUID | None = None
    origin: Origin = field(default_factory=Origin)
    cancel: CancelToken = field(default_factory=CancelToken)
    progress: Progress | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def report(self, stage: str, done: int | None = None, total: int | None = None) -> None:
        """Say how far the job is. Costs nothing here: the worker writes the last report once a second."""
        self.progress = Progress(stage=stage, done=done, total=total)

    def note(self, **fields: Any) -> None:
        """Keep JSON-able facts about this attempt; they are stored in the event that ends it."""
        self.notes.update(fields)

    def describe(self) -> dict[str, Any]:
        """What every log line of this attempt carries."""
        found: dict[str, Any] = {"job_id": str(self.id), "actor": self.actor, "attempt": self.attempt}
        if self.parent_id is not None:
            found["parent_id"] = str(self.parent_id)
        return {**self.origin.describe(), **found}


def current_job() -> JobContext:
    """The context of the job that this thread runs. Raises LookupError outside an actor."""
    context: JobContext | None = getattr(_local, "job", None)
    if context is None:
        raise LookupError("No job runs in this thread: current_job() works inside an actor only.")
    return context


def enter_job(context: JobContext | None) -> None:
    """Bind the thread to a job, or to none. For the broker."""
    _local.job = context


def current_origin() -> Origin:
    """For whom this thread works: its job's origin, or the request's."""
    job: JobContext | None = getattr(_local, "job", None)
    return origin.of_request() if job is None else job.origin


def name_worker(name: str) -> None:
    """Say which worker this process is. For the worker's own runtime."""
    global _worker
    _worker = name


def describe() -> dict[str, Any]:
    """What a log line of this thread is about: job, origin, worker; what is not known is left out."""
    job: JobContext | None = getattr(_local, "job", None)
    found: dict[str, Any] = job.describe() if job is not None else dict(origin.of_request().describe())
    return {**found, "worker": _worker} if _worker else found
