"""Keeps long-running services alive: starts them, restarts those that die, stops them in reverse order."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingestion_site.embedded import leash

POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Service:
    """A command to keep running. `stop_seconds` is its budget between SIGTERM and SIGKILL."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    log: Path
    stop_seconds: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Seconds before a restart: doubling from `first` to `most`; a life of `healthy` seconds resets."""

    first: float = 1.0
    most: float = 30.0
    healthy: float = 60.0

    def delay(self, failures: int) -> float:
        return min(self.most, self.first * 2.0 ** min(failures - 1, 16))


@dataclass(kw_only=True)
class _Running:
    service: Service
    process: subprocess.Popen[bytes]
    started: float
    failures: int = 0
    restart_at: float | None = None


@dataclass(kw_only=True)
class Supervisor:
    """Call `start` for each service, then `stop` once; use it as a context manager.

    announce: told, in a sentence, about each death and each restart; called from the supervisor's thread.
    keep_open: file descriptors that live as long as the services do (the data directory's lock).
    max_log_bytes: a log above this is moved to `<log>.1`.
    """

    announce: Callable[[str], None]
    backoff: Backoff = field(default_factory=Backoff)
    keep_open: tuple[int, ...] = ()
    max_log_bytes: int = 20 * 2**20
    _running: list[_Running] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _killing: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self, service: Service) -> None:
        """Start a service now and keep it running from here on. Raises OSError when none can be made."""
        with self._lock:
            self._running.append(_Running(service=service, process=self._spawn(service), started=time.monotonic()))
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._thread.start()

    def pid(self, name: str) -> int:
        """The process id of a service's leash, which is its session's id too."""
        with self._lock:
            return next(running.process.pid for running in self._running if running.service.name == name)

    def deaths(self, name: str) -> int:
        """How often a service has died without being asked to, lately."""
        with self._lock:
            return sum(running.failures for running in self._running if running.service.name == name)

    def kill_soon(self) -> None:
        """Cut the current `stop` short: SIGKILL instead of waiting."""
        self._killing.set()

    def stop(self) -> None:
        """Stop every service, the last started first, each within its own budget."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        for group in self._groups_in_reverse():
            for running in group:
                if running.process.poll() is None:
                    running.process.terminate()
            for running in group:
                self._finish(running)
        self._running.clear()

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _groups_in_reverse(self) -> list[list[_Running]]:
        """Services of one kind (`worker 1`, `worker 2`) stop together, or N drains would add up."""
        groups: dict[str, list[_Running]] = {}
        for running in self._running:
            groups.setdefault(running.service.name.rstrip("0123456789 "), []).append(running)
        return list(reversed(groups.values()))

    def _finish(self, running: _Running) -> None:
        deadline = time.monotonic() + running.service.stop_seconds
        while running.process.poll() is None:
            if self._killing.is_set() or time.monotonic() > deadline:
                self._kill(running)
                return
            time.sleep(0.02)
        self._close(running)

    def _kill(self, running: _Running) -> None:
        leash.kill_session(running.process.pid)
        running.process.wait()
        self._close(running)

    def _close(self, running: _Running) -> None:
        leash.kill_session(running.process.pid)  # a killed leash leaves its session behind
        if running.process.stdin is not None:
            running.process.stdin.close()

    def _spawn(self, service: Service) -> subprocess.Popen[bytes]:
        service.log.parent.mkdir(parents=True, exist_ok=True)
        with service.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", leash.__file__, *service.command],
                stdin=subprocess.PIPE,  # never written: its closing tells the leash that we are gone
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(service.environment),
                cwd=service.directory,
                start_new_session=True,  # Ctrl-C in the terminal reaches only us; we stop the rest in order
                pass_fds=self.keep_open,
            )

    def _watch(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            with self._lock:
                for running in self._running:
                    self._look_after(running)

    def _look_after(self, running: _Running) -> None:
        now = time.monotonic()
        if running.restart_at is not None:
            if now >= running.restart_at:
                self._restart(running)
        elif running.process.poll() is not None:
            self._schedule_restart(running, now)
        self._rotate(running.service.log)

    def _schedule_restart(self, running: _Running, now: float) -> None:
        self._close(running)
        if now - running.started > self.backoff.healthy:
            running.failures = 0
        running.failures += 1
        delay = self.backoff.delay(running.failures)
        running.restart_at = now + delay
        self.announce(
            f"{running.service.name} ended ({_cause(running.process.returncode)}); "
            f"starting it again in {delay:g} s. Its log: {running.service.log}"
        )

    def _restart(self, running: _Running) -> None:
        try:
            running.process = self._spawn(running.service)
        except OSError as error:  # out of processes or memory: try again later, like any other death
            running.failures += 1
            running.restart_at = time.monotonic() + self.backoff.delay(running.failures)
            self.announce(f"{running.service.name} cannot be started: {error.strerror}")
            return
        running.started = time.monotonic()
        running.restart_at = None
        self.announce(f"{running.service.name} started again")

    def _rotate(self, log: Path) -> None:
        """Copy and truncate: the writers hold the file open, in append mode."""
        with contextlib.suppress(FileNotFoundError):
            if log.stat().st_size > self.max_log_bytes:
                shutil.copyfile(log, log.with_name(log.name + ".1"))
                os.truncate(log, 0)


def _cause(exit_code: int) -> str:
    """`exit code 1` or `signal 9`: a leash passes a signal on as 128 + n, and may be killed itself."""
    if exit_code < 0:
        return f"signal {-exit_code}"
    return f"signal {exit_code - 128}" if exit_code > 128 else f"exit code {exit_code}"
