"""Webhooks from a real worker to a real receiver."""

import base64

import pytest
from standardwebhooks.webhooks import Webhook

from documents.models import WebhookAttempt
from queueadmin.models import Job
from tests.end_to_end.service import Service
from tests.receivers import answer, receiver
from tests.servers import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def test_the_end_of_a_task_is_announced_until_the_receiver_takes_it(service: Service) -> None:
    # Given a receiver that is out of order at first
    service.put("a.txt", b"hello")
    with receiver(answer(503), answer(204)) as server:
        task = service.submit("a.txt", callback_url=server.url)
        # When a worker has done the task
        service.worker(WEBHOOK_SECRET=SECRET, WEBHOOK_ALLOW_PRIVATE="true")
        service.one(task)
        webhook = Job.objects.get(parent_id=task)
        service.one(webhook.pk)
    # Then the event came twice, verified, under one id
    events = [Webhook(SECRET).verify(got.body, dict(got.headers)) for got in server.received]
    assert [event["type"] for event in events] == ["task.completed", "task.completed"]
    assert len({got.headers["webhook-id"] for got in server.received}) == 1
    assert events[0]["data"]["task_id"] == str(task)
    assert "hello" not in server.received[0].body.decode()
    # And both attempts are on record
    attempts = WebhookAttempt.objects.filter(task_id=task).order_by("attempt")
    assert list(attempts.values_list("attempt", "status_code")) == [(1, 503), (2, 204)]


def test_a_private_receiver_gets_nothing_unless_it_is_allowed_and_the_task_does_not_mind(service: Service) -> None:
    with receiver() as server:
        task = service.submit("missing.txt", callback_url=server.url)
        service.worker(WEBHOOK_SECRET=SECRET)
        assert service.one(task).error_code == "not_found"
        wait_until(lambda: Job.objects.filter(parent_id=task).exists(), what="the webhook")
        webhook = service.one(Job.objects.get(parent_id=task).pk)
        assert (webhook.state, webhook.error_code) == ("failed", "callback_refused")
        assert server.connections == 0
    assert Job.objects.get(pk=task).state == "failed"
