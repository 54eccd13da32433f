"""A pool of warm extraction children, bounded by the cores and shared by all worker threads of a process.

A call costs under a millisecond beside the extraction itself; after a kill the next one pays for a new child. pebble
and multiprocessing pools were tried and left orphans of system tools; one process per document cost 13 to 80 ms.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import itertools
import logging
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from documents.extraction.base import Extraction, Identity, Limits, Options, Progress, Tried, to_dict
from documents.extraction.errors import (
    ExtractionCancelled,
    ExtractionError,
    ExtractionTimeout,
    OutOfMemory,
    SandboxUnavailable,
    from_wire,
)
from documents.extraction.process import ChildGone, ChildProcess, remove_tree, sweep, tried_from

logger = logging.getLogger(__name__)

CancelRegister = Callable[[Callable[[], None]], Callable[[], None]]
"""Takes what to call on cancellation (at once if that has happened), returns what takes it back."""

_PREFIX = "extraction-"
_DEATH_SECONDS = 2.0
_LEFTOVER_AGE_SECONDS = 60.0


class Sandbox:
    """Extracts documents in child processes. Thread-safe; to be made after a fork, never before.

    `registry` names the module whose `ENGINES` the children use, `python_path` where else they look for modules;
    `size` is the number of children (default: the cores); private directories are made under `temp_root`.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        size: int | None = None,
        registry: str = "documents.extraction.registry",
        python_path: tuple[Path, ...] = (),
        temp_root: Path | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.size = size or os.cpu_count() or 1
        self._registry, self._python_path = registry, python_path
        self._changed = threading.Condition()
        self._idle: list[ChildProcess] = []
        self._busy: set[ChildProcess] = set()
        self._count = 0
        self._closed = False
        self._numbers = itertools.count(1)
        self._root = _PrivateRoot(temp_root or Path(tempfile.gettempdir()))
        # PDEATHSIG fires when the spawning *thread* ends: one thread that lives as long as the pool spawns them all.
        self._spawner = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="extraction-spawner")
        self._finalizer = weakref.finalize(self, self._root.remove)

    def extract(
        self,
        path: Path,
        *,
        identity: Identity,
        options: Options | None = None,
        on_progress: Progress | None = None,
        on_cancel_register: CancelRegister | None = None,
    ) -> Extraction:
        """Extract the file at `path`, waiting for a free child if need be. Raises an ExtractionError.

        When an engine kills its process, the remaining engines are tried in a new one within the same time limit.
        """
        run = _Run(self, path, identity, options or Options(), on_progress or _ignore)
        remove = on_cancel_register(run.cancel) if on_cancel_register else None
        try:
            return run.result()
        finally:
            run.finish()
            if remove is not None:
                remove()

    def protections(self) -> dict[str, str]:
        """Start a child if none is idle and return what the kernel granted it: name -> "granted" or why not."""
        child = self.acquire(lambda: False)
        try:
            return dict(child.protections)
        finally:
            self.release(child, reuse=True)

    def close(self) -> None:
        """End every child, also those at work, and remove all directories. Runs that are cut off are cancelled."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
            self._changed.notify_all()
        for child in busy:
            child.kill()
        for child in idle:
            child.dispose()
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, timeout=_DEATH_SECONDS)
        self._spawner.shutdown(wait=False)
        self._finalizer()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def wake(self) -> None:
        """Let the threads that wait for a child look at their cancellation again."""
        with self._changed:
            self._changed.notify_all()

    def acquire(self, cancelled: Callable[[], bool]) -> ChildProcess:
        """Take an idle child or start one. Raises ExtractionCancelled or SandboxUnavailable."""
        dead: list[ChildProcess] = []
        try:
            with self._changed:
                while True:
                    if cancelled():
                        raise ExtractionCancelled()
                    if self._closed:
                        raise SandboxUnavailable("The extraction sandbox is shutting down.")
                    while self._idle:
                        child = self._idle.pop()
                        if child.is_alive():
                            self._busy.add(child)
                            return child
                        dead.append(child)
                        self._count -= 1
                    if self._count < self.size:
                        self._count += 1
                        break
                    self._changed.wait()
        finally:
            for child in dead:
                child.dispose()
        return self._start()

    def _start(self) -> ChildProcess:
        try:
            child = self._spawner.submit(self._spawn).result()
            child.wait_ready(self.limits.start_seconds)
        except BaseException as error:
            with self._changed:
                self._count -= 1
                self._changed.notify()
            if isinstance(error, RuntimeError):  # the executor after close()
                raise SandboxUnavailable("The extraction sandbox is shutting down.") from error
            raise
        with self._changed:
            self._busy.add(child)
            closed = self._closed
        if closed:
            self.release(child, reuse=False)
            raise SandboxUnavailable("The extraction sandbox is shutting down.")
        logger.debug("extraction child started", extra={"child_pid": child.pid, "protections": child.protections})
        return child

    def _spawn(self) -> ChildProcess:
        home = self._root.path / f"child-{next(self._numbers)}"
        return ChildProcess(home, self.limits, registry=self._registry, python_path=self._python_path)

    def release(self, child: ChildProcess, *, reuse: bool) -> None:
        """Give a child back with clean directories; it is ended when it is not to be used again."""
        if reuse:
            try:
                child.renew_directories()
            except OSError:
                reuse = False
        with self._changed:
            self._busy.discard(child)
            keep = reuse and not self._closed
            if keep:
                self._idle.append(child)
            else:
                self._count -= 1
            self._changed.notify_all()
        if not keep:
            child.dispose()


class _Run:
    """One call of `extract`: its deadline, its cancellation, and the engines that killed their process on the way."""

    def __init__(
        self, sandbox: Sandbox, path: Path, identity: Identity, options: Options, on_progress: Progress
    ) -> None:
        self._sandbox, self._limits = sandbox, sandbox.limits
        self._path, self._identity = path, identity
        self._options, self._on_progress = options, on_progress
        self._deadline: float | None = None
        self._lock = threading.Lock()
        self._child: ChildProcess | None = None
        self._cancelled = self._finished = False
        self._engine = ""
        self._engine_started = 0.0
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
        self._sandbox.wake()

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
        child = self._sandbox.acquire(lambda: self._cancelled)
        seconds = self._options.timeout_seconds or self._limits.timeout_seconds
        self._deadline = self._deadline or time.monotonic() + seconds
        healthy = False
        try:
            self._attach(child)
            outcome, reply = self._converse(child)
            healthy = self._may_serve_again(child, reply)
            return outcome
        except TimeoutError:
            return ExtractionTimeout(
                f"Extraction took longer than {seconds:g} seconds and was stopped.", evidence={"engine": self._engine}
            )
        except ChildGone:
            return self._death(child)
        finally:
            with self._lock:
                self._child = None
            self._sandbox.release(child, reuse=healthy)

    def _attach(self, child: ChildProcess) -> None:
        with self._lock:
            if self._cancelled:
                child.kill()
            self._child = child
            self._engine = ""

    def _converse(self, child: ChildProcess) -> tuple[Extraction | ExtractionError, dict[str, Any]]:
        """Send the request, pass progress on, return what came of it with the last reply."""
        child.documents += 1
        child.send(self._request(child))
        while True:
            reply = child.receive(self._deadline or 0.0)
            kind = reply.get("kind")
            if kind == "engine":
                self._engine, self._engine_started = str(reply["name"]), time.monotonic()
            elif kind == "progress":
                self._on_progress(str(reply["stage"]), reply["done"], reply["total"])
            elif kind == "done":
                return child.read_result(self._limits, self._identity.warnings), reply
            elif kind == "error":
                error = from_wire(reply)
                error.tried = tried_from(reply["tried"])
                return error, reply

    def _request(self, child: ChildProcess) -> dict[str, Any]:
        seconds = self._options.timeout_seconds or self._limits.timeout_seconds
        return {
            "path": str(self._path.absolute()),
            "identity": to_dict(self._identity),
            "work_dir": str(child.work_dir),
            "output_dir": str(child.output_dir),
            "max_pages": self._options.max_pages or self._limits.max_pages,
            "output_bytes": self._limits.output_bytes,
            # Engines with threads of their own use several cores; the wall clock is the limit that counts.
            "cpu_seconds": seconds * (os.cpu_count() or 1) + 5,
            "skip": [str(crash.evidence["engine"]) for crash in self._crashes],
        }

    def _may_serve_again(self, child: ChildProcess, reply: dict[str, Any]) -> bool:
        """Clear away what system tools left running; retire a child that is old, fat or short of memory."""
        if reply.get("spawned"):
            sweep(child.home, spare=child.pid)
        return (
            child.documents < self._limits.recycle_documents
            and int(reply.get("resident_bytes", 0)) < self._limits.recycle_rss_bytes
            and reply.get("code") != OutOfMemory.code
        )

    def _death(self, child: ChildProcess) -> ExtractionError | None:
        """Find out why the pipe ended: we did it, or the document did."""
        child.wait_dead(_DEATH_SECONDS)
        end = child.dispose()
        if self._cancelled or self._sandbox.closed:
            return ExtractionCancelled()
        error = end.to_error(self._engine, self._limits)
        logger.warning("extraction child died", extra=error.evidence)
        if not self._engine or error.final:
            return error
        elapsed = round(time.monotonic() - self._engine_started, 4)
        self._tried += (Tried(engine=self._engine, seconds=elapsed, reason=error.code),)
        self._crashes.append(error)
        return None


class _PrivateRoot:
    """The directory that holds the children's directories, locked while its owner lives.

    A worker that was killed cannot tidy up; the next one knows the leftovers by their free locks.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(parent)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)).resolve()
        self._lock = _lock(self.path)
        self._pid = os.getpid()

    def remove(self) -> None:
        """Remove everything. Does nothing in a forked copy of the owner."""
        if os.getpid() == self._pid and self._lock is not None:
            remove_tree(self.path)
            os.close(self._lock)
            self._lock = None


def _lock(path: Path) -> int | None:
    """Lock a directory; None if another process holds it or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_leftovers(parent: Path) -> None:
    """Remove directories of dead owners. A fresh one may not be locked yet, hence the age (seconds)."""
    for path in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime < _LEFTOVER_AGE_SECONDS or path.stat().st_uid != os.geteuid():
                continue
            descriptor = _lock(path)
            if descriptor is not None:
                remove_tree(path)
                os.close(descriptor)


def _ignore(stage: str, done: int | None, total: int | None) -> None:
    """Progress that nobody asked for."""
