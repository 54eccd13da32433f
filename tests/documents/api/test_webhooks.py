"""Webhooks through the API: where they go, what signs them, how they went, and once more."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings
from standardwebhooks.webhooks import Webhook

from documents import batches, conf, webhooks
from documents.batches import BatchRequest
from documents.callbacks import delivery
from documents.conf import WebhookPolicy
from documents.models import DisabledEndpoint, WebhookAttempt, WebhookSecret
from queueadmin import lifecycle
from queueadmin.context import JobContext
from queueadmin.models import Job, OperationLog
from queueadmin.states import State
from tests.documents.api.client import PROCESS, Api, assert_problem, of_task, submission
from tests.documents.api.tasks import WORKER, claimed, request, task_in, walk
from tests.receivers import answer, hang, receiver

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

WEBHOOK = "/api/documents/webhook"
HOOK = "https://example.org/hook"


@pytest.fixture
def operator(make_api: Callable[..., Api]) -> Api:
    return make_api()


def run(delivery_id: Any, *, allow_private: bool = True, deadline: float = 5.0) -> Job:
    """Do what a worker does with a delivery that is due, once."""
    job = claimed(uuid.UUID(str(delivery_id)), actor=Job.objects.get(pk=delivery_id).actor)
    policy = WebhookPolicy(
        secrets=conf.webhook_policy().secrets, allow_private=allow_private, deadline_seconds=deadline
    )
    context = JobContext(
        id=job.id, queue=job.queue, actor=job.actor, attempt=job.attempt, run=job.run, failures=job.failures,
        max_attempts=job.max_attempts,
    )  # fmt: skip
    args = job.payload["args"]
    try:
        if job.actor == "deliver_webhook":
            result = delivery.deliver(task_id=args[0], state=args[1], run=args[2], job=context, policy=policy)
        elif job.actor == "deliver_batch_webhook":
            result = delivery.deliver_batch(batch_id=args[0], job=context, policy=policy)
        else:
            result = delivery.deliver_test(tenant=args[0], url=args[1], job=context, policy=policy)
        outcome = lifecycle.complete(job, result=result)
    except Exception as error:
        code, message = error.code, str(error)  # type: ignore[attr-defined]  # ours all have one
        if error.retryable:  # type: ignore[attr-defined]  # the same
            outcome = lifecycle.retry_later(job, delay=3600, code=code, message=message)
        else:
            outcome = lifecycle.fail(job, code=code, message=message)
    lifecycle.finish([outcome], worker_id=WORKER)
    return Job.objects.get(pk=delivery_id)


def webhook_of(task_id: uuid.UUID) -> Job:
    return Job.objects.filter(parent_id=task_id).order_by("-created_at").first() or pytest.fail("no webhook")


# -- the endpoint --------------------------------------------------------------------------------


def test_an_endpoint_is_set_read_and_removed_and_each_change_is_on_record(operator: Api) -> None:
    assert operator.get(WEBHOOK).json() == {"url": None, "disabled_at": None, "secrets": []}
    assert operator.post(WEBHOOK, {"url": HOOK}, method="PUT").json()["url"] == HOOK
    assert operator.get(WEBHOOK).json()["url"] == HOOK
    assert operator.request("DELETE", WEBHOOK).json()["url"] is None
    said = list(OperationLog.objects.filter(operation="set_webhook").order_by("at").values_list("detail", flat=True))
    assert said == [{"origin": "https://example.org"}, {"origin": None}]


@pytest.mark.parametrize("url", ["", None, 7, "ftp://example.org/", "https://u:p@example.org/", "x" * 3000])
def test_an_endpoint_that_is_no_url_is_a_400(operator: Api, url: Any) -> None:
    assert_problem(operator.post(WEBHOOK, {"url": url}, method="PUT"), 400, "invalid_request")


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://localhost/hook", "http://[::1]/"])
def test_an_endpoint_inside_is_refused(operator: Api, url: str) -> None:
    assert_problem(operator.post(WEBHOOK, {"url": url}, method="PUT"), 400, "callback_refused")
    assert_problem(operator.post(WEBHOOK + "/test", {"url": url}), 400, "callback_refused")


def test_tasks_without_a_callback_url_are_announced_at_the_tenants_endpoint(
    operator: Api, make_api: Callable[..., Api]
) -> None:
    # Given a tenant with an endpoint, and one without
    body = {name: value for name, value in submission().items() if name != "callback_url"}
    with receiver() as server, override_settings(WEBHOOK_ALLOW_PRIVATE=True):
        operator.post(WEBHOOK, {"url": server.url}, method="PUT")
        mine = uuid.UUID(operator.post(PROCESS, body).json()["task_id"])
        other = make_api(tenant="acme").post(PROCESS, {**body, "r2_key": "acme/a.txt"}).json()["task_id"]
        # When the tasks end
        walk(mine, State.FAILED)
        walk(uuid.UUID(other), State.FAILED)
        # Then the one is announced, and the other is not
        assert operator.get(of_task(mine, "status")).json()["webhook"]["state"] == "pending"
        run(webhook_of(mine).pk)
        assert not Job.objects.filter(parent_id=other).exists()
    assert operator.get(of_task(mine, "status")).json()["webhook"] == {"state": "completed", "error": None}
    assert server.received[0].headers["webhook-id"] == f"msg_{mine.hex}_1_failed"


def test_a_tasks_own_callback_url_goes_before_the_endpoint(operator: Api) -> None:
    with receiver() as own, receiver() as endpoint, override_settings(WEBHOOK_ALLOW_PRIVATE=True):
        operator.post(WEBHOOK, {"url": endpoint.url}, method="PUT")
        task_id = task_in(State.COMPLETED, callback_url=own.url)
        run(webhook_of(task_id).pk)
        assert (len(own.received), len(endpoint.received)) == (1, 0)


def test_a_batch_without_a_callback_url_is_announced_there_too(operator: Api) -> None:
    with receiver() as server, override_settings(WEBHOOK_ALLOW_PRIVATE=True):
        operator.post(WEBHOOK, {"url": server.url}, method="PUT")
        batch = batches.submit(BatchRequest(tenant="default", documents=[(0, request())]))
        walk(batch.tasks[0], State.COMPLETED)
        assert batches.complete(batch.batch_id)
        run(Job.objects.get(parent_id=batch.batch_id).pk)
        # And it can be sent again, under the same id
        again = operator.post(f"/api/documents/batch/{batch.batch_id}/webhook/redeliver")
        assert again.status_code == 202
        run(again.json()["delivery_id"])
    ids = [got.headers["webhook-id"] for got in server.received]
    assert ids == [f"msg_{batch.batch_id.hex}_batch_completed"] * 2
    listed = operator.get(f"/api/documents/batch/{batch.batch_id}/webhook").json()["deliveries"]
    assert [one["state"] for one in listed] == ["completed", "completed"]


# -- secrets -------------------------------------------------------------------------------------


def test_a_secret_is_shown_once_and_signs_beside_the_one_before(operator: Api) -> None:
    # Given
    made = operator.post(WEBHOOK + "/secret", {"overlap_hours": 1})
    assert made.status_code == 201
    secret = made.json()["secret"]
    # Then nothing shows it again
    settings = operator.get(WEBHOOK)
    assert secret not in settings.content.decode()
    assert [one["expires_at"] is None for one in settings.json()["secrets"]] == [True, False]
    assert secret not in str(list(OperationLog.objects.values_list("detail", flat=True)))
    # And an event fits both, by the reference library
    with receiver() as server:
        task_id = task_in(State.COMPLETED, callback_url=server.url)
        run(webhook_of(task_id).pk)
    received = server.received[0]
    for known in (secret, *conf.webhook_policy().secrets):
        assert Webhook(known).verify(received.body, dict(received.headers))["type"] == "task.completed"


@pytest.mark.parametrize("hours", [-1, 721, "x", 1.5, True])
def test_an_overlap_is_a_number_of_hours_up_to_a_month(operator: Api, hours: Any) -> None:
    assert_problem(operator.post(WEBHOOK + "/secret", {"overlap_hours": hours}), 400, "invalid_request")
    assert not WebhookSecret.objects.exists()


# -- tests ---------------------------------------------------------------------------------------


def test_a_test_says_how_the_receiver_answered(operator: Api) -> None:
    with receiver(answer(200, body=b"pong")) as server, override_settings(WEBHOOK_ALLOW_PRIVATE=True):
        # Given a test that was asked for twice
        accepted = operator.post(WEBHOOK + "/test", {"url": server.url})
        assert accepted.status_code == 202
        assert operator.post(WEBHOOK + "/test", {"url": server.url}).json() == accepted.json()
        # When it has run
        run(accepted.json()["delivery_id"])
    # Then one event came, verified, and its way can be read
    (received,) = server.received
    said = Webhook(conf.webhook_policy().secrets[0]).verify(received.body, dict(received.headers))
    assert said["type"] == "webhook.test"
    found = operator.get(accepted.json()["delivery_url"]).json()
    assert (found["event"], found["state"], found["error"]) == ("webhook.test", "completed", None)
    assert found["webhook_id"] == received.headers["webhook-id"]
    assert (found["attempts"][0]["status_code"], found["attempts"][0]["response"]) == (200, "pong")


def test_a_test_that_fails_is_not_tried_again_and_says_why(operator: Api) -> None:
    with receiver(hang) as server, override_settings(WEBHOOK_ALLOW_PRIVATE=True):
        accepted = operator.post(WEBHOOK + "/test", {"url": server.url}).json()
        job = run(accepted["delivery_id"], deadline=0.3)
    assert job.state == State.COMPLETED
    found = operator.get(accepted["delivery_url"]).json()
    assert found["error"]["code"] == "callback_unreachable"
    assert found["attempts"][0]["status_code"] is None


def test_a_test_without_a_url_needs_an_endpoint(operator: Api) -> None:
    assert_problem(operator.post(WEBHOOK + "/test", {}), 409, "no_webhook")
    operator.post(WEBHOOK, {"url": HOOK}, method="PUT")
    # No body is one without fields; null is not, as the OpenAPI document says
    assert operator.post(WEBHOOK + "/test", b"").status_code == 202
    assert_problem(operator.post(WEBHOOK + "/test", b"null"), 400, "invalid_request")


# -- how it went, and once more ------------------------------------------------------------------


def test_each_attempt_is_told_and_a_delivered_event_can_be_sent_again_under_its_id(operator: Api) -> None:
    # Given a receiver that refuses once
    with receiver(answer(503, body=b"later"), answer(204)) as server:
        task_id = task_in(State.COMPLETED, callback_url=server.url)
        first = webhook_of(task_id)
        assert run(first.pk).state == State.RETRYING
        # When somebody does not want to wait
        again = operator.post(of_task(task_id, "webhook/redeliver")).json()
        # Then the same delivery is due at once
        assert again["delivery_id"] == str(first.pk)
        assert run(first.pk).state == State.COMPLETED
        # And when it is asked for once more, there is another delivery of the same event
        more = operator.post(of_task(task_id, "webhook/redeliver")).json()
        assert more["delivery_id"] != str(first.pk)
        assert operator.post(of_task(task_id, "webhook/redeliver")).json() == more
        run(more["delivery_id"])
    assert {got.headers["webhook-id"] for got in server.received} == {f"msg_{task_id.hex}_1_completed"}
    listed = operator.get(of_task(task_id, "webhook")).json()["deliveries"]
    assert [[attempt["status_code"] for attempt in one["attempts"]] for one in listed] == [[204], [503, 204]]
    assert listed[1]["attempts"][0]["response"] == "later"
    assert {one["webhook_id"] for one in listed} == {f"msg_{task_id.hex}_1_completed"}


def test_what_has_no_webhook_cannot_be_sent_again(operator: Api) -> None:
    assert_problem(operator.post(of_task(task_in(State.COMPLETED), "webhook/redeliver")), 409, "no_webhook")
    unfinished = task_in(State.PENDING, callback_url=HOOK)
    assert_problem(operator.post(of_task(unfinished, "webhook/redeliver")), 409, "no_webhook")


def test_gone_disables_the_address_for_its_tenant_until_it_is_set_again(
    operator: Api, make_api: Callable[..., Api]
) -> None:
    with receiver(answer(410)) as server, override_settings(WEBHOOK_ALLOW_PRIVATE=True):
        operator.post(WEBHOOK, {"url": server.url}, method="PUT")
        gone, next_one = task_in(State.COMPLETED), task_in(State.COMPLETED)
        # Given a receiver that answered 410
        assert (run(webhook_of(gone).pk).state, webhook_of(gone).error_code) == (State.FAILED, "receiver_gone")
        # Then the next event is not sent, and says why
        assert run(webhook_of(next_one).pk).error_code == "endpoint_disabled"
        assert len(server.received) == 1
        assert operator.get(WEBHOOK).json()["disabled_at"] is not None
        assert server.url not in str(DisabledEndpoint.objects.values())
        # And another tenant's events still go there
        make_api(tenant="acme").post(WEBHOOK, {"url": server.url}, method="PUT")
        theirs = task_in(State.COMPLETED, tenant="acme", r2_key="acme/a.txt")
        assert run(webhook_of(theirs).pk).error_code == "receiver_gone"
        # When it is set again
        operator.post(WEBHOOK, {"url": server.url}, method="PUT")
        operator.post(of_task(next_one, "webhook/redeliver"))
        run(webhook_of(next_one).pk)
        # Then it is tried again
        assert len(server.received) == 3


def test_a_name_that_leads_inside_reads_like_one_that_leads_nowhere(operator: Api) -> None:
    # Given two names, one of which a resolver of the network knows
    shown = []
    for address in (["10.0.0.7"], []):
        task_id = task_in(State.COMPLETED, callback_url="http://db.corp.example/hook")
        job = claimed(webhook_of(task_id).pk, actor="deliver_webhook")
        context = JobContext(id=job.id, queue=job.queue, actor=job.actor, attempt=1, run=1, failures=0, max_attempts=27)
        args = job.payload["args"]
        with pytest.raises(delivery.DocumentError) as caught:
            delivery.deliver(
                task_id=args[0], state=args[1], run=args[2], job=context, policy=WebhookPolicy(secrets=("whsec_aaaa",)),
                resolver=lambda host, port, found=address: found,
            )  # fmt: skip
        later = lifecycle.retry_later(job, delay=60, code=caught.value.code, message=str(caught.value))
        lifecycle.finish([later], worker_id=WORKER)
        attempt = operator.get(of_task(task_id, "webhook")).json()["deliveries"][0]["attempts"][0]
        status = operator.get(of_task(task_id, "status")).json()["webhook"]
        shown.append((status, {name: value for name, value in attempt.items() if name != "at"}))
    # Then the tenant sees no difference, and staff do
    assert shown[0] == shown[1]
    assert shown[0][0]["error"]["code"] == "callback_unresolved"
    details = list(WebhookAttempt.objects.order_by("pk").values_list("detail", flat=True))
    assert "10.0.0.7" in details[0]
    assert details[1] == "It has no address."


def test_answers_of_receivers_inside_are_not_shown(operator: Api) -> None:
    with receiver(answer(200, body=b"inner secrets")) as server, override_settings(WEBHOOK_ALLOW_PRIVATE=True):
        task_id = task_in(State.COMPLETED, callback_url=server.url)
        run(webhook_of(task_id).pk)
        assert "inner secrets" not in operator.get(of_task(task_id, "webhook")).content.decode()
    assert WebhookAttempt.objects.get().response_excerpt == "inner secrets"


def test_a_delivery_of_another_tenant_is_a_404(operator: Api, make_api: Callable[..., Api]) -> None:
    theirs = webhooks.send_test("acme", HOOK)
    assert_problem(operator.get(f"{WEBHOOK}/deliveries/{theirs}"), 404, "delivery_not_found")
    assert_problem(operator.get(f"{WEBHOOK}/deliveries/{task_in(State.PENDING)}"), 404, "delivery_not_found")
