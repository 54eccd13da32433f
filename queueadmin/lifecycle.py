"""The life of a job: its edges, and the only code that writes `Job.state`.

Each edge is an UPDATE guarded by the states it leaves and, where a worker acts, by the claim
token; its event is written in the same transaction. Tokens are made before the first try, so
repeating an edge whose COMMIT reply was lost changes nothing. `docs/state_machine.md` is
rendered from `edges.EDGES`, and a test walks every state x edge x stale token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from queueadmin import deaths, sql
from queueadmin.counters import FAILURES, OUTCOMES
from queueadmin.edges import ENDED, WAITING
from queueadmin.ids import uuid7
from queueadmin.jobs import Claim, ClaimedJob, Finished, FollowUp, NewJob, Outcome, Ready, Submitted
from queueadmin.origin import Origin
from queueadmin.rollbacks import run_despite_rollbacks
from queueadmin.sql import JOB, Row, Write
from queueadmin.states import LIVE, TERMINAL, State

# -- birth ---------------------------------------------------------------------------------------

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
        ready=tuple(_ready(row) for row in rows if row["state"] == State.PENDING),
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


def _ready(row: Row) -> Ready:
    return Ready(
        id=sql.as_uuid(row["id"]), queue=row["queue"], priority=row["priority"], order_key=row["order_key"],
        partition_key=row["partition_key"],
    )  # fmt: skip


# -- the worker's edges --------------------------------------------------------------------------

_CLAIMED = (
    "id", "token", "queue", "actor", "payload", "attempt", "run", "failures", "crashes", "max_attempts",
    "partition_key", "priority", "order_key", "parent_id",
)  # fmt: skip


def _waited() -> str:
    return sql.dialect().milliseconds("COALESCE(run_at, created_at)", "claimed_at")


def claim(
    claims: Sequence[Claim],
    *,
    actors: Iterable[str],
    worker_id: int,
    suspects: bool = False,
    suspect_from: int = 1,
    now: datetime | None = None,
) -> list[ClaimedJob]:
    """pending -> processing, for those of `claims` that are pending, known here, and in no paused queue.

    Jobs that were there when `suspect_from` workers died are claimed only with `suspects`: they run alone.

    A job whose row somebody has locked is left out, too: one forgotten transaction must not stop a worker.
    """
    d = sql.dialect()
    clean = "" if suspects else "AND j.crashes < %(suspect_from)s "
    write = Write(
        columns={"id": "uuid", "token": "uuid"},
        guard=(
            f"j.state = 'pending' AND {d.member('j.actor', 'actors')} {clean}AND NOT EXISTS "
            f"(SELECT 1 FROM {sql.CONTROL} q WHERE q.queue = j.queue AND q.paused_at IS NOT NULL)"
        ),
        assignments=(
            f"state = 'processing', attempt = j.attempt + 1, claimed_at = {d.now}, started_at = {d.now}, "
            "worker_id = %(worker_id)s, token = w.token"
        ),
        returning=_CLAIMED,
        computed={"waited_ms": _waited()},
        edge="'claim'",
        passes_locked=True,
    )
    rows = [{"id": item.id.hex, "token": item.token.hex} for item in claims]
    return [
        _claimed(row)
        for row in sql.perform(
            write, rows, worker_id=worker_id, actors=json.dumps(list(actors)), suspect_from=suspect_from, now=now
        )
    ]


def recover_claims(claims: Sequence[Claim]) -> list[ClaimedJob]:
    """The jobs that an earlier `claim` took although its reply was lost: those that carry its tokens."""
    rows = sql.encode([{"id": item.id.hex, "token": item.token.hex} for item in claims])
    source = sql.dialect().rows({"id": "uuid", "token": "uuid"})
    found = sql.query(
        f"SELECT {', '.join(f'j.{name}' for name in _CLAIMED)}, {_waited()} AS waited_ms FROM {JOB} j JOIN {source} w "
        "ON w.id = j.id AND w.token = j.token WHERE j.state = 'processing'",
        {"rows": rows},
    )
    return [_claimed(row) for row in found]


def _claimed(row: Row) -> ClaimedJob:
    row["id"], row["token"] = sql.as_uuid(row["id"]), sql.as_uuid(row["token"])
    row["payload"] = sql.decode(row["payload"])
    row["parent_id"] = None if row["parent_id"] is None else sql.as_uuid(row["parent_id"])
    return ClaimedJob(**row)


def complete(job: ClaimedJob, *, result: Any = None, detail: Row | None = None) -> Outcome:
    """processing -> completed."""
    return Outcome(job=job, edge="complete", state=State.COMPLETED, result=result, detail=detail)


def retry_later(
    job: ClaimedJob,
    *,
    delay: float,
    code: str,
    message: str,
    fingerprint: str = "",
    detail: Row | None = None,
) -> Outcome:
    """processing -> retrying, due again after `delay` seconds; burns an attempt."""
    return Outcome(
        job=job, edge="retry_later", state=State.RETRYING, delay=delay, failed=1, error_code=code,
        error_message=message, fingerprint=fingerprint, detail=detail,
    )  # fmt: skip


def fail(job: ClaimedJob, *, code: str, message: str, fingerprint: str = "", detail: Row | None = None) -> Outcome:
    """processing -> failed: a permanent fault."""
    return Outcome(
        job=job, edge="fail", state=State.FAILED, failed=1, error_code=code, error_message=message,
        fingerprint=fingerprint, detail=detail,
    )  # fmt: skip


def bury(job: ClaimedJob, *, code: str, message: str, fingerprint: str = "", detail: Row | None = None) -> Outcome:
    """processing -> dead_letter: attempts exhausted."""
    return Outcome(
        job=job, edge="bury", state=State.DEAD_LETTER, failed=1, error_code=code, error_message=message,
        fingerprint=fingerprint, detail=detail,
    )  # fmt: skip


def release(job: ClaimedJob, *, reason: str) -> Outcome:
    """processing -> pending: given back unfinished, burning nothing."""
    return Outcome(job=job, edge="release", state=State.PENDING, detail={"reason": reason})


def stop(job: ClaimedJob, *, detail: Row | None = None) -> Outcome:
    """processing -> cancelled, as a person asked."""
    return Outcome(job=job, edge="stop", state=State.CANCELLED, detail=detail)


_OUTCOME = {
    "id": "uuid", "token": "uuid", "edge": "text", "state": "text", "result": "json", "delay": "float",
    "failed": "integer", "error_code": "text", "error_message": "text", "fingerprint": "text", "detail": "json",
}  # fmt: skip
_WANTED = "j.cancel_requested_at IS NOT NULL AND w.state IN ('retrying', 'pending')"
"""A job that was asked to stop is not queued once more, whatever its worker says."""


def _finish_write(*, failures: bool) -> Write:
    d = sql.dialect()
    ended = ", ".join(f"'{state}'" for state in sorted(TERMINAL))
    return Write(
        columns=_OUTCOME,
        guard="j.state = 'processing' AND j.token = w.token",
        assignments=(
            f"state = CASE WHEN {_WANTED} THEN 'cancelled' ELSE w.state END, token = NULL, worker_id = NULL, "
            f"result = w.result, failures = j.failures + w.failed, "
            f"run_at = CASE WHEN w.state = 'retrying' THEN {d.after('w.delay')} ELSE j.run_at END, "
            f"finished_at = CASE WHEN w.state IN ({ended}) OR {_WANTED} THEN {d.now} ELSE NULL END, "
            "error_code = w.error_code, error_message = w.error_message, fingerprint = w.fingerprint"
        ),
        returning=("id", "state"),
        edge="CASE WHEN u.state = 'cancelled' THEN 'stop' ELSE w.edge END",
        detail="w.detail",
        counts=(OUTCOMES, FAILURES) if failures else (OUTCOMES,),
        passes_locked=True,
    )


def finish(outcomes: Sequence[Outcome], *, worker_id: int, now: datetime | None = None) -> Finished:
    """Write a batch of outcomes: state, event, counters and follow-up jobs, all or nothing.

    An outcome whose token is stale changes nothing; neither does one whose row is locked, which `still_owed` tells
    apart. Returns what became due: released jobs and follow-ups, to be published once the batch is committed. Call it
    outside a transaction.
    """
    outcomes = _first_of_each_token(outcomes)
    rows = [_outcome_row(outcome) for outcome in outcomes]
    write = _finish_write(failures=any(outcome.failed for outcome in outcomes))
    if not any(outcome.job.follow_up for outcome in outcomes):
        written = sql.perform(write, rows, worker_id=worker_id, rescuing=0, now=now)
        return Finished(written=len(written), due=tuple(_released(outcomes, written)))
    with transaction.atomic():
        written = sql.perform(write, rows, worker_id=worker_id, rescuing=0, now=now)
        follow_ups = _follow_ups_of(outcomes, written)
        due = submit(follow_ups, now=now).ready if follow_ups else ()
    return Finished(written=len(written), due=(*_released(outcomes, written), *due))


def still_owed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those of `outcomes` that `finish` could not write yet: the job still carries the token."""
    rows = sql.encode([{"token": outcome.job.token.hex, "id": outcome.job.id.hex} for outcome in outcomes])
    source = sql.dialect().rows({"id": "uuid", "token": "uuid"})
    found = sql.query(
        f"SELECT j.token FROM {JOB} j JOIN {source} w ON w.id = j.id AND w.token = j.token "
        "WHERE j.state = 'processing'",
        {"rows": rows},
    )
    tokens = {sql.as_uuid(row["token"]) for row in found}
    return [outcome for outcome in outcomes if outcome.job.token in tokens]


