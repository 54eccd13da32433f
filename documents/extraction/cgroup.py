"""Control groups (version 2): one limit for the memory and the number of processes of a child's whole family.

RLIMIT_AS counts each process alone. A group of our own needs the right to make one below the worker's: systemd gives
it with `Delegate=yes`; containers mostly do not. Then the limits of each process stay, and the report says so.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


class Family:
    """The group of one child. `outcome` is "granted" or why not."""

    def __init__(self, name: str, *, pid: int, memory_bytes: int, processes: int) -> None:
        self._path: Path | None = None
        try:
            parent = _own_group()
            if "memory" not in (parent / "cgroup.subtree_control").read_text():
                (parent / "cgroup.subtree_control").write_text("+memory +pids")
            path = parent / f"extraction-{os.getpid()}-{name}"
            path.mkdir()
            self._path = path
            (path / "memory.max").write_text(str(memory_bytes))
            (path / "pids.max").write_text(str(processes))
            (path / "cgroup.procs").write_text(str(pid))
            self.outcome = "granted"
        except OSError as error:
            self.outcome = f"refused: {error.strerror or type(error).__name__}"
            self.remove()

    def kill(self) -> None:
        """End every process of the group at once, also those that left the process group (Linux 5.14)."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                (self._path / "cgroup.kill").write_text("1")

    def remove(self) -> None:
        """Remove the group; the kernel refuses while a process is still ending, and its parent's end removes it."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.rmdir()


def _own_group() -> Path:
    """Return the directory of this process's group. Raises OSError without version 2."""
    if not (_ROOT / "cgroup.controllers").exists():
        raise FileNotFoundError(2, "no control groups of version 2")
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, _, path = line.split(":", 2)
        if number == "0":
            return _ROOT / path.lstrip("/")
    raise FileNotFoundError(2, "no control groups of version 2")
