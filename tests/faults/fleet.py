"""Worker masters and a web server that are started again when they die, as `manage.py up` or systemd would."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import httpx
import psutil

from tests.bench.environment import Process

_POLL_SECONDS = 0.1
_RESTART_SECONDS = 0.5
DRAIN_SECONDS = 25.0


@dataclass(eq=False)
class Master:
    """One worker master (one process, its threads) and what happened to it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    process: Process | None = None
    deaths: int = 0
    kept_down: bool = False
    history: list[str] = field(default_factory=list)

    def start(self) -> None:
        if self.process is not None:
            self.history.append(self.process.output())
            self.process.close()
        self.process = Process(self.name, self.command, self.environment)
        self.process.start()

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.process is not None and self.process.process.poll() is None

    @property
    def exit_code(self) -> int | None:
        assert self.process is not None
        assert self.process.process is not None
        return self.process.process.poll()

    def output(self) -> str:
        """What all lives of this master wrote."""
        return "".join([*self.history, self.process.output() if self.process else ""])

    @property
    def is_ready(self) -> bool:
        return self.is_alive and self.process is not None and "is ready for action" in self.process.output()

    def family(self) -> list[psutil.Process]:
        """The master and everything below it."""
        if not self.is_alive or self.process is None:
            return []
        try:
            master = psutil.Process(self.process.pid)
            return [master, *master.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def workers(self) -> list[psutil.Process]:
        """The processes that run jobs: grown-up children of the master, not its helpers."""
        found = []
        for process in self.family()[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.num_threads() > 2:
                    found.append(process)
        return found

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the master and all below it."""
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, everything at once, as a machine's death would."""
        if self.is_alive and self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


@dataclass(eq=False)
class WebServer(Master):
    """The web server; ready when it answers at `url`."""

    url: str = ""

    @property
    def is_ready(self) -> bool:
        if not self.is_alive:
            return False
        with contextlib.suppress(httpx.HTTPError):
            # Plain HTTP: reading the certificates of all authorities would take longer than the answer.
            return httpx.get(f"{self.url}/health/live", timeout=2.0, verify=False).status_code == 200
        return False


class Fleet:
    """Worker masters, and perhaps a web server, under supervision. A context manager: they are gone at its end.

    `masters` are the workers: what faults of workers choose from.
    """

    def __init__(self, masters: Sequence[Master], web: WebServer | None = None) -> None:
        self.masters = list(masters)
        self.web = web
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fleet", daemon=True)
        self._lock = threading.Lock()

    @property
    def everybody(self) -> list[Master]:
        return [*self.masters, *([self.web] if self.web else [])]

    def __enter__(self) -> Fleet:
        for master in self.everybody:
            if not master.kept_down:
                master.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Until everybody that should run takes jobs or requests. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not all(master.is_ready or master.kept_down for master in self.everybody):
            if time.monotonic() > deadline:
                outputs = "\n".join(master.output()[-1500:] for master in self.everybody if not master.is_ready)
                raise TimeoutError(f"processes did not start:\n{outputs}")
            time.sleep(_POLL_SECONDS)

    def deploy(self, master: Master) -> tuple[int | None, float]:
        """SIGTERM, wait, start anew; (exit code, seconds to the exit)."""
        with self.held_down(master):
            started = time.monotonic()
            assert master.process is not None
            assert master.process.process is not None
            if master.is_alive:
                master.process.process.terminate()
                with contextlib.suppress(Exception):
                    master.process.process.wait(DRAIN_SECONDS + 10)
            took = time.monotonic() - started
            code = master.exit_code
            master.kill()
        return code, took

    @contextlib.contextmanager
    def held_down(self, master: Master) -> Iterator[None]:
        """No restart meanwhile; started again at the end."""
        with self._lock:
            master.kept_down = True
        try:
            yield
        finally:
            with self._lock:
                master.kept_down = False
                if not master.is_alive:
                    master.start()

    def stop(self) -> None:
        """Kill everybody: nobody will ask what they would have done."""
        self._halt.set()
        if self._thread.is_alive():
            self._thread.join()
        for master in self.everybody:
            leftovers = master.family()
            master.kill()
            for process in leftovers:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            if master.process is not None:
                master.history.append(master.process.output())
                master.process.close()
                master.process = None

    def _watch(self) -> None:
        while not self._halt.wait(_POLL_SECONDS):
            with self._lock:
                dead = [master for master in self.everybody if not master.is_alive and not master.kept_down]
            for master in dead:
                master.deaths += 1
                self._bury_leftovers(master)
                if self._halt.wait(_RESTART_SECONDS):
                    return
                with self._lock:
                    if not master.kept_down and not master.is_alive:
                        master.start()

    @staticmethod
    def _bury_leftovers(master: Master) -> None:
        """A killed master leaves its worker behind; a supervisor kills the whole group before it starts anew."""
        if master.process is not None and master.process.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(master.process.process.pid, signal.SIGKILL)
