"""A pool of warm extraction children, bounded by the cores and shared by all worker threads of a process.

A call costs about a millisecond beside the extraction itself; after a kill the next one pays for a new child. pebble
and multiprocessing pools were tried and left orphans of system tools; one process per document cost 13 to 80 ms.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path

from documents.extraction.base import Extraction, Identity, Limits, Options, Progress
from documents.extraction.errors import ExtractionCancelled, SandboxUnavailable
from documents.extraction.process import ChildProcess
from documents.extraction.run import Run
from documents.extraction.workspace import PrivateRoot

logger = logging.getLogger(__name__)

CancelRegister = Callable[[Callable[[], None]], Callable[[], None]]
"""Takes what to call on cancellation (at once if that has happened), returns what takes it back."""

_CLOSE_SECONDS = 2.0


class Sandbox:
    """Extracts documents in child processes. Thread-safe; to be made after a fork, never before.

    `registry` names the module whose `ENGINES` the children use, `python_path` where else they look for modules;
    `size` is the number of children (default: the cores); private directories are made under `temp_root`.
    `isolate` False leaves the children in this network: for tests of what the parsers do on their own.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        size: int | None = None,
        registry: str = "documents.extraction.registry",
        python_path: tuple[Path, ...] = (),
        temp_root: Path | None = None,
        isolate: bool = True,
    ) -> None:
        self.limits = limits or Limits()
        self.size = size or os.cpu_count() or 1
        self._registry, self._python_path, self._isolate = registry, python_path, isolate
        # Two conditions of one lock: a child that comes free wakes one thread that waits, where there may be dozens.
        self._lock = threading.Lock()
        self._free, self._calm = threading.Condition(self._lock), threading.Condition(self._lock)
        self._idle: list[ChildProcess] = []
        self._busy: set[ChildProcess] = set()
        self._count = 0
        self._closed = self._told = False
        self._numbers = itertools.count(1)
        self._root = PrivateRoot(temp_root or Path(tempfile.gettempdir()))
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
        run = Run(self, path, identity, options or Options(), on_progress or _ignore)
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
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
            self._free.notify_all()
        for child in busy:
            child.kill()
        for child in idle:
            child.dispose()
        with self._lock:
            self._calm.wait_for(lambda: not self._busy, timeout=_CLOSE_SECONDS)
        self._spawner.shutdown(wait=False)
        self._finalizer()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def wake(self) -> None:
        """Let the threads that wait for a child look at their cancellation again."""
        with self._lock:
            self._free.notify_all()

    def acquire(self, cancelled: Callable[[], bool]) -> ChildProcess:
        """Take an idle child or start one. Raises ExtractionCancelled or SandboxUnavailable."""
        dead: list[ChildProcess] = []
        try:
            with self._lock:
                while True:
                    if cancelled():
                        self._free.notify()  # what woke this thread may have been meant for any that waits
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
                    self._free.wait()
        finally:
            for child in dead:
                child.dispose()
        return self._start()

    def _start(self) -> ChildProcess:
        try:
            child = self._spawner.submit(self._spawn).result()
            child.wait_ready(self.limits.start_seconds)
        except BaseException as error:
            with self._lock:
                self._count -= 1
                self._free.notify()
            if isinstance(error, RuntimeError):  # the executor after close()
                raise SandboxUnavailable("The extraction sandbox is shutting down.") from error
            raise
        with self._lock:
            self._busy.add(child)
            closed, told = self._closed, self._told
            self._told = True
        if closed:
            self.release(child, reuse=False)
            raise SandboxUnavailable("The extraction sandbox is shutting down.")
        if not told:
            logger.info("extraction sandbox", extra={"children": self.size, **granted_and_refused(child.protections)})
        return child

    def _spawn(self) -> ChildProcess:
        home = self._root.path / f"child-{next(self._numbers)}"
        return ChildProcess(
            home, self.limits, registry=self._registry, python_path=self._python_path, isolate=self._isolate
        )

    def release(self, child: ChildProcess, *, reuse: bool) -> None:
        """Give a child back with clean directories; it is ended when it is not to be used again."""
        if reuse:
            try:
                child.renew_directories()
            except OSError:
                reuse = False
        with self._lock:
            self._busy.discard(child)
            keep = reuse and not self._closed
            if keep:
                self._idle.append(child)
            else:
                self._count -= 1
            self._free.notify()
            self._calm.notify()
        if not keep:
            child.dispose()


def granted_and_refused(protections: Mapping[str, str]) -> dict[str, list[str]]:
    """The protections for a line of log: names of those that were granted, and of the others with the reason."""
    refused = {name: outcome for name, outcome in protections.items() if outcome.startswith("refused")}
    return {
        "granted": [name for name in protections if name not in refused],
        "refused": [f"{name} ({outcome.removeprefix('refused: ')})" for name, outcome in refused.items()],
    }


def _ignore(stage: str, done: int | None, total: int | None) -> None:
    """Progress that nobody asked for."""
