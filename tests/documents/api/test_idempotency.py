"""Idempotency-Key: a client that lost the answer asks again and gets the same task."""

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import redis
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from documents import idempotency
from documents.models import IdempotencyKey, IngestionTask
from queueadmin.broker import get_ledger_broker
from queueadmin.models import Job
from queueadmin.room import RoomKeeper
from tests.documents import factories
from tests.documents.api.client import PROCESS, Api, assert_problem, submission

pytestmark = [
    pytest.mark.django_db(transaction=True), pytest.mark.both_databases,
    pytest.mark.usefixtures("valkey"),  # committed submissions are published
]  # fmt: skip

KEY = {"Idempotency-Key": "order-17"}


def test_the_same_submission_again_is_the_same_task(api: Api) -> None:
    # Given a submission whose answer was lost
    first = api.post(PROCESS, submission(metadata={"a": 1, "b": 2}), **KEY)
    assert "Idempotency-Replayed" not in first.headers
    # When the client sends it again, spelt differently
    body = json.dumps(submission(metadata={"b": 2, "a": 1}), indent=4)
    again = api.post(PROCESS, body, **{"Idempotency-Key": '"order-17"'})
    # Then it gets the same answer, marked, and there is one task
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (IngestionTask.objects.count(), Job.objects.count()) == (1, 1)


def test_a_submission_that_was_committed_and_not_published_is_published_by_its_repetition(
    api: Api, valkey: redis.Redis
) -> None:
    # Given a submission whose web process died between its commit and its publish
    api.post(PROCESS, submission(), **KEY)
    valkey.flushall()
    # When the client sends it again
    api.post(PROCESS, submission(), **KEY)
    # Then it is in line
    assert get_ledger_broker().ready_sets.depth(settings.QUEUE_NAME)["normal"] == 1


def test_another_body_under_the_same_key_is_refused(api: Api) -> None:
    api.post(PROCESS, submission(), **KEY)
    assert_problem(api.post(PROCESS, submission(document_id="doc-2"), **KEY), 422, "idempotency_conflict")
    assert IngestionTask.objects.count() == 1


def test_a_key_belongs_to_its_tenant(api: Api, make_api: Callable[..., Api]) -> None:
    # Given a key of one tenant
    mine = api.post(PROCESS, submission(), **KEY).json()["task_id"]
    # When another tenant uses the same one
    theirs = make_api("submit", tenant="acme").post(PROCESS, submission(r2_key="acme/report.txt"), **KEY)
    # Then it is its own submission
    assert theirs.status_code == 202
    assert theirs.json()["task_id"] != mine


def test_a_finished_task_answers_its_key_too(api: Api) -> None:
    task = api.post(PROCESS, submission(), **KEY).json()["task_id"]
    factories.end(UUID(task), "completed")
    assert api.post(PROCESS, submission(), **KEY).json()["task_id"] == task


def test_after_a_day_a_key_may_be_used_again(api: Api) -> None:
    # Given a key of more than 24 hours ago
    first = api.post(PROCESS, submission(), **KEY).json()["task_id"]
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    # Then it names a new submission
    assert api.post(PROCESS, submission(document_id="doc-2"), **KEY).json()["task_id"] != first
    assert IdempotencyKey.objects.count() == 1


def test_the_clean_up_removes_old_keys_and_leaves_the_others(api: Api) -> None:
    for name in ("old", "new"):
        api.post(PROCESS, submission(), **{"Idempotency-Key": name})
    IdempotencyKey.objects.filter(key="old").update(created_at=timezone.now() - timedelta(hours=25))
    assert idempotency.forget() == 1
    assert IdempotencyKey.objects.get().key == "new"


def test_a_refused_submission_does_not_use_its_key_up(api: Api) -> None:
    assert_problem(api.post(PROCESS, submission(r2_key="../x"), **KEY), 400, "invalid_request")
    assert api.post(PROCESS, submission(), **KEY).status_code == 202


def test_a_full_queue_keeps_answering_for_what_it_accepted(api: Api) -> None:
    # Given a task that was accepted, and a queue that is full now
    broker = get_ledger_broker()
    usual, broker.room = broker.room, RoomKeeper(limit=1)
    try:
        first = api.post(PROCESS, submission(), **KEY).json()["task_id"]
        again = api.post(PROCESS, submission(), **KEY)
        other = api.post(PROCESS, submission(), **{"Idempotency-Key": "new"})
    finally:
        broker.room = usual
    # Then its key still answers, a new one is refused and not used up
    assert again.json()["task_id"] == first
    assert_problem(other, 503, "queue_full")
    assert IdempotencyKey.objects.count() == 1


@pytest.mark.parametrize("key", ["", "   ", '""', "x" * 256, "sch\xf6n", "a\x01b"])
def test_a_key_that_is_none_is_refused(api: Api, key: str) -> None:
    body = assert_problem(api.post(PROCESS, submission(), **{"Idempotency-Key": key}), 400, "invalid_request")
    assert list(body["errors"]) == ["Idempotency-Key"]
    assert Job.objects.count() == 0


def test_while_the_first_is_under_way_the_second_is_asked_to_come_back(api: Api) -> None:
    # Given a submission in the middle of its transaction
    if connection.vendor != "postgresql":
        pytest.skip("SQLite runs one write transaction at a time: the second request waits for the first")
    entered, leave = threading.Event(), threading.Event()
    wanted = idempotency.Intent(tenant="default", key="order-17", fingerprint="0" * 64)

    def hold() -> None:
        try:
            with transaction.atomic():
                idempotency.recall(wanted)
                entered.set()
                leave.wait(10)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert entered.wait(10)
        # Then the same key is told to come back, without waiting
        response = api.post(PROCESS, submission(), **KEY)
        assert_problem(response, 409, "submission_in_flight")
        assert response.headers["Retry-After"] == "1"
    finally:
        leave.set()
        holder.join()
    # And once that one is gone (it was rolled back), the key is free
    assert api.post(PROCESS, submission(), **KEY).status_code == 202


def test_many_at_once_make_one_task(api: Api, make_api: Callable[..., Api]) -> None:
    # Given eight impatient clients with one key
    clients = [make_api("submit") for _ in range(8)]
    answers: list[Any] = []

    def send(client: Api) -> None:
        try:
            answers.append(client.post(PROCESS, submission(), **KEY))
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=(client,)) for client in clients]
    # When all send at once
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Then there is one task, and whoever was not told to come back was told of that one
    assert {answer.status_code for answer in answers} <= {202, 409}
    accepted = {answer.json()["task_id"] for answer in answers if answer.status_code == 202}
    assert len(accepted) == 1
    assert Job.objects.filter(queue=settings.QUEUE_NAME).count() == 1
