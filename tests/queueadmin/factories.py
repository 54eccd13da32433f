"""Jobs in any state, made the way production makes them: by walking the edges."""

import uuid
from typing import Any

from queueadmin import lifecycle
from queueadmin.ids import new_token, uuid7
from queueadmin.jobs import Claim, ClaimedJob, NewJob, order_key_now
from queueadmin.models import Job
from queueadmin.states import State

WORKER = 4242
OTHER_WORKER = 777


def new_job(**fields: Any) -> NewJob:
    given: dict[str, Any] = {
        "id": uuid7(), "queue": "q", "actor": "act", "max_attempts": 3,
        "payload": {"args": [], "kwargs": {}, "options": {}},
    }  # fmt: skip
    return NewJob(**(given | fields))


def submitted(**fields: Any) -> uuid.UUID:
    job = new_job(**fields)
    assert lifecycle.submit([job]).inserted == {job.id}
    return job.id


def claimed(job_id: uuid.UUID, *, worker_id: int = WORKER, actor: str = "act") -> ClaimedJob:
    (job,) = lifecycle.claim([Claim(id=job_id, token=new_token())], actors=[actor], worker_id=worker_id, suspects=True)
    return job


def job_in(state: State, **fields: Any) -> tuple[uuid.UUID, ClaimedJob | None]:
    """A job in `state`, and the claim by which it got there (None when it was never claimed)."""
    if state == State.SCHEDULED:
        return submitted(delay=3600.0, **fields), None
    job_id = submitted(**fields)
    if state == State.PENDING:
        return job_id, None
    job = claimed(job_id)
    outcomes = {
        State.RETRYING: lambda: lifecycle.retry_later(job, delay=3600.0, code="x", message="m"),
        State.COMPLETED: lambda: lifecycle.complete(job, result={"n": 1}),
        State.FAILED: lambda: lifecycle.fail(job, code="x", message="m"),
        State.DEAD_LETTER: lambda: lifecycle.bury(job, code="x", message="m"),
        State.CANCELLED: lambda: lifecycle.stop(job),
    }
    if state in outcomes:
        lifecycle.finish([outcomes[state]()], worker_id=WORKER)
    return job_id, job


def state_of(job_id: uuid.UUID) -> State:
    return State(Job.objects.get(pk=job_id).state)


__all__ = ["OTHER_WORKER", "WORKER", "claimed", "job_in", "new_job", "order_key_now", "state_of", "submitted"]
