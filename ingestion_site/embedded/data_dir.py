"""One running `manage.py up` per data directory."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

PREVIOUS_RUN_SECONDS = 8.0
"""A run that was killed needs this long, at most, to take its servers down with it."""


class DataDirInUse(Exception):
    """Another `manage.py up` uses this data directory."""


@contextlib.contextmanager
def claimed(data_dir: Path, *, wait_seconds: float = PREVIOUS_RUN_SECONDS) -> Iterator[int]:
    """Hold the data directory's lock; yields the file descriptor, for children that must keep it held.

    The kernel drops the lock with its last holder, however that ended. Raises DataDirInUse after
    `wait_seconds`.
    """
    path = data_dir / "up.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, data_dir, wait_seconds)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, data_dir: Path, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = int(os.pread(descriptor, 32, 0).strip() or 0)
            if time.monotonic() > deadline or _is_alive(holder):
                raise DataDirInUse(
                    f"Another `manage.py up` (process {holder}) uses {data_dir}. Stop it, or give this one a "
                    "directory of its own with --data-dir."
                ) from None
            time.sleep(0.1)


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
