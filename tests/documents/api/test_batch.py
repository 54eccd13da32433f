"""Batches through the API: a verdict for each document, one transaction, and what becomes of all of them."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import redis

from documents.batches import Finisher
from documents.models import Batch, IngestionTask
from queueadmin.broker import get_ledger_broker
from queueadmin.models import Job, JobEvent
from queueadmin.room import RoomKeeper
from queueadmin.states import State
from tests.documents import factories
from tests.documents.api.client import Api, assert_problem, submission
from tests.documents.api.tasks import claimed

pytestmark = pytest.mark.django_db(transaction=True)

BATCH = "/api/documents/batch"


def documents(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [submission(document_id=f"doc-{number}", callback_url=None, **fields) for number in range(count)]


def submitted(api: Api, count: int = 3, **fields: Any) -> dict[str, Any]:
    response = api.post(BATCH, {"documents": documents(count), **fields})
    assert response.status_code == 202, response.content
    body: dict[str, Any] = response.json()
    return body


def end_all(batch_id: str, state: str = "completed") -> None:
    for task_id in IngestionTask.objects.filter(batch_id=batch_id).values_list("pk", flat=True):
        factories.end(task_id, state)


@pytest.mark.both_databases
def test_a_thousand_documents_become_tasks_in_their_order_and_are_published_at_once(
    api: Api, valkey: redis.Redis
) -> None:
    # When
    response = api.post(BATCH, {"documents": documents(1000), "metadata": {"case": 7}})
    # Then each has a verdict, in the order of the request
    assert response.status_code == 202
    body = response.json()
    assert (body["accepted"], body["refused"], body["status"]) == (1000, 0, "queued")
    assert response.headers["Location"] == body["batch_url"] == f"{BATCH}/{body['batch_id']}"
    assert [verdict["index"] for verdict in body["documents"]] == list(range(1000))
    # And each is a task, a job and an event, in the same order
    tasks = IngestionTask.objects.filter(batch_id=body["batch_id"]).order_by("pk")
    assert [str(task.pk) for task in tasks] == [verdict["task_id"] for verdict in body["documents"]]
    assert [task.document_id for task in tasks] == [f"doc-{number}" for number in range(1000)]
    assert Job.objects.filter(state="pending").count() == JobEvent.objects.count() == 1000
    # And their ids are in the ready set
    assert sum(int(valkey.zcard(key)) for key in valkey.scan_iter("*:ready:*")) == 1000


@pytest.mark.both_databases
def test_each_document_is_judged_on_its_own(make_api: Callable[..., Api]) -> None:
    # Given documents of which some have the wrong form, some the wrong owner
    api = make_api("submit", "read", tenant="acme")
    good = {"r2_key": "acme/a.txt", "callback_url": None}
    given = [
        submission(**good),
        "no object",
        submission(**good, priority=99, max_attempts=0),
        submission(r2_key="other/a.txt"),
        submission(r2_key="../a.txt"),
        submission(**good, options={"languages": ["deu"], "ocr": "force"}, max_attempts=2, priority=5),
    ]
    # When
    body = api.post(BATCH, {"documents": given}).json()
    # Then
    verdicts = body["documents"]
    assert [verdict["status"] for verdict in verdicts] == ["queued", *["refused"] * 4, "queued"]
    assert [verdict.get("code") for verdict in verdicts[1:5]] == [
        "invalid_request", "invalid_request", "key_not_allowed", "invalid_request",
    ]  # fmt: skip
    assert set(verdicts[2]["errors"]) == {"priority", "max_attempts"}
    assert set(verdicts[4]["errors"]) == {"r2_key"}
    # And what was accepted is as it was asked for
    task = IngestionTask.objects.select_related("job").get(pk=verdicts[5]["task_id"])
    assert task.options == {"languages": ["deu"], "ocr": "force"}
    assert (task.job.max_attempts, task.job.priority) == (2, 5)
    assert task.job.payload["kwargs"]["options"] == task.options
    # And the batch says it again
    state = api.get(body["batch_url"]).json()
    assert [item["index"] for item in state["refusals"]] == [1, 2, 3, 4]
    assert (state["accepted"], state["refused"], state["counts"]["pending"]) == (2, 4, 2)


def test_a_batch_of_refused_documents_is_no_batch(api: Api) -> None:
    problem = assert_problem(api.post(BATCH, {"documents": [{}, submission(r2_key="/x")]}), 400, "batch_refused")
    assert [verdict["index"] for verdict in problem["documents"]] == [0, 1]
    assert not Batch.objects.exists()
    assert not IngestionTask.objects.exists()


@pytest.mark.parametrize(
    "body",
    [[], {}, 5, None, {"documents": None}, {"documents": {}}, {"documents": []}, {"documents": [{}] * 1001},
     {"documents": [{}], "metadata": "x"}, {"documents": [{}], "callback_url": "ftp://x"}],
)  # fmt: skip
def test_what_is_no_batch_is_a_400(api: Api, body: Any) -> None:
    assert_problem(api.post(BATCH, body), 400, "invalid_request")


def test_without_room_for_all_of_them_nothing_is_stored(api: Api) -> None:
    # Given a queue with room for two
    broker = get_ledger_broker()
    usual, broker.room = broker.room, RoomKeeper(limit=2)
    try:
        # When / Then
        assert_problem(api.post(BATCH, {"documents": documents(3)}), 503, "queue_full")
        assert not IngestionTask.objects.exists()
        assert api.post(BATCH, {"documents": documents(2)}).status_code == 202
    finally:
        broker.room = usual


@pytest.mark.both_databases
def test_a_repeated_batch_answers_with_the_same_verdicts(api: Api) -> None:
    # Given
    body = {"documents": [submission(), {"r2_key": 1}, submission(document_id="2")]}
    headers = {"Idempotency-Key": "batch-1"}
    first = api.post(BATCH, body, **headers)
    # When
    again = api.post(BATCH, body, **headers)
    # Then
    assert again.status_code == 202
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()
    assert IngestionTask.objects.count() == 2
    # And another batch under the same key is none
    body["documents"].append(submission(document_id="3"))
    assert_problem(api.post(BATCH, body, **headers), 422, "idempotency_conflict")


@pytest.mark.both_databases
def test_progress_counts_what_has_ended(api: Api) -> None:
    # Given four tasks: one ended, one failed, one at work
    body = submitted(api, 4)
    ids = [uuid.UUID(verdict["task_id"]) for verdict in body["documents"]]
    factories.end(ids[0], "completed")
    factories.end(ids[1], "failed")
    claimed(ids[2])
    # When
    state = api.get(body["batch_url"]).json()
    # Then
    assert (state["status"], state["progress"], state["completed_at"]) == ("processing", 0.5, None)
    counts = {name: count for name, count in state["counts"].items() if count}
    assert counts == {"completed": 1, "failed": 1, "processing": 1, "pending": 1}


@pytest.mark.both_databases
def test_a_batch_is_completed_once_when_no_task_is_live(api: Api) -> None:
    # Given a batch with a receiver, of which one task is live
    body = submitted(api, 3, callback_url="https://example.org/hook")
    ids = [uuid.UUID(verdict["task_id"]) for verdict in body["documents"]]
    for task_id in ids[1:]:
        factories.end(task_id, "completed")
    assert Finisher().look() == 0
    # When that one fails, too
    factories.end(ids[0], "failed")
    assert [Finisher().look(), Finisher().look()] == [1, 0]
    # Then it is completed, and told once
    state = api.get(body["batch_url"]).json()
    assert (state["status"], state["progress"]) == ("completed", 1.0)
    assert state["completed_at"] is not None
    assert state["webhook"] == {"state": "pending", "error": None}
    webhook = Job.objects.get(actor="deliver_batch_webhook")
    assert webhook.payload["args"] == [body["batch_id"]]


def test_every_open_batch_gets_its_turn(api: Api) -> None:
    # Given more batches than one look goes through, the last of which has ended
    bodies = [submitted(api, 1) for _ in range(5)]
    end_all(bodies[4]["batch_id"])
    finisher = Finisher(page=2)
    # When / Then
    assert [finisher.look() for _ in range(3)] == [0, 0, 1]
    end_all(bodies[0]["batch_id"])
    assert finisher.look() == 1


def test_a_batch_is_cancelled_as_a_whole(api: Api) -> None:
    # Given
    body = submitted(api, 3)
    first = uuid.UUID(body["documents"][0]["task_id"])
    factories.end(first, "completed")
    # When
    answer = api.post(f"{body['batch_url']}/cancel").json()
    # Then
    assert answer == {"batch_id": body["batch_id"], "cancelled": 2, "batch_url": body["batch_url"]}
    states = Job.objects.order_by("pk").values_list("state", flat=True)
    assert list(states) == [State.COMPLETED, State.CANCELLED, State.CANCELLED]
    assert api.post(f"{body['batch_url']}/cancel").json()["cancelled"] == 0
