"""The parent's side of one child: start it, talk to it, end it and everything it started, read what it wrote."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from documents.extraction import wire
from documents.extraction.base import MIB, Extraction, Limits
from documents.extraction.cgroup import Family
from documents.extraction.errors import (
    ExtractionError,
    ExtractionTimeout,
    ExtractorCrashed,
    OutOfMemory,
    SandboxUnavailable,
)
from documents.extraction.workspace import (
    EXIT_OUT_OF_MEMORY,
    MARKDOWN_FILE,
    RESULT_FILE,
    TEXT_FILE,
    empty_directory,
    office_sockets,
    read_capped,
    remove_tree,
)

_MAX_LINE_BYTES = MIB
_MAX_ABOUT_BYTES = 16 * MIB
"""Of what stands beside a long text: places of pages, metadata."""
_SWEEPS = 5
_ROOT = Path(__file__).resolve().parents[2]
_CODE = (
    _ROOT / "documents" / "extraction",
    _ROOT / "documents" / "__init__.py",
    _ROOT / "documents" / "exceptions.py",
)
"""All that a child imports of the project. Its other files, such as .env, are none of a parser's business."""


class DeadlinePassed(Exception):
    """The child has not answered in time."""


class ChildGone(Exception):
    """The pipe from the child has ended."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exit:
    """How a child ended: exit code or signal, and its peak resident memory (bytes)."""

    code: int | None
    signal: str
    peak_bytes: int

    def to_error(self, engine: str, limits: Limits) -> ExtractionError:
        """Judge a death that the parent did not order.

        SIGKILL then comes from the kernel's out-of-memory killer. SIGABRT and SIGSEGV near the memory limit are
        C and Rust libraries that got no memory; elsewhere they are bugs of the library.
        """
        evidence = {"engine": engine, "signal": self.signal, "exit_code": self.code, "peak_bytes": self.peak_bytes}
        starved = self.peak_bytes > 0.7 * limits.memory_bytes
        if self.code == EXIT_OUT_OF_MEMORY or self.signal == "SIGKILL" or (self.signal and starved):
            return OutOfMemory(evidence=evidence)
        if self.signal == "SIGXCPU":
            return ExtractionTimeout(evidence=evidence)
        how = f"signal {self.signal}" if self.signal else f"exit code {self.code}"
        return ExtractorCrashed(
            f"The extraction process died ({how}) while reading this document with {engine or 'no engine'}.",
            evidence=evidence,
        )


class ChildProcess:
    """A warm child with a private directory. Used by one thread at a time; only `kill` may come from others."""

    def __init__(
        self, home: Path, limits: Limits, *, registry: str, python_path: tuple[Path, ...], isolate: bool = True
    ) -> None:
        """Start the process; `wait_ready` must follow. `home` is created here and removed by `dispose`."""
        self.home = home
        self.work_dir, self.output_dir, self._input_dir = home / "work", home / "out", home / "in"
        self._document = self._input_dir / "document"
        self._office_sockets = office_sockets(self.work_dir)
        self.documents = 0
        self.protections: dict[str, str] = {}
        self._lock = threading.Lock()
        self._ended = False
        self._buffer = bytearray()
        home.mkdir(mode=0o700)
        self.renew_directories()
        self._spawn(limits, registry, python_path, isolate)
        self._family = Family(home.name, pid=self.pid, limits=_family_limits(limits))

    def _spawn(self, limits: Limits, registry: str, python_path: tuple[Path, ...], isolate: bool) -> None:
        self._inherited_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        request_read, self._requests = os.pipe()
        self._replies, reply_write = os.pipe()
        self._slate = _slate()
        # poll, not select: select fails on descriptors above 1023.
        self._poller = select.poll()
        self._poller.register(self._replies, select.POLLIN)
        config = {
            "parent_pid": os.getpid(),
            "requests": request_read,
            "replies": reply_write,
            "slate": self._slate,
            "registry": registry,
            "memory_bytes": limits.memory_bytes,
            "file_bytes": limits.file_bytes,
            "open_files": limits.open_files,
            "processes": limits.processes,
            "isolate": isolate,
            "readable": [str(path) for path in (self._input_dir, *_CODE, *python_path)],
            "listable": [str(_ROOT)],
            "writable": [str(self.work_dir), str(self.output_dir)],
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-X", "utf8", "-m", "documents.extraction.child", json.dumps(config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self.work_dir,
                env=self._environment(python_path),
                pass_fds=(request_read, reply_write, self._slate),
                start_new_session=True,
            )
        except OSError as error:
            self._close_pipes()
            raise SandboxUnavailable(evidence={"exception": type(error).__name__}) from error
        finally:
            os.close(request_read)
            os.close(reply_write)

    def _environment(self, python_path: tuple[Path, ...]) -> dict[str, str]:
        """The whole environment of the child. TMPDIR is also the mark by which `_sweep` knows its descendants."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.work_dir),
            "TMPDIR": str(self.work_dir),
            "PYTHONPATH": os.pathsep.join(map(str, (_ROOT, *python_path))),
            "PYTHONDONTWRITEBYTECODE": "1",
            # One child per core already: threads of OCR and linear algebra would only wait for each other.
            "OMP_THREAD_LIMIT": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            # An arena for every thread costs 64 MiB of address space each; OCR peaked at 1.9 GiB with, 0.9 without.
            "MALLOC_ARENA_MAX": "2",
        }

    @property
    def pid(self) -> int:
        """Process id, and id of the process group."""
        return self._process.pid

    def wait_ready(self, seconds: float) -> None:
        """Wait for the first line. Raises SandboxUnavailable, with the child ended and disposed of."""
        try:
            granted = wire.protections_from(self.receive(time.monotonic() + seconds))
            self.protections = {**granted, "family": self._family.outcome}
        except (ChildGone, DeadlinePassed, ExtractorCrashed) as error:
            end = self.dispose()
            raise SandboxUnavailable(evidence=dataclasses.asdict(end)) from error

    def send(self, request: Mapping[str, Any]) -> None:
        """Write one request. Raises ChildGone if the child is no longer there."""
        data = json.dumps(request).encode() + b"\n"
        os.pwrite(self._slate, b"\n", 0)
        try:
            while data:
                data = data[os.write(self._requests, data) :]
        except BrokenPipeError as error:
            raise ChildGone from error

    def receive(self, deadline: float) -> dict[str, Any]:
        """Return the next reply. Raises DeadlinePassed at `deadline` (monotonic), ChildGone when the pipe ends."""
        while (at := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _MAX_LINE_BYTES:
                raise wire.Nonsense()
            self._wait_readable(deadline)
            data = os.read(self._replies, 65_536)
            if not data:
                raise ChildGone
            self._buffer += data
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        return wire.parsed(line)

    def _wait_readable(self, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not self._poller.poll(remaining * 1000):
            raise DeadlinePassed

    def at_work(self) -> wire.AtWork:
        """Return what the child noted: the engine that runs, since when, and the engines before it."""
        return wire.at_work(os.pread(self._slate, wire.SLATE_BYTES, 0))

    def _close_pipes(self) -> None:
        for descriptor in (self._requests, self._replies, self._slate):
            os.close(descriptor)

    def kill(self) -> None:
        """End the child, its process group and every descendant that left the group. May be called twice, by anyone.

        The child is not reaped here, so its id cannot belong to a stranger yet.
        """
        with self._lock:
            if self._ended:
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # PermissionError is macOS's answer for a group of zombies.
                os.killpg(self.pid, signal.SIGKILL)
            self._family.kill()
            sweep(self.home)

    def dispose(self) -> Exit:
        """Kill, reap, close the pipes and remove the directory. Returns how the process ended."""
        self.kill()
        with self._lock:
            if self._ended:
                return Exit(code=self._process.returncode, signal="", peak_bytes=0)
            end = self._reap()
            self._ended = True
            self._close_pipes()
        self._family.remove()
        self._remove_sockets()
        remove_tree(self.home)
        return end

    def _reap(self) -> Exit:
        """Wait by wait4, which tells the peak memory of exactly this process."""
        try:
            _, status, usage = os.wait4(self.pid, 0)
        except ChildProcessError:
            self._process.returncode = -1
            return Exit(code=None, signal="", peak_bytes=0)
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"{-code}"
        # The kernel lets a process inherit the peak of the one that forked it: up to there it says nothing.
        peak = _bytes(usage.ru_maxrss) if usage.ru_maxrss > self._inherited_peak else 0
        return Exit(code=code if code >= 0 else None, signal=name if code < 0 else "", peak_bytes=peak)

    def wait_dead(self, seconds: float) -> None:
        """Give a child whose pipe has ended the moment it needs to die on its own, so that its real end is seen."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(0.002)

    def is_alive(self) -> bool:
        """Tell whether the process still runs, without reaping it."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def renew_directories(self) -> None:
        """Wipe what the last document left; afterwards both directories exist, empty and ours."""
        for directory in (self.work_dir, self.output_dir, self._input_dir):
            empty_directory(directory)

    def clear_away(self) -> None:
        """End what system programs left running, and remove what they left outside of the child's directory."""
        sweep(self.home, spare=self.pid)
        self._remove_sockets()

    def _remove_sockets(self) -> None:
        for path in self._office_sockets:
            path.unlink(missing_ok=True)

    def hand_over(self, document: Path) -> Path:
        """Put the document where the child may read it, and return that path.

        A hard link costs nothing; a copy is made where the document lies on another file system or belongs to
        somebody else.
        """
        try:
            self._document.hardlink_to(document)
        except OSError:
            shutil.copyfile(document, self._document)
        return self._document

    def take_over(self, found: Any, limits: Limits, warnings: tuple[str, ...]) -> Extraction:
        """Make an Extraction of what the child answered, or wrote into files when that is None.

        All of it is data of a stranger: bounded, regular files, checked fields.
        """
        return wire.extraction_from(self._read_files(limits) if found is None else found, warnings)

    def _read_files(self, limits: Limits) -> dict[str, Any]:
        text, markdown = (
            read_capped(self.output_dir / name, limits.output_bytes).decode("utf-8", "replace")
            for name in (TEXT_FILE, MARKDOWN_FILE)
        )
        about = read_capped(self.output_dir / RESULT_FILE, min(limits.output_bytes, _MAX_ABOUT_BYTES))
        return {**wire.parsed(about), "text": text, "markdown": markdown}


def _slate() -> int:
    """A descriptor of a nameless file: what the child notes there outlives it, and wakes nobody up."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("engine")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _family_limits(limits: Limits) -> dict[str, str]:
    """What the control group is told. When memory ends all of the family goes, not a part of it."""
    return {
        "memory.max": str(limits.family_memory_bytes),
        "memory.oom.group": "1",
        "pids.max": str(limits.processes),
    }


def _bytes(ru_maxrss: int) -> int:
    return ru_maxrss if sys.platform == "darwin" else ru_maxrss * 1024


def sweep(home: Path, *, spare: int = 0) -> int:
    """Kill every process whose environment names `home`, except `spare`; return how many.

    A descendant that called setsid has left the process group and, once its parent died, the family tree; its
    environment still says where it came from. Linux only: elsewhere the process group is all there is. A process
    that also cleared its environment escapes this; only a PID namespace would hold it, which containers forbid.
    """
    mark, killed = os.fsencode(home), 0
    for _ in range(_SWEEPS):
        strays = [pid for pid in _processes() if pid not in (spare, os.getpid()) and mark in _environ_of(pid)]
        for pid in strays:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        if not strays:
            break
    return killed


def _processes() -> list[int]:
    try:
        return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]
    except FileNotFoundError:
        return []


def _environ_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # gone, or another user's
        return b""