def _first_of_each_token(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """A claim ends once: when it was given back and also ended by its thread, what was said first counts."""
    return list({outcome.job.token: outcome for outcome in reversed(outcomes)}.values())[::-1]


def _outcome_row(outcome: Outcome) -> Row:
    return {
        "id": outcome.job.id.hex,
        "token": outcome.job.token.hex, "edge": outcome.edge, "state": outcome.state,
        "result": outcome.result, "delay": outcome.delay, "failed": outcome.failed, "detail": outcome.detail,
        "error_code": outcome.error_code, "error_message": outcome.error_message, "fingerprint": outcome.fingerprint,
    }  # fmt: skip


def _released(outcomes: Sequence[Outcome], written: list[Row]) -> list[Ready]:
    pending = {sql.as_uuid(row["id"]) for row in written if row["state"] == State.PENDING}
    return [outcome.job.given_back() for outcome in outcomes if outcome.job.id in pending]


def _follow_ups_of(outcomes: Sequence[Outcome], written: Sequence[Row]) -> list[NewJob]:
    """The follow-ups that this batch owes: those of jobs that it really ended."""
    jobs = {outcome.job.id: outcome.job for outcome in outcomes}
    owed = []
    for row in written:
        job = jobs[sql.as_uuid(row["id"])]
        spec = job.follow_up
        if spec is not None and row["state"] in TERMINAL:
            owed.append(_follow_up(spec, job.id, row["state"], job.run, job.partition_key, Origin.of(job.payload)))
    return owed


def _follow_up(spec: FollowUp, job_id: UUID, state: str, run: int, partition_key: str, origin: Origin) -> NewJob:
    return NewJob(
        id=uuid7(), queue=spec.queue, actor=spec.actor, priority=spec.priority, partition_key=partition_key,
        parent_id=job_id, max_attempts=spec.max_attempts,
        payload={"args": [str(job_id), str(state), run], "kwargs": {}, "options": origin.as_options()},
    )  # fmt: skip


# -- the dispatcher's edges ----------------------------------------------------------------------

_READY = ("id", "queue", "priority", "order_key", "partition_key")


def promote(*, limit: int, order_key: int, now: datetime | None = None) -> list[Ready]:
    """scheduled | retrying -> pending, for up to `limit` jobs whose time has come."""
    write = Write(
        columns={},
        guard=f"j.state IN ('retrying', 'scheduled') AND j.run_at <= {sql.dialect().now}",
        assignments="state = 'pending', order_key = %(order_key)s",
        returning=_READY,
        edge="'promote'",
        limit="ORDER BY j.run_at LIMIT %(limit)s",
    )
    return [_ready(row) for row in sql.perform(write, limit=limit, order_key=order_key, now=now)]


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
            _rescue_write(), _orphan_rows(orphans, deaths.of(lost, now=now)), worker_id=worker_id,
            max_crashes=max_crashes, rescuing=1, now=now,
        )  # fmt: skip
        _announce(moved, now=now)
    return len(moved)


