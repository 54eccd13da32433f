"""What a client of the harness submits: the same jobs for the same seed, and which of them are what."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from uuid import UUID

WORK, DOCUMENT, DEADLY, GREEDY = "work", "document", "deadly", "greedy"
DOCUMENT_KINDS = frozenset({DOCUMENT, DEADLY, GREEDY})
_DURATIONS = (0.0, 0.02, 0.1, 0.4)
_LINES = 400


@dataclass(frozen=True, kw_only=True)
class Job:
    """One submission. `seconds` is how long an ordinary job takes, `delay` milliseconds or None."""

    number: int
    kind: str
    seconds: float
    delay: int | None
    followed: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Jobs `first` to `last` - 1, spread over `seconds`. `delayed`, `followed`, `documents`, `hostile` are shares.

    A document is put into the object store and submitted to the web server, a job is sent by `actor`; of the
    documents, the hostile ones kill their extraction's process or fill its memory.
    """

    run: str
    seed: int
    first: int
    last: int
    seconds: float
    actor: str = WORK
    delayed: float = 0.1
    followed: float = 0.2
    documents: float = 0.0
    hostile: float = 0.0
    give_up_seconds: float = 60.0

    def job(self, number: int) -> Job:
        """What number `number` is."""
        dice = random.Random(f"{self.seed}:{self.run}:{number}")
        kind = WORK
        if dice.random() < self.documents:
            kind = dice.choice((DEADLY, DEADLY, GREEDY)) if dice.random() < self.hostile else DOCUMENT
        return Job(
            number=number,
            kind=kind,
            seconds=dice.choice(_DURATIONS),
            delay=int(dice.uniform(500, 2500)) if dice.random() < self.delayed else None,
            followed=dice.random() < self.followed,
        )

    def message_id(self, number: int) -> str:
        """The same however often the job is sent: that is what a client does whose reply was lost."""
        digest = hashlib.sha256(f"{self.run}:{number}".encode()).digest()
        return str(UUID(bytes=digest[:16], version=4))


def object_key(run: str, number: int) -> str:
    return f"faults/{run}/{number}.txt"


def content(run: str, job: Job) -> bytes:
    """A document's bytes: its first line says what it does to whoever reads it."""
    return "\n".join([job.kind, *(f"{run} {job.number} line {line}" for line in range(_LINES))]).encode()
