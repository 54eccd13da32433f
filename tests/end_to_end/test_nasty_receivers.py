"""Webhooks to receivers that do everything wrong, and a service that is restarted meanwhile: every event arrives."""

import base64
import socket
import threading
from collections import defaultdict
from collections.abc import Mapping

import pytest
from standardwebhooks.webhooks import Webhook

from documents import batches, services
from documents.batches import BatchRequest
from documents.models import WebhookAttempt
from queueadmin import operations
from queueadmin.models import Job
from queueadmin.states import TERMINAL
from tests.end_to_end.service import Service
from tests.receivers import Behaviour, Received, Receiver, answer, drip, hang, receiver, reset
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.mark.timeout(180)
def test_every_event_arrives_under_one_id_whatever_its_receiver_does(service: Service) -> None:
    # Given receivers of all bad kinds, one of which would send the events to another server inside
    well = threading.Event()
    with receiver() as inside:
        wrongs = {
            "/fails": answer(500),
            "/throttles": answer(429, headers={"Retry-After": "1"}),
            "/hangs": hang,
            "/drips": drip(b"HTTP/1.1 200 OK\r\nX-Slowly: "),
            "/redirects": answer(307, headers={"Location": inside.url}),
            "/resets": reset,
        }
        with receiver(_recovering(wrongs, well)) as server:
            # And events of all kinds, each for a receiver of its own
            expected = _make_events(service, f"http://127.0.0.1:{server.port}")
            variables = {"WEBHOOK_SECRET": SECRET, "WEBHOOK_ALLOW_PRIVATE": "true", "WEBHOOK_TIMEOUT_SECONDS": "2"}
            worker = service.worker(threads=4, **variables)
            # When each of them has been tried in vain
            wait_until(lambda: _paths(server) == set(wrongs), seconds=60, what="a first attempt at each receiver")
            # And the service is restarted, and the receivers are well again
            assert worker.stop(40) == 0
            well.set()
            service.worker(threads=4, **variables)
            wait_until(_all_have_ended, seconds=60, what="the webhooks to be delivered")
        # Then nobody went where the redirect led
        assert inside.connections == 0
    # And every receiver got its event, verified, again and again under the same id
    got = defaultdict(list)
    for received in server.received:
        said = Webhook(SECRET).verify(received.body, dict(received.headers))
        got[_path(received)].append((received.headers["webhook-id"], said["type"]))
    assert {path: said[0][1] for path, said in got.items()} == expected
    for path, said in got.items():
        assert len(said) >= 2, path
        assert len(set(said)) == 1, path
    assert len({said[0][0] for said in got.values()}) == len(expected)
    # And each delivery is completed, with its last attempt on record as taken
    webhooks = Job.objects.filter(queue="webhooks")
    assert {webhook.state for webhook in webhooks} == {"completed"}
    for webhook in webhooks:
        last = WebhookAttempt.objects.filter(job_id=webhook.pk).latest("pk")
        assert (last.attempt, last.status_code) == (webhook.attempt, 204)


def _make_events(service: Service, origin: str) -> dict[str, str]:
    """Tasks and a batch that end in every way; the type of event that each path is to get."""
    service.put("a.txt", b"hello")
    service.submit("a.txt", callback_url=f"{origin}/fails")
    service.submit("a.txt", callback_url=f"{origin}/hangs")
    service.submit("missing.txt", callback_url=f"{origin}/drips")
    cancelled = service.submit("a.txt", callback_url=f"{origin}/redirects")
    operations.cancel([cancelled], by="ann", source="test")
    service.submit("a.txt", callback_url=f"{origin}/throttles")
    document = services.SubmitRequest(
        tenant="default", document_id="d", user_id="u", file_name="a.txt", r2_key="a.txt", content_type="text/plain"
    )
    batches.submit(BatchRequest(tenant="default", documents=[(0, document)], callback_url=f"{origin}/resets"))
    return {
        "/fails": "task.completed", "/hangs": "task.completed", "/drips": "task.failed",
        "/redirects": "task.cancelled", "/throttles": "task.completed", "/resets": "batch.completed",
    }  # fmt: skip


def _recovering(wrongs: Mapping[str, Behaviour], well: threading.Event) -> Behaviour:
    """By the request's path: as in `wrongs`, and properly once all is well."""

    def behave(connection: socket.socket, received: Received, server: Receiver) -> None:
        behaviour = answer(204) if well.is_set() else wrongs[_path(received)]
        behaviour(connection, received, server)

    return behave


def _path(received: Received) -> str:
    return received.line.split(" ")[1]


def _paths(server: Receiver) -> set[str]:
    return {_path(received) for received in list(server.received)}


def _all_have_ended() -> bool:
    return not Job.objects.exclude(state__in=TERMINAL).exists()
