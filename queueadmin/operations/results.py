"""What operations tell: what they did, what they left alone and why, what they refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from queueadmin.exceptions import QueueAdminError
from queueadmin.sanitize import clean_text

NOT_FOUND = "not_found"
UNIQUE_KEY_HELD = "unique_key_held"
CLEANED_UP = "cleaned_up"
CANCEL_REQUESTED = "cancel_requested"

Progress = Callable[[int], object]
"""Told how many jobs an operation has looked at so far."""


def untold(done: int) -> None:
    """Progress that nobody asked for."""


@dataclass(frozen=True, kw_only=True)
class OperationResult:
    """What an operation on single jobs did.

    `done` in the order asked for. `refused` says per job why not: the state it is in, or one of
    `not_found`, `unique_key_held` (another live job holds its key), `cleaned_up` (retention has
    emptied it) and `cancel_requested` (its worker was asked already).
    """

    log_id: UUID | None
    """Its audit row; None when there was nothing to do."""
    done: tuple[UUID, ...]
    refused: dict[UUID, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class QueueResult:
    """What an operation on a queue did: `changed` jobs for a purge; 1 or 0 for pause, drain and resume."""

    log_id: UUID
    queue: str
    requested: int
    changed: int


@dataclass(frozen=True, kw_only=True)
class LimitResult:
    """A limit as it is now and as it was `before`; None is none. `partition` None means the whole queue."""

    log_id: UUID
    queue: str
    partition: str | None
    limit: int | None
    before: int | None


@dataclass(frozen=True, kw_only=True)
class WorkerResult:
    """What an operation on a worker did: `changed` is False when it had been asked already, or has ended."""

    log_id: UUID
    worker_id: int
    worker: str
    changed: bool


@dataclass(frozen=True, kw_only=True)
class Eligibility:
    """What an operation would do if it ran now: the jobs it takes, and why it refuses the others."""

    eligible: tuple[UUID, ...]
    refused: dict[UUID, str]


class UnknownQueue(QueueAdminError):
    """There is no queue of that name."""

    code = "unknown_queue"
    retryable = False

    def __init__(self, queue: str, known: Sequence[str]) -> None:
        names = ", ".join(known) or "none yet"
        super().__init__(f"There is no queue {clean_text(queue, 80)!r}. Known queues: {names}.")
        self.queue, self.known = queue, tuple(known)


class UnknownPeriodic(QueueAdminError):
    """There is no periodic job of that name."""

    code = "unknown_periodic"
    retryable = False

    def __init__(self, actor: str, known: Sequence[str]) -> None:
        names = ", ".join(known) or "none"
        super().__init__(f"There is no periodic job {clean_text(actor, 80)!r}. Known ones: {names}.")
        self.actor, self.known = actor, tuple(known)


class DepthChanged(QueueAdminError):
    """A queue holds much more or much less than whoever confirmed its purge was shown."""

    code = "depth_changed"
    retryable = False

    def __init__(self, queue: str, *, expected: int, depth: int) -> None:
        super().__init__(
            f"Nothing was purged: {queue} held {expected} pending jobs when you were asked and holds {depth} now. "
            "Look again and confirm the new number; a busy queue is better paused first."
        )
        self.queue, self.expected, self.depth = queue, expected, depth


class InvalidTime(QueueAdminError):
    """The moment cannot be used."""

    code = "invalid_time"
    retryable = False


class InvalidChange(QueueAdminError):
    """The job cannot be given these options."""

    code = "invalid_change"
    retryable = False


class UnknownWorker(QueueAdminError):
    """There is no worker of that name or number that has not ended."""

    code = "unknown_worker"
    retryable = False


class InvalidLimit(QueueAdminError):
    """The limit cannot be set."""

    code = "invalid_limit"
    retryable = False
