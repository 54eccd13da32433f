"""A job's events, grouped by attempt: who ran it, how long each stage took, how it ended and of what it died."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from queueadmin import deaths
from queueadmin.models import WorkerProcess
from queueadmin.selectors import TimelineEntry

_BEGINS = "claim"
_ENDS = frozenset({"complete", "retry_later", "fail", "bury", "release", "stop", "rescue"})
_OUTCOMES = {
    "complete": "Completed", "retry_later": "Failed, tried again later", "fail": "Failed for good",
    "bury": "Failed, attempts exhausted", "release": "Given back unfinished", "stop": "Stopped as asked",
    "rescue": "Its worker died",
}  # fmt: skip
_SHOWN = frozenset({
    "seconds", "ms", "code", "message", "traceback", "delay", "evidence", "how", "signal", "exit_code", "peak_bytes",
    "stage", "worker", "uptime_seconds", "silent_seconds", "held", "reason",
})  # fmt: skip
"""What of an event's detail has a place of its own; the rest are the actor's notes."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A named part of an attempt. `share` is its part of the whole, 0 to 100."""

    name: str
    seconds: float
    share: int


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One claim of the job, from the claim to what ended it. Empty texts and None are "not known"."""

    number: int
    claimed_at: datetime
    ended_at: datetime | None
    edge: str
    """What ended it, such as `complete`; empty while it runs."""
    worker: str
    host: str = ""
    pid: int | None = None
    seconds: float | None = None
    """How long it ran, as its worker measured; else from the claim to the end."""
    stages: tuple[Stage, ...] = ()
    code: str = ""
    message: str = ""
    traceback: str = ""
    delay: float | None = None
    """Seconds until the next attempt."""
    peak_bytes: int | None = None
    """The most memory that its child process took; where none died, that its worker and all its children did."""
    child: str = ""
    """How the process that did the work ended: the extraction's child, or the worker itself."""
    last_stage: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    asked: tuple[TimelineEntry, ...] = ()
    """What people asked of it meanwhile."""

    @property
    def outcome(self) -> str:
        """How it ended, in words."""
        return _OUTCOMES.get(self.edge, "Running")

    @property
    def is_running(self) -> bool:
        return self.ended_at is None

    @property
    def has_failed(self) -> bool:
        return self.edge in ("retry_later", "fail", "bury", "rescue")


def attempts_of(timeline: Sequence[TimelineEntry]) -> list[Attempt]:
    """The attempts in a job's timeline, the newest first. One query, for the workers."""
    known = WorkerProcess.objects.in_bulk({entry.worker_id for entry in timeline if entry.worker_id is not None})
    found: list[Attempt] = []
    claim: TimelineEntry | None = None
    asked: list[TimelineEntry] = []
    for entry in timeline:
        if entry.edge == _BEGINS:
            claim, asked = entry, []
        elif claim is not None and entry.edge in _ENDS:
            found.append(_attempt(claim, entry, known.get(claim.worker_id or 0), asked))
            claim = None
        elif claim is not None:
            asked.append(entry)
    if claim is not None:
        found.append(_attempt(claim, None, known.get(claim.worker_id or 0), asked))
    return found[::-1]


def _attempt(
    claim: TimelineEntry, end: TimelineEntry | None, worker: WorkerProcess | None, asked: Sequence[TimelineEntry]
) -> Attempt:
    detail = end.detail if end is not None else {}
    evidence = detail.get("evidence") if isinstance(detail.get("evidence"), dict) else {}
    facts = {**detail, **(evidence or {})}
    took = (end.at - claim.at).total_seconds() if end is not None else None
    return Attempt(
        number=claim.attempt, claimed_at=claim.at, ended_at=end.at if end else None, edge=end.edge if end else "",
        worker=claim.worker, host=worker.host if worker else "", pid=worker.pid if worker else None,
        seconds=_number(detail.get("seconds")) or took, stages=_stages(detail.get("ms")),
        code=_text(detail.get("code")), message=_text(detail.get("message") or detail.get("reason")),
        traceback=_text(detail.get("traceback")), delay=_number(detail.get("delay")),
        peak_bytes=_whole(facts.get("peak_bytes")) or (worker.peak_memory if worker else None),
        child=_text(detail.get("how")) or _child(facts), last_stage=_text(detail.get("stage")),
        notes={name: value for name, value in facts.items() if name not in _SHOWN and value not in (None, "", [], {})},
        asked=tuple(asked),
    )  # fmt: skip


def _stages(ms: Any) -> tuple[Stage, ...]:
    """Of what the actor noted as `ms`: stage -> milliseconds."""
    if not isinstance(ms, dict):
        return ()
    known = {name: max(0.0, took) for name, value in ms.items() if (took := _number(value)) is not None}
    whole = sum(known.values()) or 1.0
    return tuple(Stage(name=name, seconds=took / 1000, share=round(100 * took / whole)) for name, took in known.items())


def _child(facts: dict[str, Any]) -> str:
    if facts.get("signal"):
        return f"killed by {_text(facts['signal'])}"
    return deaths.cause(_whole(facts.get("exit_code")), None)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
