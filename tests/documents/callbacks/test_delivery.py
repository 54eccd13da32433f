"""Delivering a webhook once: what is sent, what is logged, and whether it is tried again."""

import base64
import uuid
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from documents import batches, tasks
from documents.callbacks import delivery, events
from documents.callbacks.addresses import CallbackRefused
from documents.callbacks.client import CallbackUnreachable
from documents.conf import WebhookPolicy
from documents.models import Batch, WebhookAttempt
from queueadmin import lifecycle
from queueadmin.context import JobContext
from queueadmin.exceptions import JobCancelled
from queueadmin.jobs import order_key_now
from queueadmin.models import Job
from tests.documents import factories
from tests.receivers import answer, hang, receiver

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def deliver(task_id: uuid.UUID, state: str = "completed", run: int = 1, **fields: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"allow_private": True, "deadline_seconds": 1.0}
    policy = WebhookPolicy(secrets=(SECRET,), **(given | fields))
    return delivery.deliver(task_id=str(task_id), state=state, run=run, job=delivering(), policy=policy)


def delivering() -> JobContext:
    return JobContext(
        id=uuid.uuid4(), queue="webhooks", actor="deliver_webhook", attempt=3, run=1, failures=2, max_attempts=27
    )


def completed(callback_url: str) -> uuid.UUID:
    task_id = factories.task(callback_url=callback_url)
    factories.end(task_id, "completed")
    return task_id


def test_the_receiver_gets_a_verified_event_and_the_log_an_attempt() -> None:
    # Given a completed task with a receiver
    with receiver(answer(200, body=b"ok")) as server:
        task_id = completed(server.url)
        before = Job.objects.get(pk=task_id)
        # When its end is announced
        kept = deliver(task_id)
    # Then the reference library accepts what came
    received = server.received[0]
    said = Webhook(SECRET).verify(received.body, dict(received.headers))
    assert said["type"] == "task.completed"
    assert said["data"]["result"]["characters"] == 12
    assert received.headers["webhook-id"] == kept["webhook_id"] == f"msg_{task_id.hex}_1_completed"
    # And the attempt is on record, and the task as it was
    attempt = WebhookAttempt.objects.get()
    assert (attempt.task_id, attempt.attempt, attempt.status_code, attempt.response_excerpt) == (task_id, 3, 200, "ok")
    assert attempt.error == ""
    after = Job.objects.get(pk=task_id)
    assert (after.state, after.result, after.attempt) == (before.state, before.result, before.attempt)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 408, 422, 425, 429, 500, 502, 503, 504])
def test_a_refusal_that_somebody_may_put_right_is_tried_again(status: int) -> None:
    with receiver(answer(status)) as server:
        task_id = completed(server.url)
        with pytest.raises(delivery.WebhookRejected, match=str(status)) as caught:
            deliver(task_id)
    assert caught.value.retryable
    assert WebhookAttempt.objects.get().status_code == status


def test_gone_ends_it_for_good() -> None:
    with receiver(answer(410)) as server:
        task_id = completed(server.url)
        with pytest.raises(delivery.ReceiverGone) as caught:
            deliver(task_id)
    assert not caught.value.retryable


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_success_ends_it(status: int) -> None:
    with receiver(answer(status)) as server:
        assert deliver(completed(server.url))["status_code"] == status


