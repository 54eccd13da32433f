"""Control groups: in a tree of plain files, for what is decided and written; in the kernel's where one may."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from documents.extraction.cgroup import Family, Tree

LIMITS = {"memory.max": "1000000", "memory.oom.group": "1", "pids.max": "20"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")


def group(path: Path, *, controllers: str = "", processes: str = "") -> Path:
    """The files of a group; the kernel would make them itself."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "cgroup.subtree_control").write_text(controllers)
    (path / "cgroup.procs").write_text(processes)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    found = group(tmp_path / "cgroup")
    (found / "cgroup.controllers").write_text("cpu memory pids")
    return found


def delegated(*paths: Path) -> Callable[[Path], bool]:
    return lambda path: path in paths


def family(tree: Tree) -> Family:
    return Family("child-1", pid=4711, limits=LIMITS, tree=tree)


def written(base: Path) -> dict[str, str]:
    path = base / f"extraction-{os.getpid()}-child-1"
    return {file.name: file.read_text() for file in path.iterdir()} if path.exists() else {}


EXPECTED = {**LIMITS, "cgroup.procs": "4711"}


def test_a_delegated_group_gets_a_group_for_each_family(root: Path) -> None:
    # Given what `Delegate=yes` gives: a group that is ours, with the worker in it
    own = group(root / "system.slice/worker.service", processes="1\n")
    # When a child starts
    found = family(Tree(root=root, own=own, is_delegated=delegated(own)))
    # Then its family has limits of its own, below the controllers that are handed on
    assert found.outcome == "granted"
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert written(own) == EXPECTED
    # And it is ended as a whole
    found.kill()
    assert written(own)["cgroup.kill"] == "1"


def test_a_subgroup_for_the_worker_is_left_for_its_parent(root: Path) -> None:
    # Given what `DelegateSubgroup=worker` gives, or an earlier child made
    unit = group(root / "system.slice/worker.service", controllers="memory pids")
    own = group(unit / "worker", processes="1\n")
    # Then families are its siblings, and controllers that are handed on already are left alone
    assert family(Tree(root=root, own=own, is_delegated=delegated(unit))).outcome == "granted"
    assert written(unit) == EXPECTED
    assert (unit / "cgroup.subtree_control").read_text() == "memory pids"


@pytest.mark.parametrize("name", [".", "worker"])
def test_a_container_that_may_write_its_tree_owns_all_of_it(root: Path, name: str) -> None:
    own = group(root / name)
    assert family(Tree(root=root, own=own, is_delegated=delegated())).outcome == "granted"
    assert written(root) == EXPECTED


@pytest.mark.parametrize("name", ["init.scope", "user.slice/user-0.slice/session-1.scope"])
def test_a_tree_that_is_not_ours_is_left_alone_also_by_root(root: Path, name: str) -> None:
    own = group(root / name)
    found = family(Tree(root=root, own=own, is_delegated=delegated()))
    assert found.outcome == "refused: this part of the tree is not delegated"
    assert not list(root.rglob("extraction-*"))
    found.kill()
    found.remove()


def test_without_version_2_it_is_refused(tmp_path: Path) -> None:
    assert family(Tree(root=tmp_path)).outcome == "refused: no control groups of version 2"


def test_groups_of_dead_workers_are_removed_and_those_of_the_living_are_not(root: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    dead, living = root / f"extraction-{ended.pid}-child-1", root / f"extraction-{os.getppid()}-child-1"
    dead.mkdir()
    living.mkdir()
    family(Tree(root=root, own=root))
    assert (dead.exists(), living.exists()) == (False, True)


@pytest.fixture
def real() -> Iterator[tuple[Path, Path]]:
    """The kernel's tree, with a group in it that plays the delegated one. Skips where this user may make none."""
    root = next((path for path in map(Path, ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"))
                 if (path / "cgroup.controllers").exists()), None)  # fmt: skip
    if root is None:
        pytest.skip("no control groups of version 2 are mounted")
    unit = root / f"test-{os.getpid()}.service"
    try:
        unit.mkdir()
    except OSError as error:
        pytest.skip(f"this user may make no control group ({errno.errorcode[error.errno or 0]})")
    control = root / "cgroup.subtree_control"
    handed_on = "" if (unit / "cgroup.controllers").read_text().split() else _hand_on(control)
    yield root, unit
    for path in (unit / "worker", unit):
        with contextlib.suppress(OSError):
            (path / "cgroup.kill").write_text("1")
    for path in sorted(unit.rglob("*/"), reverse=True):
        if path.is_dir():
            path.rmdir()
    unit.rmdir()
    if handed_on:
        control.write_text(f"-{handed_on}")


def _hand_on(control: Path) -> str:
    """Where the top hands nothing on, as beside control groups of version 1, what is free; returns its name."""
    for name in (control.parent / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):
            control.write_text(f"+{name}")
            return name
    return ""


@linux
def test_the_kernel_hands_controllers_on_once_the_processes_have_moved_and_kills_the_family(
    real: tuple[Path, Path],
) -> None:
    root, unit = real
    available = (unit / "cgroup.controllers").read_text().split()
    if not available:
        pytest.skip("no controller is handed on to new control groups here")
    command = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    # Given a process in the delegated group, as a worker is, so that the kernel refuses to hand anything on
    worker, child = subprocess.Popen(command), subprocess.Popen(command, start_new_session=True)
    try:
        (unit / "cgroup.procs").write_text(str(worker.pid))
        with pytest.raises(OSError, match="busy"):
            (unit / "cgroup.subtree_control").write_text(f"+{available[0]}")
        # When a family is made
        limits = {"pids.max": "20"} if "pids" in available else {f"{available[0]}.2MB.max": "0"}
        tree = Tree(root=root, own=unit, is_delegated=delegated(unit))
        found = Family("child-1", pid=child.pid, limits=limits, tree=tree)
        # Then the worker has moved aside, and the child is in a group with its limit
        assert found.outcome == "granted"
        assert (unit / "worker/cgroup.procs").read_text().split() == [str(worker.pid)]
        path = unit / f"extraction-{os.getpid()}-child-1"
        assert (path / "cgroup.procs").read_text().split() == [str(child.pid)]
        assert {name: (path / name).read_text().strip() for name in limits} == limits
        # And it can be ended as a whole, and removed
        found.kill()
        assert child.wait(5) == -9
        found.remove()
        assert not path.exists()
        assert worker.poll() is None
    finally:
        for process in (worker, child):
            process.kill()
            process.wait()