def _rescue_write() -> Write:
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
            f"error_code = CASE WHEN {too_often} THEN 'poison' ELSE 'worker_lost' END, "
            f"error_message = CASE WHEN {too_often} THEN 'Its worker died each time it ran, the last time: ' "
            "ELSE 'Its worker died: ' END || w.how || '.', fingerprint = ''"
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


def _announce(ended: Sequence[Row], *, now: datetime | None) -> list[Ready]:
    """Insert the follow-ups of jobs that ended here, in the caller's transaction."""
    follow_ups = []
    for row in ended:
        payload = sql.decode(row["payload"])
        spec, job_id = FollowUp.of(payload), sql.as_uuid(row["id"])
        if spec is not None and row["state"] in TERMINAL:
            origin = Origin.of(payload)
            follow_ups.append(_follow_up(spec, job_id, row["state"], row["run"], row["partition_key"], origin))
    return list(submit(follow_ups, now=now).ready) if follow_ups else []


# -- the operator's edges ------------------------------------------------------------------------

_ID = {"id": "uuid"}


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
        columns=_ID,
        guard=_in_states(sources),
        assignments=f"state = 'cancelled', finished_at = {sql.dialect().now}",
        returning=("id", "state", "run", "payload", "partition_key"),
        edge=f"'{edge}'",
        detail="%(detail)s",
        counts=(OUTCOMES,),
    )

    def end() -> tuple[list[Row], list[Ready]]:
        with transaction.atomic():
            ended = sql.perform(write, _id_rows(ids), detail=json.dumps({"by": by}), rescuing=0, now=now)
            return ended, _announce(ended, now=now)

    ended, due = run_despite_rollbacks(end)
    return [sql.as_uuid(row["id"]) for row in ended], due