def test_retry_after_is_passed_on() -> None:
    with receiver(answer(503, headers={"Retry-After": "120"})) as server:
        task_id = completed(server.url)
        with pytest.raises(delivery.WebhookRejected) as caught:
            deliver(task_id)
    assert caught.value.retry_after == 120


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", None), ("0", None), ("17", 17.0), ("-5", None), ("soon", None), ("1.5", None), ("٣", None),
        ("999999999999", 86400.0), ("9" * 400, 86400.0),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0), ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86400.0), ("Fri, 99 Dec 9999 23:59:59 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_bounded_and_never_trusted(header: str, seconds: float | None) -> None:
    assert delivery.retry_after_seconds(header, now=1000.0) == seconds


def test_an_unreachable_receiver_is_logged_and_tried_again() -> None:
    with receiver(hang) as server:
        task_id = completed(server.url)
        with pytest.raises(CallbackUnreachable):
            deliver(task_id, deadline_seconds=0.3)
    attempt = WebhookAttempt.objects.get()
    assert attempt.status_code is None
    assert attempt.error.startswith("callback_unreachable")
    assert attempt.duration_ms >= 300


def test_a_private_address_is_refused_for_good_and_logged() -> None:
    with receiver() as server:
        task_id = completed(server.url)
        with pytest.raises(CallbackRefused) as caught:
            deliver(task_id, allow_private=False)
        assert server.connections == 0
    assert not caught.value.retryable
    assert WebhookAttempt.objects.get().error.startswith("callback_refused")


def test_a_task_without_callback_url_is_done_without_a_request() -> None:
    assert "skipped" in deliver(completed(""))
    assert not WebhookAttempt.objects.exists()


def test_a_forgotten_task_is_a_permanent_fault() -> None:
    with pytest.raises(events.TaskForgotten) as caught:
        deliver(uuid.uuid4())
    assert not caught.value.retryable


def test_a_cancelled_delivery_sends_nothing() -> None:
    job = delivering()
    job.cancel.set("cancelled")
    with pytest.raises(JobCancelled):
        delivery.deliver(task_id=str(uuid.uuid4()), state="completed", run=1, job=job, policy=WebhookPolicy(secrets=()))


def test_the_end_of_an_earlier_run_is_told_as_it_was() -> None:
    # Given a task that failed, and that a person has queued again since
    with receiver() as server:
        task_id = factories.task(callback_url=server.url)
        factories.end(task_id, "failed")
        lifecycle.retry([task_id], by="ann", order_key=order_key_now())
        factories.end(task_id, "completed")
        # When the webhook of the first run comes late
        deliver(task_id, state="failed", run=1)
    # Then it tells of the failure, not of the present
    said = Webhook(SECRET).verify(server.received[0].body, dict(server.received[0].headers))
    assert said["type"] == "task.failed"
    assert said["data"]["error"]["code"] == "damaged"
    assert said["data"]["result"] is None
    assert said["data"]["run"] == 1


def test_the_schedule_spans_about_three_days() -> None:
    # Given the actor's options, as the settings are by default, and the mean of the jitter (three quarters of a step)
    options = tasks.deliver_webhook.options
    steps = [
        0.75 * min(options["max_backoff_seconds"], options["min_backoff_seconds"] * 2**failure)
        for failure in range(options["max_attempts"] - 1)
    ]
    # Then the last attempt comes three days after the first
    assert 2.75 <= sum(steps) / 86400 <= 3.25


def test_the_end_of_a_batch_is_announced_with_its_counts() -> None:
    # Given a batch of two tasks, one of which failed
    with receiver(answer(200)) as server:
        batch = Batch.objects.create(
            id=uuid.uuid4(), tenant="default", accepted=2, refusals=[{"index": 1}], callback_url=server.url,
            metadata={"case": "7"},
        )  # fmt: skip
        for state in ("completed", "failed"):
            factories.end(factories.task(batch_id=batch.pk), state)
        policy = WebhookPolicy(secrets=(SECRET,), allow_private=True, public_url="https://docs.example")

        def deliver_batch() -> dict[str, Any]:
            return delivery.deliver_batch(batch_id=str(batch.pk), job=delivering(), policy=policy)

        # When it is not completed yet, there is nothing to tell
        with pytest.raises(events.TaskForgotten):
            deliver_batch()
        # When it is
        assert batches.complete(batch.pk)
        kept = deliver_batch()
    # Then the receiver learns it in one verified event
    (received,) = server.received
    said = Webhook(SECRET).verify(received.body, dict(received.headers))
    assert (said["type"], said["data"]["counts"]) == ("batch.completed", {"completed": 1, "failed": 1})
    assert (said["data"]["accepted"], said["data"]["refused"], said["data"]["metadata"]) == (2, 1, {"case": "7"})
    assert said["data"]["batch_url"] == f"https://docs.example/api/documents/batch/{batch.pk}"
    assert kept["webhook_id"] == received.headers["webhook-id"]
    assert WebhookAttempt.objects.get().task_id == batch.pk
