"""Status, result, retry and stats of tasks."""

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from documents import conf, rendering
from documents.api.serializers import ResultPages
from documents.extraction.base import Extraction, Page
from queueadmin import lifecycle
from queueadmin.models import Job, JobMinute, JobProgress, OperationLog
from queueadmin.states import State
from tests.documents.api.client import STATS, Api, assert_problem, of_task
from tests.documents.api.tasks import WORKER, claimed, state_of, submitted, task_in

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

STATUS_KEYS = {
    "task_id", "status", "document_id", "user_id", "file_name", "priority", "attempt", "max_attempts", "stage",
    "progress", "created_at", "started_at", "finished_at", "next_attempt_at", "error", "result", "webhook",
    "expires_at", "batch_id",
}  # fmt: skip


@pytest.fixture
def stored() -> Iterator[Callable[..., uuid.UUID]]:
    """A completed task whose result is really stored."""
    made = []

    def make(markdown: str = "") -> uuid.UUID:
        task_id = task_in(State.COMPLETED)
        made.append(task_id)
        found = Extraction(
            text="héllo", pages=(Page(number=1, text="héllo"),), engine="e", content_type="t", markdown=markdown
        )
        conf.result_store().write(task_id, 1, rendering.stored_chunks(found))
        return task_id

    yield make
    for task_id in made:
        conf.result_store().delete(task_id)


@pytest.mark.parametrize("state", list(State))
def test_every_state_is_told_in_the_documented_shape(api: Api, state: State) -> None:
    # Given
    if state == State.SCHEDULED:
        task_id = submitted()
        Job.objects.filter(pk=task_id).update(state=state, run_at=timezone.now() + timedelta(hours=1))
    else:
        task_id = task_in(state, priority=4)
    # When
    response = api.get(of_task(task_id, "status"))
    # Then
    assert response.status_code == 200
    body = response.json()
    assert set(body) == STATUS_KEYS
    assert (body["task_id"], body["status"], body["document_id"]) == (str(task_id), state, "doc-1")
    assert (body["error"] is not None) == (state in (State.RETRYING, State.FAILED, State.DEAD_LETTER))
    assert (body["result"] is not None) == (state == State.COMPLETED)
    assert (body["next_attempt_at"] is not None) == (state in (State.RETRYING, State.SCHEDULED))
    assert (body["finished_at"] is not None) == (
        state in (State.COMPLETED, State.FAILED, State.DEAD_LETTER, State.CANCELLED)
    )
    assert (body["started_at"] is None) == (state in (State.PENDING, State.SCHEDULED))
    assert body["created_at"].endswith("Z")
    assert response.headers["Cache-Control"] == "no-store"
    # And it says when to ask again, or how long it will be there
    assert ("Retry-After" in response.headers) == (body["finished_at"] is None)
    assert (body["expires_at"] is not None) == (state in (State.COMPLETED, State.FAILED, State.CANCELLED))


def test_it_says_when_to_ask_again_and_how_long_there_is_something_to_read(api: Api) -> None:
    # Given a task at work, one that waits an hour, a completed and a failed one
    working, waiting = task_in(State.PROCESSING), task_in(State.RETRYING)
    completed, failed = task_in(State.COMPLETED), task_in(State.FAILED)
    # When / Then
    assert api.get(of_task(working, "status")).headers["Retry-After"] == "2"
    assert 3500 <= int(api.get(of_task(waiting, "status")).headers["Retry-After"]) <= 3600
    for task_id, hours in ((completed, 24), (failed, 14 * 24)):
        body = api.get(of_task(task_id, "status")).json()
        kept = datetime.fromisoformat(body["expires_at"]) - datetime.fromisoformat(body["finished_at"])
        assert kept == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("state", "retryable"), [(State.RETRYING, True), (State.DEAD_LETTER, True), (State.FAILED, False)]
)
def test_an_error_says_its_code_and_whether_trying_again_can_help(api: Api, state: State, retryable: bool) -> None:
    error = api.get(of_task(task_in(state), "status")).json()["error"]
    assert error["retryable"] is retryable
    assert error["code"] in ("damaged", "storage_unavailable")
    assert error["message"]


def test_a_completed_task_names_its_result(api: Api) -> None:
    task_id = task_in(State.COMPLETED)
    body = api.get(of_task(task_id, "status")).json()
    assert body["result"] == {
        "characters": 5, "pages": 1, "content_type": "text/plain", "engine": "text", "sha256": "0" * 64,
        "result_url": of_task(task_id, "result"),
    }  # fmt: skip
    assert body["progress"] == 1.0


