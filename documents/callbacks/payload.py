"""What a webhook says: how one run of a task ended. Never the document's text, but where to read it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

RESULT_FIELDS = ("characters", "pages", "content_type", "engine", "sha256")
_RETRYABLE_STATES = frozenset({"dead_letter", "cancelled"})

_ENDING_EDGES: Mapping[str, frozenset[str]] = {
    "completed": frozenset({"complete"}),
    "failed": frozenset({"fail"}),
    "dead_letter": frozenset({"bury", "rescue"}),
    "cancelled": frozenset({"stop", "cancel", "discard", "rescue"}),
}


def task_message_id(task_id: UUID, *, run: int, state: str) -> str:
    return f"msg_{task_id.hex}_{run}_{state}"


def batch_message_id(batch_id: UUID) -> str:
    return f"msg_{batch_id.hex}_batch_completed"


def test_message_id(job_id: UUID) -> str:
    return f"msg_{job_id.hex}_test"


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How one run of a task ended. `result` is the job's result, or None."""

    task_id: UUID
    state: str
    run: int
    at: datetime
    attempt: int
    error_code: str = ""
    error_message: str = ""
    result: Mapping[str, Any] | None = None

    @property
    def event(self) -> str:
        """The event's type: `task.completed`, `task.failed`, `task.dead_letter` or `task.cancelled`."""
        return f"task.{self.state}"

    @property
    def message_id(self) -> str:
        """The same for every attempt to deliver this ending, and for no other: receivers drop repeats by it."""
        return task_message_id(self.task_id, run=self.run, state=self.state)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The task's request, as far as its owner is reminded of it."""

    document_id: str
    user_id: str
    file_name: str
    metadata: Mapping[str, Any]


def encode(ending: Ending, subject: Subject, *, public_url: str = "") -> bytes:
    """The body: compact JSON in UTF-8, the same bytes for every attempt."""
    payload = {
        "type": ending.event,
        "timestamp": _iso(ending.at),
        "data": {
            "task_id": str(ending.task_id),
            "document_id": subject.document_id,
            "user_id": subject.user_id,
            "file_name": subject.file_name,
            "status": ending.state,
            "run": ending.run,
            "attempt": ending.attempt,
            "error": _error(ending),
            "result": _result(ending, public_url),
            "metadata": dict(subject.metadata),
        },
    }
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


@dataclass(frozen=True, kw_only=True)
class BatchEnding:
    """How a batch ended: its tasks by state, and the documents that did not become tasks."""

    batch_id: UUID
    at: datetime
    accepted: int
    refused: int
    counts: Mapping[str, int]
    metadata: Mapping[str, Any]

    event = "batch.completed"

    @property
    def message_id(self) -> str:
        """One event for each batch."""
        return batch_message_id(self.batch_id)


def encode_batch(ending: BatchEnding, *, public_url: str = "") -> bytes:
    """The body of the event that a batch has ended; the states of its tasks are those at the time of writing."""
    payload = {
        "type": ending.event,
        "timestamp": _iso(ending.at),
        "data": {
            "batch_id": str(ending.batch_id),
            "status": "completed",
            "accepted": ending.accepted,
            "refused": ending.refused,
            "counts": {state: count for state, count in ending.counts.items() if count},
            "batch_url": f"{public_url}/api/documents/batch/{ending.batch_id}",
            "metadata": dict(ending.metadata),
        },
    }
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


TEST_EVENT = "webhook.test"


def encode_test(tenant: str, at: datetime) -> bytes:
    """The body of a test: nothing has happened."""
    payload = {
        "type": TEST_EVENT,
        "timestamp": _iso(at),
        "data": {"tenant": tenant, "message": "A test, sent because somebody asked for it. Nothing has happened."},
    }
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def _error(ending: Ending) -> dict[str, Any] | None:
    if not ending.error_code:
        return None
    return {
        "code": ending.error_code,
        "message": ending.error_message,
        "retryable": ending.state in _RETRYABLE_STATES,
    }


def _result(ending: Ending, public_url: str) -> dict[str, Any] | None:
    if ending.result is None or ending.state != "completed":
        return None
    summary = {name: ending.result.get(name) for name in RESULT_FIELDS}
    return {**summary, "result_url": f"{public_url}/api/documents/task/{ending.task_id}/result"}


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, kw_only=True)
class PastEvent:
    """One event of the job's history."""

    edge: str
    attempt: int
    at: datetime
    detail: Mapping[str, Any]


def ending_event(events: Iterable[PastEvent], *, state: str, run: int) -> PastEvent | None:
    """The event with which run number `run` ended in `state`, from the whole history in its order.

    The history tells how an earlier run ended when a person has queued the job again since.
    """
    found, current = None, 1
    for event in events:
        if event.edge == "retry":
            current += 1
        elif current == run and event.edge in _ENDING_EDGES.get(state, ()):
            found = event
    return found
