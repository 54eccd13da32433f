"""The effect log: one line per thing that an actor did, appended by whichever process did it.

A line is one `write` of an O_APPEND file, so lines of many processes neither mix nor get lost when one is killed.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "FAULTS_EFFECTS"
STARTED, ENDED, ANNOUNCED, ACCEPTED, REFUSED = "started", "ended", "announced", "accepted", "refused"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """`number` is the job's number in the run, `at` seconds since 1970; `about` an id, where one is known."""

    kind: str
    number: int
    attempt: int
    pid: int
    at: float
    about: str


def record(kind: str, number: int, attempt: int, *, about: str = "-") -> None:
    """Append a line to the log that the environment names."""
    at = time.clock_gettime(time.CLOCK_REALTIME)  # not `time.time`, which a fault turns forward
    line = f"{kind} {number} {attempt} {os.getpid()} {at:.6f} {about}\n"
    log = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(log, line.encode())
    finally:
        os.close(log)


class EffectLog:
    """What happened so far, for the harness, which asks often: only new lines are read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._offset = 0
        self._effects: list[Effect] = []

    def read(self, *, first: int = 0) -> list[Effect]:
        """Every effect from place `first` in the log on."""
        with self._lock:
            if self.path.exists():
                with self.path.open("rb") as file:
                    file.seek(self._offset)
                    new = file.read()
                whole, _, _ = new.rpartition(b"\n")
                if whole:
                    self._offset += len(whole) + 1
                    self._effects += map(_effect, whole.decode().split("\n"))
            return self._effects[first:]


def _effect(line: str) -> Effect:
    kind, number, attempt, pid, at, about = line.split()
    return Effect(kind=kind, number=int(number), attempt=int(attempt), pid=int(pid), at=float(at), about=about)
