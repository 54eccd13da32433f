"""How much memory this process and its children take: the evidence that is left when the kernel kills it.

Linux only, from /proc; elsewhere the process alone, from getrusage. Sizes are bytes.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What this process takes together with its children and theirs: `now`, and `peak`, the most that was seen."""

    now: int
    peak: int


class PeakMemory:
    """The most that this process was seen to take, together with its children and theirs."""

    def __init__(self) -> None:
        self._largest = 0

    def sample(self) -> Memory:
        """Look now. A spike of the process itself is seen later, one of its children is not."""
        own = _status(os.getpid(), "VmHWM") or largest_of(resource.RUSAGE_SELF)
        together = sum(_status(pid, "VmRSS") for pid in _family(os.getpid()))
        self._largest = max(self._largest, own, together)
        return Memory(now=together or own, peak=self._largest)


def largest_of(whom: int) -> int:
    """The peak of the process itself (`resource.RUSAGE_SELF`) or of the largest child that ended (`RUSAGE_CHILDREN`).

    getrusage(2): kilobytes on Linux, bytes on macOS.
    """
    peak = resource.getrusage(whom).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _family(pid: int) -> Iterator[int]:
    """A process and everything below it. Children are listed by the thread that started them (proc(5))."""
    yield pid
    with contextlib.suppress(OSError):
        for thread in (_PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):  # the thread has ended meanwhile
                for child in (thread / "children").read_text().split():
                    yield from _family(int(child))


def _status(pid: int, field: str) -> int:
    """A size of /proc/PID/status, which are in kB; 0 for a process that is gone or a system without /proc."""
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value.split()[0]) * 1024
    return 0
