"""The worker's edges: claim a batch, end each claim with an outcome."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from queueadmin import sql
from queueadmin.counters import FAILURES, OUTCOMES
from queueadmin.jobs import Claim, ClaimedJob, Finished, NewJob, Outcome, Ready
from queueadmin.lifecycle.follow_ups import follow_up
from queueadmin.lifecycle.submission import submit
from queueadmin.origin import Origin
from queueadmin.sql import JOB, Row, Write
from queueadmin.states import TERMINAL, State

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
            "result = w.result, failures = j.failures + COALESCE(w.failed, 0), "
            f"run_at = CASE WHEN w.state = 'retrying' THEN {d.after('w.delay')} ELSE j.run_at END, "
            f"finished_at = CASE WHEN w.state IN ({ended}) OR {_WANTED} THEN {d.now} ELSE NULL END, "
            "error_code = COALESCE(w.error_code, ''), error_message = COALESCE(w.error_message, ''), "
            "fingerprint = COALESCE(w.fingerprint, '')"
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
    """What the statement needs of an outcome. Most have neither result nor error, and both ends of the connection pay
    for every field: what is empty is left out."""
    row: Row = {
        "id": outcome.job.id.hex, "token": outcome.job.token.hex, "edge": outcome.edge, "state": outcome.state,
    }  # fmt: skip
    if outcome.result is not None:
        row["result"] = outcome.result
    if outcome.detail is not None:
        row["detail"] = outcome.detail
    if outcome.failed:
        row |= {
            "failed": outcome.failed, "delay": outcome.delay, "error_code": outcome.error_code,
            "error_message": outcome.error_message, "fingerprint": outcome.fingerprint,
        }  # fmt: skip
    return row


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
            owed.append(follow_up(spec, job.id, row["state"], job.run, job.partition_key, Origin.of(job.payload)))
    return owed
