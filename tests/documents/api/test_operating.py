"""Cancelling and erasing tasks, and reading what happened to them."""

import io
import uuid
from typing import Any

import pytest

from documents import conf, rendering
from documents.extraction.base import Extraction, Page
from documents.models import IngestionTask
from documents.storage.keys import upload_key
from queueadmin import lifecycle
from queueadmin.models import Job, JobEvent, OperationLog
from queueadmin.states import State
from tests.documents.api.client import Api, assert_problem, of_task
from tests.documents.api.tasks import WORKER, claimed, state_of, submitted, task_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def cancel(api: Api, task_id: uuid.UUID) -> dict[str, Any]:
    response = api.post(of_task(task_id, "cancel"))
    assert response.status_code == 202, response.content
    body: dict[str, Any] = response.json()
    return body


def erase(api: Api, task_id: uuid.UUID) -> Any:
    return api.request("DELETE", f"/api/documents/task/{task_id}")


def test_a_waiting_task_is_cancelled_and_asking_again_changes_nothing(api: Api) -> None:
    task_id = task_in(State.PENDING)
    # When it is cancelled twice
    first, second = cancel(api, task_id), cancel(api, task_id)
    # Then
    assert first == second == {
        "task_id": str(task_id), "status": "cancelled", "status_url": of_task(task_id, "status"),
    }  # fmt: skip
    assert [event.edge for event in JobEvent.objects.filter(job_id=task_id)] == ["submit", "cancel"]
    assert OperationLog.objects.count() == 1


def test_a_running_task_is_being_cancelled_until_its_worker_stops_it(api: Api) -> None:
    # Given
    task_id = submitted()
    job = claimed(task_id)
    # When
    assert [cancel(api, task_id)["status"] for _ in range(2)] == ["cancelling", "cancelling"]
    lifecycle.finish([lifecycle.stop(job)], worker_id=WORKER)
    # Then
    assert cancel(api, task_id)["status"] == "cancelled"


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.DEAD_LETTER])
def test_what_has_ended_cannot_be_cancelled(api: Api, state: State) -> None:
    problem = assert_problem(api.post(of_task(task_in(state), "cancel")), 409, "invalid_transition")
    assert problem["state"] == state


def uploaded_and_completed() -> uuid.UUID:
    """A completed task with a stored result, whose document was uploaded to us."""
    task_id = uuid.uuid4()
    task_id = submitted(metadata={"case": 7}, callback_url="https://example.org/hook?token=t")
    key = upload_key("default", task_id, "a.txt")
    conf.document_store().put(key, io.BytesIO(b"secret"))
    IngestionTask.objects.filter(pk=task_id).update(r2_key=key)
    found = Extraction(text="secret", pages=(Page(number=1, text="secret"),), engine="e", content_type="t")
    conf.result_store().write(task_id, 1, rendering.stored_chunks(found))
    job = claimed(task_id)
    lifecycle.finish([lifecycle.complete(job, result={"key": f"{task_id}/1", "characters": 6})], worker_id=WORKER)
    return task_id


def files(task_id: uuid.UUID) -> list[str]:
    """What is stored of a task, document and result."""
    roots = (conf.document_directory(), conf.result_directory())
    return [path.name for root in roots for path in root.rglob("*") if str(task_id) in str(path) and path.is_file()]


def test_an_erased_task_leaves_a_slim_row_and_nothing_else(api: Api) -> None:
    # Given
    task_id = uploaded_and_completed()
    assert len(files(task_id)) >= 2
    # When
    response = erase(api, task_id)
    # Then result, document, text and history are gone
    assert (response.status_code, response.content) == (204, b"")
    assert files(task_id) == []
    assert not JobEvent.objects.filter(job_id=task_id).exists()
    task, job = IngestionTask.objects.get(pk=task_id), Job.objects.get(pk=task_id)
    assert (task.metadata, task.callback_url, job.payload, job.result) == ({}, "", {}, None)
    assert_problem(api.get(of_task(task_id, "result")), 410, "result_expired")
    assert_problem(api.post(of_task(task_id, "retry")), 409, "invalid_transition")
    # And what an auditor asks for is there, with who did it
    status = api.get(of_task(task_id, "status")).json()
    assert (status["status"], status["document_id"], status["result"]) == ("completed", "doc-1", None)
    log = OperationLog.objects.get(operation="erase")
    assert (log.target, log.outcome, log.source) == (str(task_id), "done", "api")
    assert log.by.startswith("API key")
    # And asking again is harmless
    assert erase(api, task_id).status_code == 204


@pytest.mark.parametrize("state", [State.PENDING, State.RETRYING, State.PROCESSING])
def test_a_live_task_has_to_be_cancelled_before_it_is_erased(api: Api, state: State) -> None:
    task_id = task_in(state)
    problem = assert_problem(erase(api, task_id), 409, "invalid_transition")
    assert problem["state"] == state
    assert state_of(task_id) == state
    assert not OperationLog.objects.exists()


def test_the_documents_of_clients_are_never_removed(api: Api) -> None:
    # Given a task for a document that the client put into the store, and one for another task's upload
    other = uploaded_and_completed()
    conf.document_store().put("in/own.txt", io.BytesIO(b"theirs"))
    tasks = [task_in(State.COMPLETED, r2_key=key) for key in ("in/own.txt", upload_key("default", other, "a.txt"))]
    # When both are erased
    assert [erase(api, task_id).status_code for task_id in tasks] == [204, 204]
    # Then both documents are still there
    assert (conf.document_directory() / "in/own.txt").read_bytes() == b"theirs"
    assert "a.txt" in files(other)


def test_the_history_of_a_task_is_told_without_the_services_own_affairs(api: Api) -> None:
    # Given a task that failed once, was retried by a person, and runs
    task_id = submitted()
    job = claimed(task_id)
    detail = {"code": "damaged", "message": "It is damaged.", "engine": "pdf", "evidence": {"pid": 1}, "worker": "w"}
    lifecycle.finish([lifecycle.fail(job, code="damaged", message="x", detail=detail)], worker_id=WORKER)
    assert api.post(of_task(task_id, "retry")).status_code == 202
    claimed(task_id)
    # When
    body = api.get(of_task(task_id, "events")).json()
    # Then
    assert body["task_id"] == str(task_id)
    events = body["events"]
    assert [event["event"] for event in events] == ["submit", "claim", "fail", "retry", "claim"]
    assert [event["attempt"] for event in events] == [0, 1, 1, 1, 2]
    assert events[0]["seconds_since"] is None
    assert all(event["seconds_since"] >= 0 for event in events[1:])
    assert events[2]["detail"] == {"code": "damaged", "message": "It is damaged.", "engine": "pdf"}
    assert events[3]["detail"] == {}
