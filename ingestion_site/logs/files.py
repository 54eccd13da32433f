"""A log file that several processes write and any of them may rotate, without losing or tearing a line.

logging.handlers.RotatingFileHandler keeps the file open by name: when two processes rotate, the second moves the
fresh file away and the first goes on writing into a backup. Libraries for this take a lock for every single line.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from pathlib import Path


class SharedRotatingHandler(logging.Handler):
    """Appends to `filename`; whoever finds it `max_bytes` long moves it to `filename.1`, and `.1` to `.2`, and so on.

    A line is one write(2) to a file opened for appending, which local file systems do not interleave, however long it
    is. Another process's rotation shows in the file's inode. Only a rotation takes the lock, `filename.lock`.
    """

    def __init__(self, filename: str, *, max_bytes: int, backups: int) -> None:
        super().__init__()
        self._path = Path(filename)
        self._max_bytes = max_bytes
        self._backups = backups
        self._file: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, rotating first when the file is full."""
        try:
            line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
            file = self._current()
            if os.fstat(file).st_size >= self._max_bytes:
                self._rotate()
                file = self._current()
            os.write(file, line)
        except Exception:  # a full disk, a removed directory: logging's own way, standard error has the line, too
            self.handleError(record)

    def close(self) -> None:
        """Close the file; the next line would open it again."""
        with self.lock or contextlib.nullcontext():
            if self._file is not None:
                os.close(self._file)
                self._file = None
        super().close()

    def _current(self) -> int:
        """The descriptor of the file that has the name now."""
        if self._file is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._file), self._path.stat()):
                    return self._file
            os.close(self._file)
            self._file = None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        return self._file

    def _rotate(self) -> None:
        lock = os.open(self._numbered("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):  # a person moved it away
                if self._path.stat().st_size >= self._max_bytes:  # nobody was faster
                    self._shift()
        finally:
            os.close(lock)

    def _shift(self) -> None:
        for number in range(self._backups - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._numbered(number).replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, suffix: int | str) -> Path:
        return self._path.with_name(f"{self._path.name}.{suffix}")
