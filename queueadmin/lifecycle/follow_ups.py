"""The follow-up of a job that ended, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from queueadmin import sql
from queueadmin.ids import uuid7
from queueadmin.jobs import FollowUp, NewJob, Ready
from queueadmin.lifecycle.submission import submit
from queueadmin.origin import Origin
from queueadmin.sql import Row
from queueadmin.states import TERMINAL


def follow_up(spec: FollowUp, job_id: UUID, state: str, run: int, partition_key: str, origin: Origin) -> NewJob:
    """The job that tells `spec` how this one ended."""
    return NewJob(
        id=uuid7(), queue=spec.queue, actor=spec.actor, priority=spec.priority, partition_key=partition_key,
        parent_id=job_id, max_attempts=spec.max_attempts,
        payload={"args": [str(job_id), str(state), run], "kwargs": {}, "options": origin.as_options()},
    )  # fmt: skip


def announce(ended: Sequence[Row], *, now: datetime | None) -> list[Ready]:
    """Insert the follow-ups of jobs that ended here, in the caller's transaction."""
    follow_ups = []
    for row in ended:
        payload = sql.decode(row["payload"])
        spec, job_id = FollowUp.of(payload), sql.as_uuid(row["id"])
        if spec is not None and row["state"] in TERMINAL:
            origin = Origin.of(payload)
            follow_ups.append(follow_up(spec, job_id, row["state"], row["run"], row["partition_key"], origin))
    return list(submit(follow_ups, now=now).ready) if follow_ups else []
