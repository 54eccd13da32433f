"""`?wait=` through the real web server: prompt, also without Redis, and never at the expense of other requests."""

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest
from django.db import connection

from queueadmin import lifecycle
from tests.documents.api.client import PROCESS, of_task, submission
from tests.documents.api.tasks import WORKER, claimed, submitted
from tests.documents.api.web import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

WAITERS = 50
Asked = tuple[httpx.Response, float, float]
"""The answer, how long it took, and when it came."""


@pytest.fixture
def start_web(service_environment: dict[str, str], free_port: int) -> Iterator[Callable[..., WebServer]]:
    """A web server whose Redis is away: waiting has to work all the same."""
    started: list[WebServer] = []

    def start(**variables: str) -> WebServer:
        away = {"REDIS_URL": f"redis://127.0.0.1:{free_port}/0"}
        started.append(WebServer({**service_environment, **away, **variables}))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def client(make_key: Callable[..., object]) -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_connections=WAITERS + 20, max_keepalive_connections=WAITERS + 20)
    key = make_key().key  # type: ignore[attr-defined]  # an IssuedKey
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=60, limits=limits) as made:
        yield made


def ask(client: httpx.Client, web: WebServer, task_id: uuid.UUID, wait: int) -> Asked:
    began = time.monotonic()
    response = client.get(f"{web.url}{of_task(task_id, 'status')}?wait={wait}")
    return response, time.monotonic() - began, time.monotonic()


@pytest.mark.both_databases
def test_fifty_waiting_requests_learn_of_the_end_at_once_and_submissions_go_on_beside_them(
    start_web: Callable[..., WebServer], client: httpx.Client
) -> None:
    # Given a task at work that fifty requests wait for
    web = start_web()
    task_id = submitted()
    job = claimed(task_id)
    with ThreadPoolExecutor(WAITERS) as pool:
        waiting: list[Future[Asked]] = [pool.submit(ask, client, web, task_id, 30) for _ in range(WAITERS)]
        time.sleep(2)  # for all of them to have arrived
        assert not any(future.done() for future in waiting)
        # When other requests come meanwhile, they are answered as ever
        began = time.monotonic()
        assert [client.post(web.url + PROCESS, json=submission()).status_code for _ in range(10)] == [202] * 10
        assert time.monotonic() - began < 10
        if connection.vendor == "postgresql":
            assert sessions() <= 12
        # When the task ends
        lifecycle.finish([lifecycle.complete(job, result={"key": "x"})], worker_id=WORKER)
        ended = time.monotonic()
        answers = [future.result(timeout=30) for future in waiting]
    # Then all learn of it soon; `make bench ONLY=waiting` measures how soon
    assert {response.json()["status"] for response, _, _ in answers} == {"completed"}
    assert max(at for _, _, at in answers) - ended < 5.0
    # And when nothing can change any more, nobody waits; when nothing does, the answer comes in time
    response, seconds, _ = ask(client, web, task_id, 30)
    assert response.json()["status"] == "completed"
    assert seconds < 10
    response, seconds, _ = ask(client, web, submitted(), 1)
    assert (response.json()["status"], response.headers["Retry-After"]) == ("pending", "2")
    assert 0.9 <= seconds < 10


def sessions() -> int:
    """Connections to this database, without our own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


def test_waiting_requests_do_not_hold_up_a_restart(start_web: Callable[..., WebServer], client: httpx.Client) -> None:
    # Given a request that would wait for a minute
    web, task_id = start_web(), submitted()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, client, web, task_id, 60)
        time.sleep(2)
        # When the server is told to stop
        began = time.monotonic()
        web.close()
        # Then it stops soon, and the request has its answer
        assert time.monotonic() - began < 10
        response, seconds, _ = waiting.result(timeout=10)
    assert (response.status_code, response.json()["status"]) == (200, "pending")
    assert seconds < 30


def test_who_finds_no_place_is_answered_at_once_with_a_time_to_come_back(api: object) -> None:
    # Given a process that has no thread to spare, as any but granian's
    began = time.monotonic()
    response = api.get(f"{of_task(submitted(), 'status')}?wait=60")  # type: ignore[attr-defined]  # an Api
    assert time.monotonic() - began < 30
    assert (response.status_code, response.json()["status"], response.headers["Retry-After"]) == (200, "pending", "2")


@pytest.mark.parametrize("wait", ["-1", "61", "x", "1.5", "", "9" * 5000])
def test_what_is_no_time_to_wait_is_refused(api: object, wait: str) -> None:
    response = api.get(f"{of_task(submitted(), 'status')}?wait={wait}")  # type: ignore[attr-defined]  # an Api
    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["wait"]
