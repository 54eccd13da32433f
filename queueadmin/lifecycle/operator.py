"""The operator's edges: cancel, discard, retry, run now; and the priority, which is no edge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from queueadmin import sql
from queueadmin.counters import OUTCOMES
from queueadmin.edges import ENDED, WAITING
from queueadmin.jobs import Ready
from queueadmin.lifecycle.follow_ups import announce
from queueadmin.lifecycle.rows import ID, READY, id_rows, in_states, ready
from queueadmin.rollbacks import run_despite_rollbacks
from queueadmin.sql import JOB, Row, Write
from queueadmin.states import LIVE, State


def cancel(ids: Sequence[UUID], *, by: str, now: datetime | None = None) -> tuple[list[UUID], list[Ready]]:
    """pending | scheduled | retrying -> cancelled. Returns the cancelled ids, and follow-ups to publish."""
    return _end(ids, WAITING, "cancel", by=by, now=now)


def discard(ids: Sequence[UUID], *, by: str, now: datetime | None = None) -> tuple[list[UUID], list[Ready]]:
    """dead_letter -> cancelled. Returns the discarded ids, and follow-ups to publish."""
    return _end(ids, (State.DEAD_LETTER,), "discard", by=by, now=now)


def _end(
    ids: Sequence[UUID], sources: Sequence[State], edge: str, *, by: str, now: datetime | None
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
            ended = sql.perform(write, id_rows(ids), detail=json.dumps({"by": by}), rescuing=0, now=now)
            return ended, announce(ended, now=now)

    ended, due = run_despite_rollbacks(end)
    return [sql.as_uuid(row["id"]) for row in ended], due


def request_cancel(ids: Sequence[UUID], *, by: str, now: datetime | None = None) -> list[UUID]:
    """Ask the workers of these jobs to stop them. No edge yet: the worker takes `stop` within a second or two."""
    write = Write(
        columns=ID,
        guard="j.state = 'processing' AND j.cancel_requested_at IS NULL",
        assignments=f"cancel_requested_at = {sql.dialect().now}",
        returning=("id",),
        edge="'request_cancel'",
        detail="%(detail)s",
    )
    return [sql.as_uuid(row["id"]) for row in sql.perform(write, id_rows(ids), detail=json.dumps({"by": by}), now=now)]


def change_priority(
    ids: Sequence[UUID], *, priority: int, by: str, now: datetime | None = None
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
    detail = json.dumps({"by": by, "priority": priority})
    rows = sql.perform(write, id_rows(ids), detail=detail, priority=priority, now=now)
    return [(State(row["state"]), ready(row)) for row in rows]


def retry(ids: Sequence[UUID], *, by: str, order_key: int, now: datetime | None = None) -> list[Ready]:
    """failed | dead_letter | cancelled -> pending: a new run of the same job.

    Not for jobs that retention has emptied, nor while another live job holds the unique key.
    """
    live = ", ".join(f"'{state}'" for state in sorted(LIVE))
    write = Write(
        columns=ID,
        guard=(
            f"{in_states(ENDED)} AND j.cleaned_at IS NULL AND (j.unique_key IS NULL OR NOT EXISTS (SELECT 1 FROM "
            f"{JOB} o WHERE o.unique_key = j.unique_key AND o.id <> j.id AND o.state IN ({live})))"
        ),
        assignments=(
            "state = 'pending', run = j.run + 1, failures = 0, crashes = 0, error_code = '', error_message = '', "
            "fingerprint = '', result = NULL, claimed_at = NULL, started_at = NULL, finished_at = NULL, "
            f"cancel_requested_at = NULL, run_at = {sql.dialect().now}, order_key = %(order_key)s"
        ),
        returning=READY,
        edge="'retry'",
        detail="%(detail)s",
    )
    return _requeue(write, ids, by=by, order_key=order_key, now=now)


def retry_now(ids: Sequence[UUID], *, by: str, order_key: int, now: datetime | None = None) -> list[Ready]:
    """scheduled | retrying -> pending, without waiting for `run_at`."""
    write = Write(
        columns=ID,
        guard=in_states((State.SCHEDULED, State.RETRYING)),
        assignments=f"state = 'pending', run_at = {sql.dialect().now}, order_key = %(order_key)s",
        returning=READY,
        edge="'retry_now'",
        detail="%(detail)s",
    )
    return _requeue(write, ids, by=by, order_key=order_key, now=now)


def _requeue(write: Write, ids: Sequence[UUID], *, by: str, order_key: int, now: datetime | None) -> list[Ready]:
    detail = json.dumps({"by": by})
    return [ready(row) for row in sql.perform(write, id_rows(ids), detail=detail, order_key=order_key, now=now)]
