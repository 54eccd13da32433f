"""Tasks in any state as clients make them: submitted through the service, then walked along the ledger's edges."""

import uuid
from typing import Any

from documents import services
from documents.services import SubmitRequest
from queueadmin import lifecycle
from queueadmin.ids import new_token
from queueadmin.jobs import Claim, ClaimedJob
from queueadmin.models import Job
from queueadmin.states import State

WORKER = 4242
RESULT = {
    "characters": 5, "pages": 1, "content_type": "text/plain", "engine": "text", "sha256": "0" * 64, "warnings": [],
}  # fmt: skip


def request(**fields: Any) -> SubmitRequest:
    given: dict[str, Any] = {
        "tenant": "default",
        "document_id": "doc-1",
        "user_id": "user-1",
        "file_name": "a.txt",
        "r2_key": "in/a.txt",
        "content_type": "text/plain",
    }
    return SubmitRequest(**(given | fields))


def submitted(**fields: Any) -> uuid.UUID:
    return services.submit(request(**fields)).task_id


def claimed(task_id: uuid.UUID, *, actor: str = "ingest_document") -> ClaimedJob:
    claims = [Claim(id=task_id, token=new_token())]
    (job,) = lifecycle.claim(claims, actors=[actor], worker_id=WORKER)
    return job


def task_in(state: State, *, result_key: str | None = None, **fields: Any) -> uuid.UUID:
    """A task in `state`. `result_key` is what a completed one names; by default that of its first attempt."""
    task_id = submitted(**fields)
    walk(task_id, state, result_key=result_key)
    return task_id


def walk(task_id: uuid.UUID, state: State, *, result_key: str | None = None) -> None:
    """Take a pending task to `state`."""
    if state == State.PENDING:
        return
    job = claimed(task_id)
    result = {**RESULT, "key": result_key or f"{task_id}/1"}
    outcomes = {
        State.RETRYING: lambda: lifecycle.retry_later(job, delay=3600.0, code="storage_unavailable", message="slow"),
        State.COMPLETED: lambda: lifecycle.complete(job, result=result),
        State.FAILED: lambda: lifecycle.fail(job, code="damaged", message="broken"),
        State.DEAD_LETTER: lambda: lifecycle.bury(job, code="storage_unavailable", message="slow"),
        State.CANCELLED: lambda: lifecycle.stop(job),
    }
    if state in outcomes:
        lifecycle.finish([outcomes[state]()], worker_id=WORKER)


def state_of(task_id: uuid.UUID) -> State:
    return State(Job.objects.get(pk=task_id).state)
