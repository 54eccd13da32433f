"""What a seeded ledger tells: ten days of a service with four tenants, one bad release and a few bad documents.

Everything follows from the seed, the number of rows and the moment: the same three give the same rows.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from queueadmin.ids import uuid7
from queueadmin.states import State

DAYS = 10
WORKERS = {101: "ingest-a:1", 102: "ingest-a:2", 103: "ingest-b:1"}
SILENT_WORKER = 104
TENANTS = (("acme", 60), ("globex", 25), ("initech", 12), ("umbrella", 3))
INGEST, DELIVER, CLEANUP = "ingest_document", "deliver_webhook", "cleanup"
NAMES = ("invoice", "contract", "report", "minutes", "letter", "offer", "manual", "scan")
TYPES = (
    ("pdf", "application/pdf", 55),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", 20),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", 10),
    ("html", "text/html", 8),
    ("eml", "message/rfc822", 5),
    ("png", "image/png", 2),
)

_OUTCOMES = {
    State.COMPLETED: 900, State.FAILED: 32, State.DEAD_LETTER: 14, State.CANCELLED: 8, State.PENDING: 30,
    State.RETRYING: 6, State.SCHEDULED: 8, State.PROCESSING: 2,
}  # fmt: skip
_LIVE = (State.PENDING, State.RETRYING, State.SCHEDULED, State.PROCESSING)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A way to fail. `weight` is how often, among the faults of one state."""

    code: str
    message: str
    fingerprint: str
    weight: int
    actor: str = INGEST


FAILED = (
    Fault(code="encrypted", message="The document is protected by a password.", fingerprint="e1" * 16, weight=40),
    Fault(code="damaged", message="The PDF has no pages that can be read.", fingerprint="d2" * 16, weight=30),
    Fault(code="unsupported_type", message="A file of type video/mp4 has no text.", fingerprint="u3" * 16, weight=20),
    Fault(code="not_found", message="There is no object of this key.", fingerprint="f4" * 16, weight=10),
)
DEAD = (
    Fault(
        code="internal_error", message="KeyError: 'sheets' in convert (release 2.4.0)", fingerprint="a5" * 16, weight=55
    ),
    Fault(code="storage_unavailable", message="The store answered 503 Slow Down.", fingerprint="b6" * 16, weight=25),
    Fault(
        code="webhook_refused", message="The receiver answered 500.", fingerprint="c7" * 16, weight=20, actor=DELIVER
    ),
)


@dataclass(frozen=True, kw_only=True)
class Event:
    edge: str
    attempt: int
    at: datetime
    worker_id: int | None = None
    detail: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Story:
    """One job from its submission to where it stands."""

    id: UUID
    actor: str
    queue: str
    state: State
    tenant: str
    created_at: datetime
    parent_id: UUID | None = None
    file_name: str = ""
    content_type: str = ""
    priority: int = 0
    fault: Fault | None = None
    attempt: int = 0
    failures: int = 0
    run_at: datetime | None = None
    claimed_at: datetime | None = None
    finished_at: datetime | None = None
    worker_id: int | None = None
    events: Sequence[Event] = field(default_factory=tuple)


def stories(*, rows: int, seed: int, now: datetime, ingest_queue: str) -> Iterator[Story]:
    """`rows` jobs, oldest first. A third of them delivers the webhook of the one before."""
    chance = random.Random(seed)
    step = timedelta(days=DAYS) / max(1, rows)
    parent: Story | None = None
    for number in range(rows):
        created = now - timedelta(days=DAYS) + step * number
        if parent is not None and chance.random() < 0.5:
            yield _story(chance, created, now, actor=DELIVER, queue="webhooks", tenant=parent.tenant, parent=parent)
            parent = None
        else:
            told = _story(chance, created, now, actor=INGEST, queue=ingest_queue, tenant=_pick(chance, TENANTS))
            parent = told if told.finished_at is not None else None
            yield told


