"""The operator's edges: cancel, discard, retry, run now; and the priority, which is no edge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from queueadmin import sql
from queueadmin.counters import OUTCOMES
from queueadmin.edges import ENDED, WAITING
from queueadmin.jobs import Changes, Ready
from queueadmin.lifecycle.follow_ups import announce
from queueadmin.lifecycle.rows import ID, READY, id_rows, in_states, ready
from queueadmin.rollbacks import run_despite_rollbacks
from queueadmin.sql import JOB, Row, Write
from queueadmin.states import LIVE, State

_CHANGED = {
    **ID, "run": "integer", "priority": "integer", "max_attempts": "integer", "delay": "float", "payload": "json",
}  # fmt: skip


def cancel(
    ids: Sequence[UUID], *, by: str, log_id: UUID | None = None, now: datetime | None = None
) -> tuple[list[UUID], list[Ready]]:
    """pending | scheduled | retrying -> cancelled. Returns the cancelled ids, and follow-ups to publish."""
    return _end(ids, WAITING, "cancel", by=by, log_id=log_id, now=now)


def discard(
    ids: Sequence[UUID], *, by: str, log_id: UUID | None = None, now: datetime | None = None
) -> tuple[list[UUID], list[Ready]]:
    """dead_letter -> cancelled. Returns the discarded ids, and follow-ups to publish."""
    return _end(ids, (State.DEAD_LETTER,), "discard", by=by, log_id=log_id, now=now)


def _end(
    ids: Sequence[UUID], sources: Sequence[State], edge: str, *, by: str, log_id: UUID | None, now: datetime | None
) -> tuple[list[UUID], list[Ready]]:
    write = Write(
        columns=ID,
        guard=in_states(sources),
        assignments=f"state = 'cancelled', finished_at = {sql.dialect().now}",
        returning=("id", "state", "run", "payload", "partition_key"),
        edge=f"'{edge}'",
        detail="%(detail)s",
        counts=(OUTCOMES,),
    )

    def end() -> tuple[list[Row], list[Ready]]:
        with transaction.atomic():
            ended = sql.perform(write, id_rows(ids), detail=_told(by, log_id), rescuing=0, now=now)
            return ended, announce(ended, now=now)

    ended, due = run_despite_rollbacks(end)
    return [sql.as_uuid(row["id"]) for row in ended], due


def request_cancel(
    ids: Sequence[UUID], *, by: str, log_id: UUID | None = None, now: datetime | None = None
) -> list[UUID]:
    """Ask the workers of these jobs to stop them. No edge yet: the worker takes `stop` within a second or two."""
    write = Write(
        columns=ID,
        guard="j.state = 'processing' AND j.cancel_requested_at IS NULL",
        assignments=f"cancel_requested_at = {sql.dialect().now}",
        returning=("id",),
        edge="'request_cancel'",
        detail="%(detail)s",
    )
    return [sql.as_uuid(row["id"]) for row in sql.perform(write, id_rows(ids), detail=_told(by, log_id), now=now)]


def change_priority(
    ids: Sequence[UUID], *, priority: int, by: str, log_id: UUID | None = None, now: datetime | None = None
) -> list[tuple[State, Ready]]:
    """Give waiting jobs another priority. No edge: they stay where they are. Returns their states and places."""
    write = Write(
        columns=ID,
        guard=in_states(WAITING),
        assignments="priority = %(priority)s",
        returning=(*READY, "state"),
        edge="'reprioritise'",
        detail="%(detail)s",
    )
    detail = _told(by, log_id, priority=priority)
    rows = sql.perform(write, id_rows(ids), detail=detail, priority=priority, now=now)
    return [(State(row["state"]), ready(row)) for row in rows]


def retry(
    ids: Sequence[UUID], *, by: str, order_key: int, log_id: UUID | None = None, now: datetime | None = None
) -> list[Ready]:
    """failed | dead_letter | cancelled -> pending: a new run of the same job.

    Not for jobs that retention has emptied, nor while another live job holds the unique key.
    """
    rows = sql.perform(
        _retry_write(), id_rows(ids), detail=_told(by, log_id), order_key=order_key, now=now
    )  # fmt: skip
    return [ready(row) for row in rows]


def retry_changed(
    job_id: UUID, changes: Changes, *, run: int, payload: Row | None, by: str, order_key: int,
    log_id: UUID | None = None, now: datetime | None = None,
) -> tuple[State, Ready] | None:  # fmt: skip
    """As `retry`, with other options: -> scheduled when it is to run later. None when the edge was not taken.

    `run` is the run that the person looked at, from which the new `payload` was made: if somebody else has retried the
    job since, it is left alone.
    """
    row = {
        "id": job_id, "run": run, "priority": changes.priority, "max_attempts": changes.max_attempts,
        "delay": changes.delay or None, "payload": payload,
    }  # fmt: skip
    detail = _told(by, log_id, **changes.described())
    moved = sql.perform(_retry_write(), [row], detail=detail, order_key=order_key, now=now)
    return (State(moved[0]["state"]), ready(moved[0])) if moved else None


def _retry_write() -> Write:
    """What a row leaves out stays as it is."""
    live = ", ".join(f"'{state}'" for state in sorted(LIVE))
    d = sql.dialect()
    return Write(
        columns=_CHANGED,
        guard=(
            f"{in_states(ENDED)} AND (w.run IS NULL OR w.run = j.run) AND j.cleaned_at IS NULL "
            f"AND (j.unique_key IS NULL OR NOT EXISTS (SELECT 1 FROM {JOB} o "
            f"WHERE o.unique_key = j.unique_key AND o.id <> j.id AND o.state IN ({live})))"
        ),
        assignments=(
            "state = CASE WHEN w.delay IS NULL THEN 'pending' ELSE 'scheduled' END, run = j.run + 1, failures = 0, "
            "crashes = 0, error_code = '', error_message = '', fingerprint = '', result = NULL, claimed_at = NULL, "
            "started_at = NULL, finished_at = NULL, cancel_requested_at = NULL, order_key = %(order_key)s, "
            f"run_at = CASE WHEN w.delay IS NULL THEN {d.now} ELSE {d.after('w.delay')} END, "
            "priority = COALESCE(w.priority, j.priority), payload = COALESCE(w.payload, j.payload), "
            "max_attempts = COALESCE(w.max_attempts, j.max_attempts)"
        ),
        returning=(*READY, "state"),
        edge="'retry'",
        detail="%(detail)s",
    )


def retry_now(
    ids: Sequence[UUID], *, by: str, order_key: int, log_id: UUID | None = None, now: datetime | None = None
) -> list[Ready]:
    """scheduled | retrying -> pending, without waiting for `run_at`."""
    write = Write(
        columns=ID,
        guard=in_states((State.SCHEDULED, State.RETRYING)),
        assignments=f"state = 'pending', run_at = {sql.dialect().now}, order_key = %(order_key)s",
        returning=READY,
        edge="'retry_now'",
        detail="%(detail)s",
    )
    rows = sql.perform(write, id_rows(ids), detail=_told(by, log_id), order_key=order_key, now=now)
    return [ready(row) for row in rows]


def _told(by: str, log_id: UUID | None, **more: Any) -> str:
    """What the event says of the operation: who, in which row of the operations log, and what else."""
    operation = {} if log_id is None else {"operation": str(log_id)}
    return json.dumps({"by": by, **operation, **more})
