"""Looking at processes from tests: by id only."""

import contextlib
from collections.abc import Iterable

import psutil


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def alive(pids: Iterable[int]) -> list[int]:
    """Those of `pids` that still run."""
    return [pid for pid in pids if is_alive(pid)]
