"""Operating queues by script: as in the admin, through the same operations, and never another tenant's jobs."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from documents import api_keys, tenants
from documents.api import queue_shapes
from queueadmin import presence
from queueadmin.models import Job, OperationLog, QueueControl
from queueadmin.states import State
from tests.documents.api.client import Api, assert_problem
from tests.documents.api.tasks import state_of, task_in

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

QUEUE = "/api/queues/document_ingestion"
DEAD = "/api/queues/dead-letters"


@pytest.fixture
def operator(make_api: Callable[..., Api]) -> Api:
    """The key of an installation with one tenant."""
    return make_api("operate")


@pytest.fixture
def acme(make_api: Callable[..., Api]) -> Api:
    """The key of one tenant of two, which operates."""
    tenants.get_or_create("default")
    return make_api("operate", tenant="acme")


@pytest.fixture
def for_all(make_api: Callable[..., Api], acme: Api) -> Api:
    """The key of the other, made for all tenants."""
    return make_api("operate", all_tenants=True)


def dead(tenant: str = "default") -> uuid.UUID:
    return task_in(State.DEAD_LETTER, tenant=tenant, r2_key=f"{tenant}/a.txt" if tenant != "default" else "in/a.txt")


def test_queues_are_listed_with_what_waits_in_them(operator: Api) -> None:
    # Given
    task_in(State.PENDING)
    dead()
    # When
    found = {queue["name"]: queue for queue in operator.get("/api/queues").json()["queues"]}
    # Then
    mine = found["document_ingestion"]
    assert (mine["pending"], mine["dead_letter"], mine["is_paused"], mine["workers"]) == (1, 1, False, 0)
    assert mine["oldest_pending_seconds"] is not None
    assert operator.get(QUEUE).json()["pending"] == 1
    names = [
        [queue["name"] for queue in operator.get(path).json()["queues"]] for path in ("/api/queues/", "/api/queues")
    ]
    assert names[0] == names[1]
    assert {"webhooks", "maintenance"} <= set(found)


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/purge")])
def test_an_unknown_queue_is_a_404_that_names_the_known_ones(operator: Api, method: str, path: str) -> None:
    body = {"depth": 0} if path == "/purge" else {}
    response = operator.post(f"/api/queues/no_such{path}", body, method=method)
    assert "document_ingestion" in assert_problem(response, 404, "unknown_queue")["detail"]


def test_a_queue_is_paused_and_resumed_with_a_reason_and_a_row_in_the_audit(operator: Api) -> None:
    # When
    until = timezone.now() + timedelta(hours=1)
    paused = operator.post(f"{QUEUE}/pause", {"reason": "moving", "resume_at": until.isoformat()}).json()
    again = operator.post(f"{QUEUE}/pause", b"")
    # Then
    assert (paused["is_paused"], paused["reason"]) == (True, "moving")
    assert paused["resume_at"] is not None
    assert (again.status_code, again.json()["reason"]) == (200, "moving")
    row = OperationLog.objects.filter(operation="pause").earliest("at")
    assert (row.source, row.target, row.reason, row.done) == ("api", "document_ingestion", "moving", 1)
    assert row.by.startswith("API key test")
    # When
    resumed = operator.post(f"{QUEUE}/resume", {})
    # Then
    assert (resumed.status_code, resumed.json()["is_paused"]) == (200, False)
    assert OperationLog.objects.filter(operation="resume", source="api").exists()


def test_a_queue_does_not_resume_in_the_past(operator: Api) -> None:
    response = operator.post(f"{QUEUE}/pause", {"resume_at": "2020-01-01T00:00:00Z"})
    assert "resume_at" in assert_problem(response, 400, "invalid_request")["errors"]
    assert not QueueControl.objects.filter(paused_at__isnull=False).exists()


def test_a_purge_cancels_what_was_shown_and_nothing_else(operator: Api) -> None:
    # Given
    tasks = [task_in(State.PENDING) for _ in range(3)]
    later = task_in(State.RETRYING)
    # When
    done = operator.post(f"{QUEUE}/purge", {"depth": 3, "reason": "by mistake"})
    # Then
    assert done.status_code == 200
    assert (done.json()["pending"], done.json()["cancelled"]) == (3, 3)
    assert {state_of(task) for task in tasks} == {State.CANCELLED}
    assert state_of(later) == State.RETRYING
    assert OperationLog.objects.get(pk=done.json()["operation_id"]).source == "api"


def test_a_purge_of_another_depth_is_refused_and_says_which_it_is(operator: Api) -> None:
    task = task_in(State.PENDING)
    problem = assert_problem(operator.post(f"{QUEUE}/purge", {"depth": 500}), 409, "depth_changed")
    assert problem["depth"] == 1
    assert state_of(task) == State.PENDING
    assert not OperationLog.objects.filter(operation="purge").exists()


@pytest.mark.parametrize(
    "body", [{}, {"depth": -1}, {"depth": "3"}, {"depth": True}, {"depth": 2**63}, {"depth": None}]
)
def test_a_purge_without_a_depth_is_a_400(operator: Api, body: dict[str, Any]) -> None:
    assert "depth" in assert_problem(operator.post(f"{QUEUE}/purge", body), 400, "invalid_request")["errors"]


def test_dead_letters_are_listed_page_by_page(operator: Api) -> None:
    # Given
    ids = [str(dead()) for _ in range(5)]
    # When
    seen, path = [], f"{DEAD}?limit=2&queue=document_ingestion&error_code=storage_unavailable"
    while path:
        page = operator.get(path).json()
        assert len(page["dead_letters"]) <= 2
        seen += page["dead_letters"]
        path = page["next"]
    # Then
    assert [letter["job_id"] for letter in seen] == ids[::-1]
    assert seen[0]["error"] == {"code": "storage_unavailable", "message": "slow", "retryable": True}
    assert (seen[0]["actor"], seen[0]["tenant"]) == ("ingest_document", "default")
    assert operator.get(f"{DEAD}?actor=other").json() == {"dead_letters": [], "next": None}


@pytest.mark.parametrize("query", ["nonsense=1", "limit=0", "limit=201", "cursor=x", "queue=", "queue=%00"])
def test_a_wrong_query_for_dead_letters_is_a_400(operator: Api, query: str) -> None:
    assert_problem(operator.get(f"{DEAD}?{query}"), 400, "invalid_request")


@pytest.mark.parametrize(("act", "state"), [("retry", State.PENDING), ("discard", State.CANCELLED)])
def test_dead_letters_are_retried_or_discarded_and_the_rest_is_refused(operator: Api, act: str, state: State) -> None:
    # Given
    wanted, failed, unknown = dead(), task_in(State.FAILED), uuid.uuid4()
    # When
    ids = [str(job_id) for job_id in (wanted, failed, unknown, wanted)]
    body = operator.post(f"{DEAD}/{act}", {"ids": ids, "reason": "the store answers"}).json()
    # Then
    assert body["done"] == [str(wanted)]
    assert body["refused"] == {str(failed): "failed", str(unknown): "not_found"}
    assert (state_of(wanted), state_of(failed)) == (state, State.FAILED)
    assert OperationLog.objects.get(pk=body["operation_id"]).reason == "the store answers"


@pytest.mark.parametrize("ids", [[], ["x"], "x", None, [1], [str(uuid.uuid4())] * 501])
def test_dead_letters_without_usable_ids_are_a_400(operator: Api, ids: Any) -> None:
    assert "ids" in assert_problem(operator.post(f"{DEAD}/retry", {"ids": ids}), 400, "invalid_request")["errors"]


def test_workers_are_listed(operator: Api) -> None:
    me = presence.Identity(id=11, name="w", host="elsewhere", pid=1, pid_started="1")
    presence.register(me, queues=["document_ingestion"], actors=["ingest_document"], threads=2)
    (worker,) = operator.get("/api/queues/workers").json()["workers"]
    assert worker["state"] == "alive"
    assert set(worker) == set(queue_shapes.WorkerState().fields)


@pytest.mark.parametrize(("path", "body"), [("pause", {}), ("resume", {}), ("purge", {"depth": 1})])
def test_the_key_of_one_tenant_among_several_does_not_touch_a_queue(acme: Api, path: str, body: Any) -> None:
    task = task_in(State.PENDING)
    assert_problem(acme.post(f"{QUEUE}/{path}", body), 403, "needs_all_tenants")
    assert state_of(task) == State.PENDING
    assert not OperationLog.objects.exists()


def test_the_key_of_one_tenant_among_several_sees_and_acts_on_its_own_jobs_alone(acme: Api, for_all: Api) -> None:
    # Given dead letters of two tenants, and a queue that was paused because of one of them
    mine, theirs = dead("acme"), dead()
    for_all.post(f"{QUEUE}/pause", {"reason": "default floods us"})
    # Then
    shown = acme.get(QUEUE).json()
    assert (shown["dead_letter"], shown["is_paused"], shown["reason"]) == (1, True, "")
    assert (for_all.get(QUEUE).json()["dead_letter"], for_all.get(QUEUE).json()["reason"]) == (2, "default floods us")
    assert_problem(acme.get("/api/queues/workers"), 403, "needs_all_tenants")
    assert [letter["job_id"] for letter in acme.get(DEAD).json()["dead_letters"]] == [str(mine)]
    # When
    body = acme.post(f"{DEAD}/discard", {"ids": [str(mine), str(theirs)]}).json()
    # Then
    assert (body["done"], body["refused"]) == ([str(mine)], {str(theirs): "not_found"})
    assert state_of(theirs) == State.DEAD_LETTER


def test_a_key_for_all_tenants_reaches_them_all(for_all: Api) -> None:
    mine, theirs = dead(), dead("acme")
    assert for_all.post(f"{QUEUE}/pause", {}).status_code == 200
    assert len(for_all.get(DEAD).json()["dead_letters"]) == 2
    assert for_all.post(f"{DEAD}/retry", {"ids": [str(mine), str(theirs)]}).json()["refused"] == {}
    assert Job.objects.filter(state=State.PENDING).count() == 2


def test_a_key_for_all_tenants_must_operate() -> None:
    with pytest.raises(api_keys.InvalidScopes):
        api_keys.issue("reader", scopes=["read"], all_tenants=True)
