"""Run a command that must not outlive its parent: `python leash.py COMMAND ARGUMENT...`.

The parent keeps the other end of this process's standard input open and starts it in a session of its
own. When the parent dies, even by SIGKILL, the pipe closes; the command gets SIGTERM, and whatever is
left of its session SIGKILL soon after. When the command ends by itself, its orphans are killed too and
its exit code is passed on.

A pipe works on Linux and macOS alike, and reaches grandchildren, where PR_SET_PDEATHSIG alone does
neither. It is a script of its own, with the standard library only, so that it starts in 20 ms and weighs
little.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

ORPHAN_GRACE_SECONDS = 3.0
"""Between SIGTERM and SIGKILL when the parent has died: enough to release jobs, short for whoever
restarts."""

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(command: list[str]) -> int:
    """Run `command` on the leash; return its exit code, 128 + n when signal n ended it."""
    if os.getsid(0) != os.getpid():
        os.setsid()  # "the session" is from here on this command's, never the caller's shell
    wakeup_read, wakeup_write = os.pipe()
    os.set_blocking(wakeup_write, False)
    signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)  # the wake-up pipe carries the number
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # the command's orphans become ours, whatever session they moved to
    child = _start(command)
    exit_code = _wait(child, wakeup_read)
    kill_session(os.getpid())
    _kill_children()
    return exit_code if exit_code >= 0 else 128 - exit_code


def _start(command: list[str]) -> int:
    leash = os.getpid()

    def arm() -> None:
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # should this leash itself be killed
        if os.getppid() != leash:
            os._exit(1)

    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=arm)  # noqa: PLW1509  (there is one thread here)
    process.returncode = 0  # reaped below, by waitpid(-1)
    return process.pid


def _wait(child: int, wakeup: int) -> int:
    """The child's exit code (negative: a signal), after passing stop signals on and watching the pipe."""
    deadline: float | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(wakeup, selectors.EVENT_READ)
        parent_pipe = selector.register(0, selectors.EVENT_READ)
        while True:
            timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = [key.fd for key, _ in selector.select(timeout)]
            numbers = os.read(wakeup, 1024) if wakeup in ready else b""
            if any(number in STOP_SIGNALS for number in numbers):
                _signal(child, signal.SIGTERM)
            if parent_pipe.fd in ready and not os.read(0, 1024):
                selector.unregister(0)
                deadline = time.monotonic() + ORPHAN_GRACE_SECONDS
                _signal(child, signal.SIGTERM)
            if deadline is not None and time.monotonic() >= deadline:
                kill_session(os.getpid())
                deadline += ORPHAN_GRACE_SECONDS  # again, for what was being forked meanwhile
            exit_code = _reap(child)
            if exit_code is not None:
                return exit_code


def _reap(child: int) -> int | None:
    """Collect everyone who has ended; the child's exit code if it is among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                found = os.waitstatus_to_exitcode(status)
    return found


def kill_session(session: int) -> None:
    """SIGKILL every process of a session but the caller."""
    for pid in _all_processes():
        if pid != os.getpid() and _session_of(pid) == session:
            _signal(pid, signal.SIGKILL)


def _all_processes() -> list[int]:
    proc = Path("/proc")
    if proc.joinpath("self").exists():
        return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()]
    listed = subprocess.run(["ps", "-axo", "pid="], capture_output=True, text=True, check=False)  # macOS
    return [int(word) for word in listed.stdout.split()]


def _session_of(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.getsid(pid)
    return None


def _kill_children() -> None:
    """Kill and reap what was re-parented to this process; each death may hand over the next generation."""
    give_up = time.monotonic() + ORPHAN_GRACE_SECONDS
    while time.monotonic() < give_up:
        _reap(0)
        children = _children()
        if not children:
            return
        for pid in children:
            _signal(pid, signal.SIGKILL)
        time.sleep(0.01)


def _children() -> list[int]:
    """Linux only; elsewhere orphans go to init, and the session is all there is to kill."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    with contextlib.suppress(OSError):
        return [int(word) for word in path.read_text().split()]
    return []


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def prctl(option: int, argument: int) -> None:
    """Linux's prctl(2); nothing elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