def test_a_refused_webhook_is_told_with_its_reason(api: Api) -> None:
    # Given a completed task whose webhook was refused
    task_id = task_in(State.COMPLETED, callback_url="http://10.0.0.1/hook")
    assert api.get(of_task(task_id, "status")).json()["webhook"] == {"state": "pending", "error": None}
    (webhook_id,) = Job.objects.filter(parent_id=task_id).values_list("pk", flat=True)
    job = claimed(webhook_id, actor="deliver_webhook")
    refusal = lifecycle.fail(job, code="callback_refused", message="Webhooks go to public addresses only.")
    lifecycle.finish([refusal], worker_id=WORKER)
    # When / Then
    assert api.get(of_task(task_id, "status")).json()["webhook"] == {
        "state": "failed",
        "error": {
            "code": "callback_refused", "message": "Webhooks go to public addresses only.", "retryable": False,
        },
    }  # fmt: skip


def test_the_webhook_of_an_earlier_run_is_not_that_of_a_task_that_runs_again(api: Api) -> None:
    # Given a failed task that was retried
    task_id = task_in(State.FAILED, callback_url="https://example.org/hook")
    api.post(of_task(task_id, "retry"))
    # Then nothing is said while it goes on
    assert api.get(of_task(task_id, "status")).json()["webhook"] is None
    # When it has ended again
    lifecycle.finish([lifecycle.fail(claimed(task_id), code="damaged", message="broken")], worker_id=WORKER)
    earlier, later = Job.objects.filter(parent_id=task_id).order_by("created_at").values_list("pk", flat=True)
    lifecycle.finish([lifecycle.complete(claimed(earlier, actor="deliver_webhook"), result={})], worker_id=WORKER)
    # Then the later one is told
    assert api.get(of_task(task_id, "status")).json()["webhook"]["state"] == "pending"
    assert later != earlier


@pytest.mark.parametrize(("state", "callback_url", "reads"), [
    (State.COMPLETED, "", 0), (State.PENDING, "https://example.org/hook", 0),
    (State.COMPLETED, "https://example.org/hook", 1),
])  # fmt: skip
def test_the_webhook_costs_a_query_only_where_there_may_be_one(
    api: Api, state: State, callback_url: str, reads: int
) -> None:
    task_id = task_in(state, callback_url=callback_url)
    with CaptureQueriesContext(connection) as queries:
        api.get(of_task(task_id, "status"))
    assert len([query for query in queries if '"parent_id" =' in query["sql"]]) == reads


def test_json_ends_with_a_line_break(api: Api) -> None:
    assert api.get(of_task(task_in(State.PENDING), "status")).content.endswith(b"}\n")
    assert api.get(of_task(uuid.uuid4(), "status")).content.endswith(b"}\n")


def test_progress_of_the_running_attempt_is_shown_and_an_older_attempts_is_not(api: Api) -> None:
    # Given
    task_id = submitted()
    claimed(task_id)
    report = JobProgress.objects.create(job_id=task_id, attempt=1, stage="fetch", done=25, total=100, at=timezone.now())
    # Then
    body = api.get(of_task(task_id, "status")).json()
    assert (body["stage"], body["progress"]) == ("fetch", 0.25)
    # When the report is another attempt's
    report.attempt = 7
    report.save()
    body = api.get(of_task(task_id, "status")).json()
    assert (body["stage"], body["progress"]) == (None, None)


@pytest.mark.parametrize("done_total", [(None, None), (5, None), (5, 0)])
def test_progress_without_a_total_is_null(api: Api, done_total: tuple[int | None, int | None]) -> None:
    task_id = submitted()
    claimed(task_id)
    done, total = done_total
    JobProgress.objects.create(job_id=task_id, attempt=1, stage="x", done=done, total=total, at=timezone.now())
    assert api.get(of_task(task_id, "status")).json()["progress"] is None


# -- results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["", "*/*", "text/*", "text/plain", "application/json;q=0.5, text/plain"])
def test_the_text_is_what_most_clients_get(api: Api, stored: Callable[[], uuid.UUID], accept: str) -> None:
    response = api.get(of_task(stored(), "result"), Accept=accept)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    body = b"".join(response.streaming_content)
    assert body == "héllo".encode()
    assert int(response.headers["Content-Length"]) == len(body)
    assert "Content-Disposition" not in response.headers


