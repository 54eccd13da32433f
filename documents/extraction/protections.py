"""What an extraction child does to itself before it sees a document. Linux first; elsewhere what POSIX offers.

Everything here is best effort by nature: containers forbid namespaces, macOS has no PDEATHSIG. So each protection
reports whether it was granted, and the parent can say so at start-up.
"""

from __future__ import annotations

import ctypes
import functools
import os
import resource
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER = 1, 38, 36  # linux/prctl.h
_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000  # linux/sched.h

LINUX = sys.platform == "linux"


def protect(
    *, parent_pid: int, memory_bytes: int, file_bytes: int, open_files: int, processes: int, isolate: bool
) -> dict[str, str]:
    """Arm every protection; return name -> "granted" or the reason why not. Exits if the parent is gone already.

    `isolate` False leaves out the network namespace: for the test that no parser needs it.
    """
    # Namespaces come first: new credentials may clear the death signal, which is therefore armed after them.
    network = _leave_network() if isolate else "refused: switched off"
    return {
        "network": network,
        "privileges": _granted(_prctl(_PR_SET_NO_NEW_PRIVS, 1)),
        "parent_death": die_with(parent_pid, signal.SIGKILL),
        "memory": limit(resource.RLIMIT_AS, memory_bytes),
        "core": limit(resource.RLIMIT_CORE, 0),
        "file_size": limit(resource.RLIMIT_FSIZE, file_bytes),
        "open_files": limit(resource.RLIMIT_NOFILE, open_files),
        "processes": _limit_processes(processes, own_namespace=network.startswith("granted")),
        "oom_victim": _prefer_as_oom_victim(),
    }


def die_with(parent_pid: int, number: signal.Signals) -> str:
    """Ask the kernel to send `number` when the parent's spawning thread ends, then check that it still lives."""
    outcome = _granted(_prctl(_PR_SET_PDEATHSIG, int(number)))
    if os.getppid() != parent_pid:
        os._exit(0)
    return outcome


def limit(what: int, value: int) -> str:
    """Lower a resource limit, soft and hard, never above the hard limit that is in force."""
    try:
        _, hard = resource.getrlimit(what)
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (wanted, wanted))
    except (ValueError, OSError) as error:
        return f"refused: {type(error).__name__}"
    return "granted"


def _limit_processes(count: int, *, own_namespace: bool) -> str:
    """Limit processes and threads. Since Linux 5.14 they are counted by user namespace.

    Without a namespace of its own the count is that of all the user's processes on the machine, and the limit would
    stop the child for what others do. The kernel exempts root.
    """
    if not own_namespace:
        return "refused: no user namespace of its own"
    if os.geteuid() == 0:
        return "refused: root has no limit"
    return limit(resource.RLIMIT_NPROC, count)


def allow_cpu(seconds: float) -> None:
    """Grant this process `seconds` of CPU from now on.

    Only the soft limit moves, since a warm child serves many documents. It is the backstop for a child whose parent
    hangs; the wall clock of the parent is the real limit.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    wanted = int(used.ru_utime + used.ru_stime + seconds) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose own parent died, so that `has_children` sees them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def resident_bytes() -> int:
    """Return this process's resident memory; where /proc is missing, its peak."""
    try:
        return int(os.pread(_statm(), 128, 0).split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


@functools.cache
def _statm() -> int:
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def children_marker() -> int:
    """Return a number that changes whenever a child process was waited for."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt


def has_children() -> bool:
    """Tell whether any child process is left, running or dead."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _granted(error: str) -> str:
    return f"refused: {error}" if error else "granted"


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int) -> str:
    """Call prctl(2); return "" or why it failed."""
    if not LINUX:
        return "not on this system"
    if _libc().prctl(option, argument, 0, 0, 0) == 0:
        return ""
    return os.strerror(ctypes.get_errno())


def _leave_network() -> str:
    """Move into a network namespace without any interface, by a user namespace where one is not root.

    The user is mapped onto itself, so that files keep their owner. Containers often forbid this; then parsers that
    fetch nothing (see each engine) are the only protection, and the report says so.
    """
    if not LINUX:
        return "refused: not on this system"
    uid, gid = os.geteuid(), os.getegid()
    if _libc().unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            try:
                Path(f"/proc/self/{name}").write_text(line)
            except OSError as error:
                return f"granted, without {name}: {os.strerror(error.errno or 0)}"
        return "granted"
    reason = os.strerror(ctypes.get_errno())
    return "granted" if _libc().unshare(_CLONE_NEWNET) == 0 else f"refused: {reason}"


def _prefer_as_oom_victim() -> str:
    """If the machine runs out of memory, the kernel shall take this process and not the worker."""
    try:
        Path("/proc/self/oom_score_adj").write_text("800")
    except OSError as error:
        return f"refused: {type(error).__name__}"
    return "granted"
