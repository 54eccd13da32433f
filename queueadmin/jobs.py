"""The values that cross this package's boundaries: jobs to be, jobs in hand, and their outcomes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from queueadmin.states import State


def order_key_now() -> int:
    """Microseconds since 1970: the place among its partition's jobs of a job that becomes due now."""
    return time.time_ns() // 1000


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """The job to insert, in the same transaction, when another one ends."""

    actor: str
    queue: str
    priority: int
    max_attempts: int

    @staticmethod
    def of(payload: dict[str, Any]) -> FollowUp | None:
        """The follow-up that a job's payload asks for, if any."""
        spec = payload.get("options", {}).get("follow_up")
        return FollowUp(**spec) if spec else None


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job to submit. `delay` is seconds until its first run; `payload` holds args, kwargs and options."""

    id: UUID
    queue: str
    actor: str
    payload: dict[str, Any]
    max_attempts: int
    priority: int = 0
    order_key: int = field(default_factory=order_key_now)
    partition_key: str = ""
    unique_key: str | None = None
    parent_id: UUID | None = None
    delay: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a person changes of a job when retrying it; None leaves a thing as it is.

    `delay` is seconds until it runs; `kwargs` replace the keyword arguments of its actor.
    """

    priority: int | None = None
    max_attempts: int | None = None
    delay: float = 0.0
    kwargs: dict[str, Any] | None = None

    def described(self) -> dict[str, Any]:
        """What is changed, for the audit; of the arguments only that they are."""
        given = {
            "priority": self.priority, "max_attempts": self.max_attempts, "delay": round(self.delay, 1) or None,
            "arguments": None if self.kwargs is None else "changed",
        }  # fmt: skip
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A pending job as the ready set needs it. `given_back`: it was in line before, and does not line up anew."""

    id: UUID
    queue: str
    priority: int
    order_key: int
    partition_key: str = ""
    given_back: bool = False


class Waiting(NamedTuple):
    """A pending job as the sweep reads it: a tuple, because there may be a million. `id` is 32 hex digits."""

    order_key: int
    id: str
    priority: int
    partition_key: str


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """What a submission added: ids that were not in the ledger before, and the jobs due at once."""

    inserted: frozenset[UUID]
    ready: tuple[Ready, ...]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A wish to take a job, with the token that will prove it."""

    id: UUID
    token: UUID


@dataclass(frozen=True, kw_only=True)
class ClaimedJob:
    """A job that this process holds, as long as the ledger still carries its token."""

    id: UUID
    token: UUID
    queue: str
    actor: str
    payload: dict[str, Any]
    attempt: int
    run: int
    failures: int
    crashes: int
    max_attempts: int
    partition_key: str = ""
    priority: int = 0
    order_key: int = 0
    waited_ms: int = 0
    """From when it was due until it was claimed, by the database's clock."""
    parent_id: UUID | None = None

    @property
    def follow_up(self) -> FollowUp | None:
        return FollowUp.of(self.payload)

    def given_back(self) -> Ready:
        """The job as it goes back into line when it is released."""
        return Ready(
            id=self.id, queue=self.queue, priority=self.priority, order_key=self.order_key,
            partition_key=self.partition_key, given_back=True,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of an attempt. Made by the constructors in `lifecycle`, written by `finish`."""

    job: ClaimedJob
    edge: str
    state: State
    result: Any = None
    delay: float = 0.0
    failed: int = 0
    error_code: str = ""
    error_message: str = ""
    fingerprint: str = ""
    detail: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a batch of outcomes changed: how many jobs, and which are due now and to be published."""

    written: int
    due: tuple[Ready, ...]
