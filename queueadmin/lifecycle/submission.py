"""The birth of a job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from queueadmin import sql
from queueadmin.jobs import NewJob, Submitted
from queueadmin.lifecycle.rows import ready
from queueadmin.sql import JOB, Row
from queueadmin.states import State

_NEW = {
    "id": "uuid",
    "queue": "text",
    "actor": "text",
    "state": "text",
    "priority": "integer",
    "order_key": "integer",
    "partition_key": "text",
    "unique_key": "text",
    "parent_id": "uuid",
    "payload": "json",
    "max_attempts": "integer",
    "delay": "float",
}


def submit(jobs: Sequence[NewJob], *, now: datetime | None = None) -> Submitted:
    """(new) -> pending | scheduled. Returns the jobs that were not there before, and those of them to publish.

    A job whose id or live unique key exists already is left out: sending it again changes nothing.
    Runs in the caller's transaction, if there is one.
    """
    d = sql.dialect()
    names = [name for name in _NEW if name != "delay"]
    parameters: Row = {
        "now": d.time(now),
        "rows": sql.encode([_new_row(job) for job in jobs]),
        "worker_id": None,
    }
    insert = (
        f"INSERT INTO {JOB} ({', '.join(names)}, run_at, created_at, attempt, failures, crashes, run, "
        "error_code, error_message, fingerprint) "
        f"SELECT {', '.join(f'w.{name}' for name in names)}, "
        f"CASE WHEN w.delay > 0 THEN {d.after('w.delay')} ELSE NULL END, {d.now}, 0, 0, 0, 1, '', '', '' "
        f"FROM {d.rows(_NEW)} w WHERE true ON CONFLICT DO NOTHING "
        "RETURNING id, queue, priority, order_key, partition_key, state"
    )
    event = (
        f"INSERT INTO {sql.EVENT} (job_id, edge, attempt, worker_id, at, detail) "
        f"SELECT u.id, 'submit', 0, NULL, {d.now}, NULL FROM "
    )
    if sql.is_postgresql():
        rows = sql.query(f"WITH u AS ({insert}), e AS ({event} u) SELECT * FROM u", parameters)
    else:
        with transaction.atomic(savepoint=False):
            rows = sql.query(insert, parameters)
            changed = json.dumps([row["id"] for row in rows])
            sql.execute(
                f"{event} (SELECT value AS id FROM json_each(%(changed)s)) u",
                parameters | {"changed": changed},
            )
    return Submitted(
        inserted=frozenset(sql.as_uuid(row["id"]) for row in rows),
        ready=tuple(ready(row) for row in rows if row["state"] == State.PENDING),
    )


def _new_row(job: NewJob) -> Row:
    return {
        "id": job.id,
        "queue": job.queue,
        "actor": job.actor,
        "priority": job.priority,
        "order_key": job.order_key,
        "state": State.SCHEDULED if job.delay > 0 else State.PENDING,
        "partition_key": job.partition_key,
        "unique_key": job.unique_key,
        "parent_id": job.parent_id,
        "payload": job.payload,
        "delay": job.delay,
        "max_attempts": job.max_attempts,
    }