def request_cancel(ids: Sequence[UUID], *, by: str, now: datetime | None = None) -> list[UUID]:
    """Ask the workers of these jobs to stop them. No edge yet: the worker takes `stop` within a second or two."""
    write = Write(
        columns=_ID,
        guard="j.state = 'processing' AND j.cancel_requested_at IS NULL",
        assignments=f"cancel_requested_at = {sql.dialect().now}",
        returning=("id",),
        edge="'request_cancel'",
        detail="%(detail)s",
    )
    return [sql.as_uuid(row["id"]) for row in sql.perform(write, _id_rows(ids), detail=json.dumps({"by": by}), now=now)]


def change_priority(
    ids: Sequence[UUID], *, priority: int, by: str, now: datetime | None = None
) -> list[tuple[State, Ready]]:
    """Give waiting jobs another priority. No edge: they stay where they are. Returns their states and places."""
    write = Write(
        columns=_ID,
        guard=_in_states(WAITING),
        assignments="priority = %(priority)s",
        returning=(*_READY, "state"),
        edge="'reprioritise'",
        detail="%(detail)s",
    )
    detail = json.dumps({"by": by, "priority": priority})
    rows = sql.perform(write, _id_rows(ids), detail=detail, priority=priority, now=now)
    return [(State(row["state"]), _ready(row)) for row in rows]


def retry(ids: Sequence[UUID], *, by: str, order_key: int, now: datetime | None = None) -> list[Ready]:
    """failed | dead_letter | cancelled -> pending: a new run of the same job.

    Not for jobs that retention has emptied, nor while another live job holds the unique key.
    """
    live = ", ".join(f"'{state}'" for state in sorted(LIVE))
    write = Write(
        columns=_ID,
        guard=(
            f"{_in_states(ENDED)} AND j.cleaned_at IS NULL AND (j.unique_key IS NULL OR NOT EXISTS (SELECT 1 FROM "
            f"{JOB} o WHERE o.unique_key = j.unique_key AND o.id <> j.id AND o.state IN ({live})))"
        ),
        assignments=(
            "state = 'pending', run = j.run + 1, failures = 0, crashes = 0, error_code = '', error_message = '', "
            "fingerprint = '', result = NULL, claimed_at = NULL, started_at = NULL, finished_at = NULL, "
            f"cancel_requested_at = NULL, run_at = {sql.dialect().now}, order_key = %(order_key)s"
        ),
        returning=_READY,
        edge="'retry'",
        detail="%(detail)s",
    )
    return _requeue(write, ids, by=by, order_key=order_key, now=now)


def retry_now(ids: Sequence[UUID], *, by: str, order_key: int, now: datetime | None = None) -> list[Ready]:
    """scheduled | retrying -> pending, without waiting for `run_at`."""
    write = Write(
        columns=_ID,
        guard=_in_states((State.SCHEDULED, State.RETRYING)),
        assignments=f"state = 'pending', run_at = {sql.dialect().now}, order_key = %(order_key)s",
        returning=_READY,
        edge="'retry_now'",
        detail="%(detail)s",
    )
    return _requeue(write, ids, by=by, order_key=order_key, now=now)


def _requeue(write: Write, ids: Sequence[UUID], *, by: str, order_key: int, now: datetime | None) -> list[Ready]:
    detail = json.dumps({"by": by})
    return [_ready(row) for row in sql.perform(write, _id_rows(ids), detail=detail, order_key=order_key, now=now)]


def _id_rows(ids: Sequence[UUID]) -> list[Row]:
    return [{"id": item} for item in dict.fromkeys(ids)]


def _in_states(states: Iterable[State]) -> str:
    return f"j.state IN ({', '.join(repr(str(state.value)) for state in states)})"
