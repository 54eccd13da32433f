"""POST /api/documents/process: what a submission promises."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from documents.models import IngestionTask
from queueadmin.broker import get_ledger_broker
from queueadmin.models import Job, JobEvent
from queueadmin.room import RoomKeeper
from tests.documents.api.client import PROCESS, Api, assert_problem, submission

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def test_what_any_client_would_send_is_accepted(api: Api) -> None:
    # When
    response = api.post(PROCESS, submission())
    # Then
    assert response.status_code == 202
    body = response.json()
    assert body == {
        "task_id": body["task_id"],
        "status": "queued",
        "status_url": f"/api/documents/task/{body['task_id']}/status",
    }
    assert response.headers["Location"] == body["status_url"]
    assert uuid.UUID(body["task_id"]).version == 7


def test_an_accepted_task_is_a_request_a_job_and_an_event_under_one_id(api: Api) -> None:
    # When
    given = submission(file_size=12, priority=5, metadata={"a": [1, "ü"]}, document_id=7)
    task_id = uuid.UUID(api.post(PROCESS, given).json()["task_id"])
    # Then
    task = IngestionTask.objects.get(pk=task_id)
    assert (task.tenant, task.document_id, task.user_id) == ("default", "7", "user-1")
    assert (task.file_name, task.r2_key, task.content_type) == ("report.txt", "reports/report.txt", "text/plain")
    assert (task.file_size, task.priority, task.metadata) == (12, 5, {"a": [1, "ü"]})
    assert task.callback_url == "https://example.org/hook"
    job = Job.objects.get(pk=task_id)
    assert (job.actor, job.queue, job.state) == ("ingest_document", settings.QUEUE_NAME, "pending")
    assert (job.partition_key, job.priority) == ("default", 5)
    assert job.payload["kwargs"] == {
        "tenant": "default",
        "r2_key": "reports/report.txt",
        "file_name": "report.txt",
        "content_type": "text/plain",
        "file_size": 12,
    }
    assert job.payload["options"]["follow_up"]["actor"] == "deliver_webhook"
    assert [event.edge for event in JobEvent.objects.filter(job_id=task_id)] == ["submit"]


def test_optional_fields_may_be_missing_or_null(api: Api) -> None:
    for optional in ({}, dict.fromkeys(("file_size", "callback_url", "priority", "metadata"))):
        body = {name: value for name, value in submission().items() if name != "callback_url"} | optional
        task_id = api.post(PROCESS, body).json()["task_id"]
        task = IngestionTask.objects.get(pk=task_id)
        assert (task.file_size, task.callback_url, task.priority, task.metadata) == (None, "", 0, {})
        assert "follow_up" not in Job.objects.get(pk=task_id).payload["options"]


@pytest.mark.django_db(transaction=True)
def test_a_task_is_published_when_it_is_committed_and_redis_learns_no_more_than_its_id_and_whose_it_is(
    make_api: Callable[..., Api], valkey: redis.Redis
) -> None:
    # When
    task_id = uuid.UUID(make_api("submit").post(PROCESS, submission(priority=3)).json()["task_id"])
    # Then
    high = get_ledger_broker().ready_sets.key(settings.QUEUE_NAME, "high")
    assert valkey.zrange(high, 0, -1) == [task_id.hex.encode()]
    assert {key: valkey.zrange(key, 0, -1) for key in valkey.scan_iter() if key != high.encode()} == {
        b"{ingestion}:fair:%b:high" % settings.QUEUE_NAME.encode(): [b"default"]
    }


def test_a_submission_costs_three_statements_beside_its_transaction(api: Api) -> None:
    # Given a process that knows the tenants and the queue's depth, and a key whose use has been noted
    api.post(PROCESS, submission())
    # When
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert api.post(PROCESS, submission()).status_code == 202
    # Then: the key; job and event; the task
    statements = [query["sql"] for query in captured.captured_queries if "SAVEPOINT" not in query["sql"]]
    assert len(statements) == (3 if connection.vendor == "postgresql" else 4), statements


@pytest.mark.parametrize("missing", ["document_id", "user_id", "file_name", "r2_key", "content_type"])
def test_a_missing_field_is_named(api: Api, missing: str) -> None:
    body = submission()
    del body[missing]
    problem = assert_problem(api.post(PROCESS, body), 400, "invalid_request")
    assert list(problem["errors"]) == [missing]
    assert not IngestionTask.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("document_id", ""), ("document_id", "   "), ("document_id", "x" * 256), ("document_id", "a\x00b"),
        ("document_id", "a\ud800"), ("document_id", True), ("document_id", 1.5), ("document_id", 10**300),
        ("document_id", ["a"]), ("document_id", None), ("user_id", {"a": 1}), ("user_id", "a\nb"),
        ("file_name", 5), ("file_name", "x" * 256), ("file_name", "a\r\nb"), ("content_type", "x" * 256),
        ("r2_key", ""), ("r2_key", "../x"), ("r2_key", "a/../b"), ("r2_key", "/etc/passwd"), ("r2_key", "a\\b"),
        ("r2_key", "a\x00b"), ("r2_key", "a//b"), ("r2_key", "./a"), ("r2_key", "x" * 1025), ("r2_key", "ü" * 600),
        ("r2_key", "a/" + "x" * 256), ("r2_key", "a\udfff"), ("r2_key", 5), ("r2_key", "a\nb"), ("r2_key", "a/"),
        ("file_size", -1), ("file_size", 2**63), ("file_size", 1.5), ("file_size", "12"), ("file_size", True),
        ("priority", -1), ("priority", 10), ("priority", "3"), ("priority", 2**70), ("priority", [1]),
        ("metadata", []), ("metadata", "x"), ("metadata", {"a": "\x00"}), ("metadata", {"\x00": 1}),
        ("metadata", {"a": "\ud800"}), ("metadata", {"a": 2**64}), ("metadata", {"a": "x" * 17_000}),
        ("callback_url", "ftp://example.org/"), ("callback_url", "example.org"), ("callback_url", "http://"),
        ("callback_url", "https://user:secret@example.org/"), ("callback_url", "https://@example.org/"),
        ("callback_url", "javascript:alert(1)"), ("callback_url", "http://[::1"), ("callback_url", "http://a:99999/"),
        ("callback_url", "http://example.org/ x"), ("callback_url", "http://exa\nmple.org/"), ("callback_url", 5),
        ("callback_url", "https://example.org/" + "x" * 2048), ("callback_url", "http://example.org\\@evil.org/"),
        ("callback_url", "http://a:0/"), ("callback_url", "http:///path"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_a_400_that_names_it_and_stores_nothing(api: Api, field: str, value: Any) -> None:
    problem = assert_problem(api.post(PROCESS, submission(**{field: value})), 400, "invalid_request")
    assert list(problem["errors"]) == [field]
    assert all(problem["errors"][field])
    assert not IngestionTask.objects.exists()
    assert not Job.objects.exists()


def test_metadata_nested_too_deeply_is_refused(api: Api) -> None:
    deep: Any = 1
    for _ in range(17):
        deep = {"a": deep}
    problem = assert_problem(api.post(PROCESS, submission(metadata=deep)), 400, "invalid_request")
    assert "levels" in problem["errors"]["metadata"][0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("r2_key", "a b/ü (1).pdf"), ("r2_key", "..a/b.."), ("r2_key", "x" * 255), ("file_name", "x" * 255),
        ("file_size", 0), ("file_size", 2**63 - 1), ("priority", 9), ("metadata", {"n": 2**63 - 1, "": None}),
        ("callback_url", "http://[2001:db8::1]:8443/x?y=1#z"), ("callback_url", "https://bücher.example/"),
        ("callback_url", ""), ("user_id", 12345), ("user_id", "😀"), ("unknown", {"is": "ignored"}),
    ],
)  # fmt: skip
def test_unusual_values_that_are_right_are_kept_as_they_came(api: Api, field: str, value: Any) -> None:
    response = api.post(PROCESS, submission(**{field: value}))
    assert response.status_code == 202, response.content
    task = IngestionTask.objects.get(pk=response.json()["task_id"])
    assert getattr(task, field, value) in (value, str(value))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"a":' * 100_000,
        b'{"priority": NaN}', b'{"priority": -Infinity}', b'{"priority": ' + b"9" * 5000 + b"}", b"{'a': 1}",
        "{}".encode("utf-16"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_a_400(api: Api, body: bytes) -> None:
    response = api.post(PROCESS, body)
    assert_problem(response, 400, response.json()["code"])
    assert response.json()["code"] in ("malformed_body", "invalid_request")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "x"])
def test_another_media_type_is_a_415(api: Api, content_type: str) -> None:
    assert_problem(api.post(PROCESS, b"{}", content_type=content_type), 415, "unsupported_media_type")


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "no-such", "utf-16"])
def test_a_charset_parameter_changes_nothing(api: Api, charset: str) -> None:
    response = api.post(PROCESS + "?a=%41", submission(), content_type=f"application/json; charset={charset}")
    assert response.status_code == 202, response.content


def test_a_body_beyond_the_limit_is_a_413(api: Api) -> None:
    body = b'{"a": "' + b"x" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE + b'"}'
    assert_problem(api.post(PROCESS, body), 413, "body_too_large")


def test_a_key_of_another_tenant_is_a_403_whether_it_exists_or_not(make_api: Callable[..., Api]) -> None:
    # Given
    default, acme = make_api("submit"), make_api("submit", tenant="acme")
    # Then the default tenant owns the root minus the other tenants' prefixes
    assert_problem(default.post(PROCESS, submission(r2_key="acme/x.txt")), 403, "key_not_allowed")
    assert_problem(acme.post(PROCESS, submission(r2_key="x.txt")), 403, "key_not_allowed")
    assert_problem(acme.post(PROCESS, submission(r2_key="acme-labs/x.txt")), 403, "key_not_allowed")
    assert acme.post(PROCESS, submission(r2_key="acme/x.txt")).status_code == 202
    assert default.post(PROCESS, submission(r2_key="acme-labs/x.txt")).status_code == 202
    assert IngestionTask.objects.count() == 2


def test_attempts_first_run_and_options_are_as_asked_for(api: Api) -> None:
    # Given a submission that says how and when it is to run
    later = datetime.now(UTC) + timedelta(hours=2)
    given = submission(
        max_attempts=2, run_at=later.isoformat(), options={"languages": ["deu", "eng", "deu"], "ocr": "force"}
    )
    # When
    task_id = api.post(PROCESS, given).json()["task_id"]
    # Then
    job = Job.objects.get(pk=task_id)
    assert (job.state, job.max_attempts) == ("scheduled", 2)
    assert job.run_at is not None
    assert abs((job.run_at - later).total_seconds()) < 2
    assert job.payload["kwargs"]["options"] == {"languages": ["deu", "eng"], "ocr": "force"}
    assert IngestionTask.objects.get(pk=task_id).options == {"languages": ["deu", "eng"], "ocr": "force"}
    # And a time that has passed means now
    task_id = api.post(PROCESS, submission(run_at="2020-01-31T08:00:00+02:00")).json()["task_id"]
    assert Job.objects.get(pk=task_id).state == "pending"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_attempts", 0), ("max_attempts", 101), ("max_attempts", "2"), ("max_attempts", True),
        ("run_at", "2026-01-31T08:00:00"), ("run_at", "tomorrow"), ("run_at", 1893456000),
        ("run_at", "9999-12-31T23:59:59Z"),
        ("run_at", "0001-01-01T00:00:00+14:00"), ("run_at", "2030-02-30T00:00:00Z"), ("run_at", "x" * 100_000),
        ("options", []), ("options", {"ocr": "always"}), ("options", {"languages": "deu"}),
        ("options", {"languages": ["deu+eng"]}), ("options", {"languages": ["../x"]}), ("options", {"languages": [1]}),
        ("options", {"languages": ["eng\n"]}), ("options", {"languages": [f"l{n}" for n in range(9)]}),
        ("options", {"languages": {}}),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_its_name(api: Api, field: str, value: Any) -> None:
    problem = assert_problem(api.post(PROCESS, submission(**{field: value})), 400, "invalid_request")
    assert list(problem["errors"]) == [field]


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ([], "", "This must be a JSON object."),
        (submission(options=[]), "options", "This must be a JSON object."),
        (submission(options={"ocr": "always"}), "options", "ocr must be auto, off or force."),
    ],
)
def test_a_refusal_says_what_is_allowed(api: Api, body: Any, field: str, message: str) -> None:
    problem = assert_problem(api.post(PROCESS, body), 400, "invalid_request")
    assert message in str(problem["errors"][field] if field else problem)


def test_a_full_queue_is_a_503_with_retry_after_and_nothing_stored(api: Api) -> None:
    # Given a queue with room for two
    broker = get_ledger_broker()
    usual, broker.room = broker.room, RoomKeeper(limit=2)
    try:
        accepted = [api.post(PROCESS, submission()).status_code for _ in range(2)]
        # When
        response = api.post(PROCESS, submission())
    finally:
        broker.room = usual
    # Then
    assert accepted == [202, 202]
    assert_problem(response, 503, "queue_full")
    assert int(response.headers["Retry-After"]) >= 1
    assert IngestionTask.objects.count() == Job.objects.count() == 2


def test_a_trailing_slash_works_too(api: Api) -> None:
    assert api.post(PROCESS + "/", submission()).status_code == 202