def _story(
    chance: random.Random, created: datetime, now: datetime, *, actor: str, queue: str, tenant: str,
    parent: Story | None = None,
) -> Story:  # fmt: skip
    state = _state(chance, created, now)
    fault = _fault(chance, state, actor)
    extension, content_type = _type(chance)
    story = {
        "id": uuid7(int(created.timestamp() * 1000)), "actor": actor, "queue": queue, "state": state, "tenant": tenant,
        "created_at": created, "parent_id": parent.id if parent else None, "fault": fault,
        "priority": 5 if chance.random() < 0.05 else 0, "content_type": content_type,
        "file_name": f"{chance.choice(NAMES)}-{chance.randrange(100_000)}.{extension}",
    }  # fmt: skip
    return Story(**(story | _course(chance, state, fault, created, now)))


def _state(chance: random.Random, created: datetime, now: datetime) -> State:
    """Jobs that are still alive are recent ones, or a scheduled few."""
    state = State(chance.choices(list(_OUTCOMES), weights=list(_OUTCOMES.values()))[0])
    return state if state not in _LIVE or now - created < timedelta(days=3) else State.COMPLETED


def _course(
    chance: random.Random, state: State, fault: Fault | None, created: datetime, now: datetime
) -> dict[str, Any]:
    """Attempts and events that lead to `state`."""
    events = [Event(edge="submit", attempt=0, at=created)]
    if state in (State.PENDING, State.SCHEDULED):
        run_at = now + timedelta(minutes=chance.randrange(1, 600)) if state == State.SCHEDULED else None
        return {"events": events, "run_at": run_at}
    attempts = 3 if state == State.DEAD_LETTER else 1
    moment, worker = created, chance.choice(list(WORKERS))
    for attempt in range(1, attempts + 1):
        claimed = moment + timedelta(seconds=chance.expovariate(0.5))
        if state == State.PROCESSING:
            claimed = now - timedelta(seconds=chance.uniform(1, 40))
        events.append(Event(edge="claim", attempt=attempt, at=claimed, worker_id=worker))
        moment = claimed + timedelta(seconds=chance.expovariate(0.4))
        if attempt < attempts:
            events.append(_ended("retry_later", attempt, moment, worker, fault))
    told = {"events": events, "attempt": attempts, "claimed_at": claimed, "worker_id": worker}
    if state == State.PROCESSING:
        return told
    edge = {State.COMPLETED: "complete", State.FAILED: "fail", State.DEAD_LETTER: "bury", State.CANCELLED: "stop"}
    events.append(_ended(edge.get(state, "retry_later"), attempts, moment, worker, fault))
    told |= {"failures": attempts if fault else 0, "worker_id": None}
    if state == State.RETRYING:
        return told | {"run_at": now + timedelta(seconds=chance.uniform(5, 900))}
    return told | {"finished_at": moment}


def _ended(edge: str, attempt: int, at: datetime, worker: int, fault: Fault | None) -> Event:
    detail: dict[str, Any] = {"ms": {"fetch": 110.2, "identify": 3.1, "extract": 740.0, "store": 50.4}}
    if fault is not None:
        detail |= {"code": fault.code, "message": fault.message}
    return Event(edge=edge, attempt=attempt, at=at, worker_id=worker, detail=detail)


def _fault(chance: random.Random, state: State, actor: str) -> Fault | None:
    if state == State.FAILED:
        return _weighted(chance, [fault for fault in FAILED if actor == INGEST] or [DEAD[2]])
    if state in (State.DEAD_LETTER, State.RETRYING):
        return _weighted(chance, [fault for fault in DEAD if fault.actor == actor])
    return None


def _weighted(chance: random.Random, faults: Sequence[Fault]) -> Fault:
    return chance.choices(faults, weights=[fault.weight for fault in faults])[0]


def _pick(chance: random.Random, choices: Sequence[tuple[str, int]]) -> str:
    return chance.choices([name for name, _ in choices], weights=[weight for _, weight in choices])[0]


def _type(chance: random.Random) -> tuple[str, str]:
    extension, content_type, _ = chance.choices(TYPES, weights=[weight for *_, weight in TYPES])[0]
    return extension, content_type
