"""Control groups (version 2): one limit for the memory and the number of processes of a child's whole family.

RLIMIT_AS counts each process alone. A group of our own needs a part of the tree that is ours: systemd gives it with
`Delegate=yes` and marks it; in a container that may write its tree it is the top. Elsewhere the limits of each process
stay, and the report says so. Nothing is changed in a tree that is not ours, root or not.

A group that holds processes cannot hand controllers on to groups below it ("no internal processes" in the kernel's
admin-guide/cgroup-v2.rst). So the first child moves what runs in our group, the worker and its siblings, into a group
named `worker` below it; systemd does the same by `DelegateSubgroup=worker`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

_LEAF = "worker"
_PREFIX = "extraction-"
_DELEGATED = "user.delegate"
"""The extended attribute by which systemd (251 and later) marks a delegated group."""
_ATTEMPTS = 5


def _has_mark(path: Path) -> bool:
    try:
        return os.getxattr(path, _DELEGATED) == b"1"
    except OSError:
        return False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tree:
    """Where the control groups are, and which of them this process is in; None = look it up."""

    root: Path = Path("/sys/fs/cgroup")
    own: Path | None = None
    is_delegated: Callable[[Path], bool] = _has_mark


class Family:
    """The group of one child. `limits` are names of its files and what is written into them, such as "memory.max".

    `outcome` is "granted" or why not.
    """

    def __init__(self, name: str, *, pid: int, limits: Mapping[str, str], tree: Tree | None = None) -> None:
        self._path: Path | None = None
        try:
            base = _our_part(tree or Tree(), {limit.partition(".")[0] for limit in limits})
            _remove_leftovers(base)
            path = base / f"{_PREFIX}{os.getpid()}-{name}"
            path.mkdir()
            self._path = path
            for limit, value in limits.items():
                (path / limit).write_text(value)
            (path / "cgroup.procs").write_text(str(pid))
            self.outcome = "granted"
        except OSError as error:
            self.outcome = f"refused: {error.strerror or type(error).__name__}"
            self.remove()
            self._path = None

    def kill(self) -> None:
        """End every process of the group at once, also those that left the process group (Linux 5.14)."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                (self._path / "cgroup.kill").write_text("1")

    def remove(self) -> None:
        """Remove the group; the kernel refuses while a process is still ending: then the next child's start does it."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.rmdir()


def _our_part(tree: Tree, controllers: set[str]) -> Path:
    """Return the group below which families are made, with the controllers handed on. Raises OSError."""
    own = tree.own or _own_group(tree.root)
    for base in (own.parent, own):
        is_top = base == tree.root and own in (base, base / _LEAF)
        if is_top or (tree.root in base.parents and tree.is_delegated(base)):
            _hand_on(base, controllers)
            return base
    raise PermissionError(errno.EACCES, "this part of the tree is not delegated")


def _hand_on(base: Path, controllers: set[str]) -> None:
    control = base / "cgroup.subtree_control"
    missing = controllers - set(control.read_text().split())
    if not missing:
        return
    for attempt in range(_ATTEMPTS):
        try:
            control.write_text(" ".join(f"+{name}" for name in sorted(missing)))
            return
        except OSError as error:
            # A process may have been started in it meanwhile: so more than once.
            if error.errno != errno.EBUSY or attempt == _ATTEMPTS - 1:
                raise
            _move_processes(base)


def _move_processes(base: Path) -> None:
    leaf = base / _LEAF
    leaf.mkdir(exist_ok=True)
    for pid in (base / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            (leaf / "cgroup.procs").write_text(pid)


def _remove_leftovers(base: Path) -> None:
    """Remove the groups of workers that were killed; the kernel keeps those in which something runs."""
    for path in base.glob(f"{_PREFIX}*"):
        owner = path.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", owner).exists():
            with contextlib.suppress(OSError):
                path.rmdir()


def _own_group(root: Path) -> Path:
    """Return the directory of this process's group. Raises OSError without version 2."""
    if not (root / "cgroup.controllers").exists():
        raise FileNotFoundError(errno.ENOENT, "no control groups of version 2")
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, _, path = line.split(":", 2)
        if number == "0":
            return root / path.lstrip("/")
    raise FileNotFoundError(errno.ENOENT, "no control groups of version 2")
