"""While Redis hangs (it accepts, and never answers), the web server answers everything within its time-out."""

import itertools
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import dramatiq
import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import NoReverseMatch, URLPattern, URLResolver, get_resolver, reverse

from documents import api_keys
from queueadmin.broker import LedgerRedisBroker
from queueadmin.conf import queue_settings
from queueadmin.models import Job, QueueControl
from queueadmin.states import State
from tests.documents.api.client import PROCESS, Api, of_task, submission
from tests.queueadmin.factories import job_in

pytestmark = pytest.mark.django_db(transaction=True)

METRICS = "/metrics"
ALLOWED_SECONDS = 2.0
"""Redis may cost a request its time-out of 0.5 s, perhaps twice; the rest is for a busy machine."""


@pytest.fixture
def hanging(transactional_db: None) -> Iterator[Callable[[], None]]:
    """The service's broker at a server that hangs. Called, it makes the broker anew: one that does not know of it yet,
    as in a process that just started, or when its circuit breaker tries again."""
    before = dramatiq.get_broker()
    made: list[LedgerRedisBroker] = []
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"

        def renew() -> None:
            broker = LedgerRedisBroker(settings=replace(queue_settings(), redis_url=url))
            broker.actors.update(before.actors)
            made.append(broker)
            dramatiq.set_broker(broker)

        renew()
        yield renew
        dramatiq.set_broker(before)
        for broker in made:
            broker.close()


@pytest.fixture
def api(transactional_db: None) -> Api:
    return Api(api_keys.issue("test", scopes=("submit", "read", "operate")).key)


def names(patterns: list[URLPattern | URLResolver], space: str = "") -> Iterator[str]:
    """Of all pages, with their namespaces."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from names(pattern.url_patterns, f"{space}{pattern.namespace}:" if pattern.namespace else space)
        elif pattern.name:
            yield space + pattern.name


def pages() -> list[str]:
    """The addresses of all pages that need no argument, but for signing out."""
    found = set()
    for name in names(get_resolver().url_patterns):
        try:
            found.add(reverse(name))
        except NoReverseMatch:
            continue
    return sorted(path for path in found if "logout" not in path)


def test_every_page_answers(hanging: Callable[[], None], api: Api) -> None:
    # Given jobs in every state, and somebody who may see everything
    for state in State:
        job_in(state)
    QueueControl.objects.create(queue="q")
    client = Client(raise_request_exception=False)
    client.force_login(get_user_model().objects.create_superuser("root"))
    job = Job.objects.filter(state=State.PENDING).get().pk
    # When each page is asked for / Then it comes in time, and without an error
    slow, wrong = {}, {}
    for path in [*pages(), METRICS, reverse("admin:queueadmin_job_change", args=[job])]:
        headers = {"Authorization": f"Bearer {settings.METRICS_TOKEN}"} if path == METRICS else api.headers
        for _ in range(2):  # the first time may be the machine's fault, or an import's
            hanging()
            began = time.monotonic()
            response = client.get(path, headers=headers)
            took = time.monotonic() - began
            if took < ALLOWED_SECONDS:
                break
        else:
            slow[path] = round(took, 1)
        if response.status_code >= 500 and path != "/health/workers":  # there are none
            wrong[path] = response.status_code
    assert (slow, wrong) == ({}, {})
    assert {"/admin/queueadmin/job/", "/health/ready", "/api/documents/queue/stats"} <= set(pages())


def test_a_task_is_submitted_cancelled_and_retried(hanging: Callable[[], None], api: Api) -> None:
    numbers = itertools.count()

    def timely(path: str, body: object = None) -> tuple[int, dict[str, str]]:
        hanging()
        began = time.monotonic()
        response = api.post(path, body, **{"Idempotency-Key": f"key-{next(numbers)}"})
        assert time.monotonic() - began < 2 * ALLOWED_SECONDS, path
        return response.status_code, response.json()

    # Given nothing but a Redis that hangs
    # When a task is submitted, cancelled, and queued again
    status, body = timely(PROCESS, submission())
    task = uuid.UUID(body["task_id"])
    # Then each is done in time
    assert status == 202
    assert timely(of_task(task, "cancel"))[0] == 202
    assert Job.objects.get(pk=task).state == State.CANCELLED
    assert timely(of_task(task, "retry"))[0] == 202
    assert Job.objects.get(pk=task).state == State.PENDING
