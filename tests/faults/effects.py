"""The effect log: one line per thing that an actor did, appended by whichever process did it.

A line is one `write` of an O_APPEND file, so lines of many processes neither mix nor get lost when one is killed.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "FAULTS_EFFECTS"
STARTED, ENDED, ANNOUNCED, ACCEPTED = "started", "ended", "announced", "accepted"


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
    line = f"{kind} {number} {attempt} {os.getpid()} {time.time():.6f} {about}\n"
    log = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(log, line.encode())
    finally:
        os.close(log)


def read(path: Path) -> list[Effect]:
    """Everything that happened so far."""
    if not path.exists():
        return []
    return [_effect(line) for line in path.read_text().splitlines()]


def _effect(line: str) -> Effect:
    kind, number, attempt, pid, at, about = line.split()
    return Effect(kind=kind, number=int(number), attempt=int(attempt), pid=int(pid), at=float(at), about=about)
