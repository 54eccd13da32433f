"""A private temporary directory for documents at work, which does not outlive its worker.

A worker that is killed cannot tidy up: each process holds a lock on its own directory, and the next one removes
those whose lock is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "fetched-"


class Workspace:
    """Hands out places below `parent`. Thread-safe; to be made after a fork."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._lock = threading.Lock()
        self._own: tuple[Path, int, int] | None = None
        self._numbers = itertools.count(1)

    @contextlib.contextmanager
    def place(self) -> Iterator[Path]:
        """A path for one file, below a directory of this user alone; what is there is gone afterwards in any case."""
        path = self._home() / f"document-{next(self._numbers)}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove everything of this process."""
        with self._lock:
            if self._own is not None and self._own[2] == os.getpid():
                shutil.rmtree(self._own[0], ignore_errors=True)
                os.close(self._own[1])
            self._own = None

    def _home(self) -> Path:
        with self._lock:
            if self._own is None or self._own[2] != os.getpid():
                self._parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._own = _new_home(self._parent)
            return self._own[0]


def _new_home(parent: Path) -> tuple[Path, int, int]:
    """A locked directory below `parent`, once those of dead workers are gone: (path, descriptor, process id)."""
    # Under the parent's lock nobody sees a directory between its making and its locking, and takes it for a dead one's.
    turn = _open_locked(parent, wait=True)
    try:
        for path in parent.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # BlockingIOError: a living process holds it
                descriptor = _open_locked(path)
                shutil.rmtree(path, ignore_errors=True)
                os.close(descriptor)
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        return path, _open_locked(path), os.getpid()
    finally:
        os.close(turn)


def _open_locked(path: Path, *, wait: bool = False) -> int:
    """An open, locked descriptor of a directory. Raises OSError when another process holds it and `wait` is False."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