@pytest.mark.parametrize("accept", ["application/json", "application/json, text/plain, */*", "text/plain;q=0, */*"])
def test_json_holds_text_pages_and_metadata(api: Api, stored: Callable[[], uuid.UUID], accept: str) -> None:
    response = api.get(of_task(stored(), "result"), Accept=accept)
    assert response.headers["Content-Type"] == "application/json"
    body = json.loads(b"".join(response.streaming_content))
    assert body["text"] == "héllo"
    assert body["pages"][0]["text"] == "héllo"
    assert body["metadata"] == {}


@pytest.mark.parametrize(("markdown", "body"), [("# Héllo", "# Héllo"), ("", "héllo")])
def test_markdown_is_served_and_is_the_plain_text_where_there_is_none(
    api: Api, stored: Callable[..., uuid.UUID], markdown: str, body: str
) -> None:
    response = api.get(of_task(stored(markdown=markdown), "result"), Accept="text/markdown, text/plain;q=0.5")
    assert response.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert b"".join(response.streaming_content).decode() == body


def test_a_result_in_another_type_is_a_406(api: Api, stored: Callable[[], uuid.UUID]) -> None:
    assert_problem(api.get(of_task(stored(), "result"), Accept="image/png"), 406, "not_acceptable")


@pytest.mark.parametrize("state", [State.PENDING, State.PROCESSING, State.RETRYING])
def test_an_unfinished_task_has_a_409_with_its_state_and_a_time_to_ask_again(api: Api, state: State) -> None:
    response = api.get(of_task(task_in(state), "result"))
    assert assert_problem(response, 409, "not_finished")["state"] == state
    assert int(response.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("state", [State.FAILED, State.DEAD_LETTER, State.CANCELLED])
def test_a_task_that_ended_without_a_result_has_a_409_with_its_state(api: Api, state: State) -> None:
    assert assert_problem(api.get(of_task(task_in(state), "result")), 409, "no_result")["state"] == state


def test_after_retention_the_result_is_gone_and_the_status_is_still_there(
    api: Api, stored: Callable[[], uuid.UUID]
) -> None:
    # Given what retention leaves
    task_id = stored()
    Job.objects.filter(pk=task_id).update(cleaned_at=timezone.now(), result=None, payload={})
    # Then
    assert_problem(api.get(of_task(task_id, "result")), 410, "result_expired")
    body = api.get(of_task(task_id, "status")).json()
    assert (body["status"], body["result"]) == ("completed", None)


def test_a_result_whose_object_has_vanished_is_gone(api: Api) -> None:
    assert_problem(api.get(of_task(task_in(State.COMPLETED), "result")), 410, "result_expired")


# -- retry -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.FAILED, State.DEAD_LETTER, State.CANCELLED])
def test_an_ended_task_is_queued_again_under_the_same_id_with_fresh_attempts(api: Api, state: State) -> None:
    # Given
    task_id = task_in(state)
    # When
    response = api.post(of_task(task_id, "retry"), b"")
    # Then
    assert response.status_code == 202
    assert response.json() == {
        "task_id": str(task_id), "status": "queued", "status_url": of_task(task_id, "status"),
    }  # fmt: skip
    assert response.headers["Location"] == of_task(task_id, "status")
    job = Job.objects.get(pk=task_id)
    assert (job.state, job.failures, job.run) == (State.PENDING, 0, 2)
    log = OperationLog.objects.get()
    assert (log.operation, log.source, log.target) == ("retry", "api", str(task_id))
    assert "API key test" in log.by


@pytest.mark.parametrize("state", [State.PENDING, State.PROCESSING, State.RETRYING, State.COMPLETED])
def test_other_states_refuse_a_retry_and_are_named(api: Api, state: State) -> None:
    task_id = task_in(state)
    problem = assert_problem(api.post(of_task(task_id, "retry"), b""), 409, "invalid_transition")
    assert problem["state"] == state
    assert state_of(task_id) == state
    assert not OperationLog.objects.exists()


def test_a_completed_task_that_retention_has_emptied_refuses_a_retry_for_its_state(api: Api) -> None:
    # Its state is why: submitting the document again, as a 410 advises, would repeat finished work
    task_id = task_in(State.COMPLETED)
    Job.objects.filter(pk=task_id).update(cleaned_at=timezone.now(), payload={}, result=None)
    problem = assert_problem(api.post(of_task(task_id, "retry"), b""), 409, "invalid_transition")
    assert problem["state"] == State.COMPLETED


def test_a_task_that_retention_has_emptied_cannot_be_retried(api: Api) -> None:
    task_id = task_in(State.FAILED)
    Job.objects.filter(pk=task_id).update(cleaned_at=timezone.now(), payload={})
    assert_problem(api.post(of_task(task_id, "retry"), b""), 410, "result_expired")


# -- stats -----------------------------------------------------------------------------------------


def test_stats_count_the_tenants_tasks_and_operators_see_all(make_api: Callable[..., Api]) -> None:
    # Given
    reader, operator = make_api("read"), make_api("operate")
    make_api("submit", tenant="acme")
    for state in State:
        if state != State.SCHEDULED:
            task_in(state)
    task_in(State.COMPLETED, tenant="acme", r2_key="acme/x")
    # When
    mine, all_of_them = reader.get(STATS).json(), operator.get(STATS).json()
    # Then
    expected = {
        "pending_tasks": 1, "processing_tasks": 1, "total_completed": 1, "total_failed": 1, "dead_letter_tasks": 1,
        "retrying_tasks": 1, "scheduled_tasks": 0, "cancelled_tasks": 1,
    }  # fmt: skip
    assert {name: mine[name] for name in expected} == expected
    assert mine["oldest_pending_seconds"] >= 0
    assert mine["queues"]["document_ingestion"]["pending"] == 1
    assert set(mine) == set(expected) | {"oldest_pending_seconds", "queues"}
    assert all_of_them["total_completed"] == 2
    assert all_of_them["queues"]["document_ingestion"]["completed"] == 2


def test_stats_count_every_task_once(api: Api) -> None:
    # Given
    for state in (State.COMPLETED, State.PENDING):
        task_in(state)
    # When
    with CaptureQueriesContext(connection) as queries:
        stats = api.get(STATS).json()
    # Then one query counts jobs by state
    assert len([query for query in queries if "count(*)" in query["sql"]]) == 1
    assert (stats["pending_tasks"], stats["queues"]["document_ingestion"]["completed"]) == (1, 1)


def test_totals_survive_the_clean_up_and_count_a_retried_failure_in_both(api: Api) -> None:
    # Given a task that failed, was retried and completed
    from tests.documents.api.tasks import RESULT, WORKER

    task_id = task_in(State.FAILED)
    api.post(of_task(task_id, "retry"), b"")
    lifecycle.finish([lifecycle.complete(claimed(task_id), result=RESULT)], worker_id=WORKER)
    # When its rows are gone
    Job.objects.all().delete()
    # Then
    stats = api.get(STATS).json()
    assert (stats["total_completed"], stats["total_failed"], stats["queues"]) == (1, 1, {})
    assert JobMinute.objects.exists()


def test_stats_of_nothing_are_zeros(api: Api) -> None:
    stats = api.get(STATS).json()
    assert stats.pop("queues") == {}
    assert stats.pop("oldest_pending_seconds") is None
    assert set(stats.values()) == {0}


def test_pages_are_read_alone_and_what_is_known_is_not_sent_again(api: Api) -> None:
    # Given a result of three pages
    task_id = task_in(State.COMPLETED)
    pages = tuple(Page(number=number, text=f"p\u00e4ge {number}") for number in (1, 2, 3))
    found = Extraction(text="\n\n".join(page.text for page in pages), pages=pages, engine="e", content_type="t")
    conf.result_store().write(task_id, 1, rendering.stored_chunks(found))
    path = of_task(task_id, "result")
    try:
        # When / Then
        for query, text in (
            ("2", "p\u00e4ge 2"), ("2-3", "p\u00e4ge 2\n\np\u00e4ge 3"), ("1-", found.text), ("3-9", "p\u00e4ge 3"),
        ):  # fmt: skip
            response = api.get(f"{path}?pages={query}")
            content = b"".join(response.streaming_content)
            assert (content.decode(), int(response.headers["Content-Length"])) == (text, len(content))
        response = api.get(f"{path}?pages=2-3", Accept="application/json")
        body = json.loads(b"".join(response.streaming_content))
        assert set(body) == set(ResultPages().fields)  # what the OpenAPI document says
        assert (body["page_count"], [page["text"] for page in body["pages"]]) == (3, ["p\u00e4ge 2", "p\u00e4ge 3"])
        for query in ("4", "0", "x", "3-2", "1,2", "-2", ""):
            problem = assert_problem(api.get(f"{path}?pages={query}"), 400, "invalid_request")
            assert list(problem["errors"]) == ["pages"]
        # And each representation has a tag of its own, under which it is not sent again
        whole, part = api.get(path).headers["ETag"], api.get(f"{path}?pages=2").headers["ETag"]
        assert whole != part
        again = api.get(path, **{"If-None-Match": f'"x", {whole}'})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", whole)
        assert api.get(f"{path}?pages=2", **{"If-None-Match": whole}).status_code == 200
    finally:
        conf.result_store().delete(task_id)
