"""The dispatcher's edges: promote what is due, rescue what a dead worker held or nobody can end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from django.db import transaction

from queueadmin import deaths, sql
from queueadmin.counters import FAILURES, OUTCOMES
from queueadmin.jobs import ClaimedJob, Ready
from queueadmin.lifecycle.follow_ups import announce
from queueadmin.lifecycle.rows import READY, ready
from queueadmin.sql import Row, Write


def promote(*, limit: int, order_key: int, now: datetime | None = None) -> list[Ready]:
    """scheduled | retrying -> pending, for up to `limit` jobs whose time has come."""
    write = Write(
        columns={},
        guard=f"j.state IN ('retrying', 'scheduled') AND j.run_at <= {sql.dialect().now}",
        assignments="state = 'pending', order_key = %(order_key)s",
        returning=READY,
        edge="'promote'",
        limit="ORDER BY j.run_at LIMIT %(limit)s",
    )
    return [ready(row) for row in sql.perform(write, limit=limit, order_key=order_key, now=now)]


def rescue(
    lost: Sequence[int], *, worker_id: int, max_crashes: int, limit: int = 500, now: datetime | None = None
) -> int:
    """processing -> retrying | dead_letter, for jobs of the workers `lost`; returns how many it moved.

    `crashes` grows, `failures` does not: the document is not convicted, it runs on probation before it could be. The
    event says how the worker died, as far as that is known, and which stage the job was in.
    """
    with transaction.atomic():
        orphans = deaths.orphans(lost, limit=limit)
        if not orphans:
            return 0
        moved = sql.perform(
            _rescue_write("Its worker died", "worker_lost"), _orphan_rows(orphans, deaths.of(lost, now=now)),
            worker_id=worker_id, max_crashes=max_crashes, rescuing=1, now=now,
        )  # fmt: skip
        announce(moved, now=now)
    return len(moved)


def give_up(job: ClaimedJob, *, why: str, worker_id: int, max_crashes: int, now: datetime | None = None) -> bool:
    """processing -> retrying | dead_letter, for a job whose every outcome the database refuses: as if it had crashed.

    A rescue that its own worker does: the job must neither be held for ever nor run for ever. Not among the counted
    failures, because these may be what is refused. False when the claim is somebody else's by now.
    """
    row = {
        "id": job.id, "worker": worker_id, "token": job.token, "how": why, "detail": {"how": f"unstorable: {why}"},
    }  # fmt: skip
    write = _rescue_write("Its outcome could not be stored", "unrecordable")
    write = replace(
        write,
        columns={**write.columns, "token": "uuid"},
        guard=f"{write.guard} AND j.token = w.token",
        counts=(OUTCOMES,),
    )
    with transaction.atomic():
        moved = sql.perform(write, [row], worker_id=worker_id, max_crashes=max_crashes, rescuing=1, now=now)
        announce(moved, now=now)
    return bool(moved)


def _rescue_write(what: str, code: str) -> Write:
    d = sql.dialect()
    too_often = "j.crashes + 1 >= %(max_crashes)s"
    asked = "j.cancel_requested_at IS NOT NULL"
    return Write(
        columns={"id": "uuid", "worker": "integer", "how": "text", "detail": "json"},
        guard="j.state = 'processing' AND j.worker_id = w.worker",
        assignments=(
            f"state = CASE WHEN {asked} THEN 'cancelled' WHEN {too_often} THEN 'dead_letter' ELSE 'retrying' END, "
            f"crashes = j.crashes + 1, token = NULL, worker_id = NULL, "
            f"run_at = {d.now}, finished_at = CASE WHEN {asked} OR {too_often} THEN {d.now} ELSE NULL END, "
            f"error_code = CASE WHEN {too_often} THEN 'poison' ELSE '{code}' END, "
            f"error_message = CASE WHEN {too_often} THEN '{what} each time it ran, the last time: ' "
            f"ELSE '{what}: ' END || w.how || '.', fingerprint = ''"
        ),
        returning=("id", "state", "run", "payload", "partition_key"),
        edge="'rescue'",
        detail="w.detail",
        counts=(OUTCOMES, FAILURES),
    )


def _orphan_rows(orphans: Sequence[Row], found: dict[int, deaths.Death]) -> list[Row]:
    rows = []
    for orphan in orphans:
        death, stage = found[orphan["worker_id"]], orphan["stage"] or deaths.NO_STAGE
        rows.append({
            "id": sql.as_uuid(orphan["id"]), "worker": orphan["worker_id"], "how": death.sentence(stage),
            "detail": death.detail() | {"stage": stage},
        })  # fmt: skip
    return rows
