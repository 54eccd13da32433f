"""The API through its real web server: when Redis is away, and what Django's test client cannot send."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from documents.models import IngestionTask
from queueadmin.models import Job
from tests.documents.api.client import PROCESS, submission
from tests.documents.api.web import WebServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

LIMIT_SECONDS = 1.0


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:  # closed by the end of the test
                    return

        thread = threading.Thread(target=take)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in taken:
            connection.close()


@pytest.fixture
def start_web(service_environment: dict[str, str]) -> Iterator[Callable[..., WebServer]]:
    started: list[WebServer] = []

    def start(**variables: str) -> WebServer:
        started.append(WebServer({**service_environment, **variables}))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.close()


def post(client: httpx.Client, **fields: Any) -> tuple[int, float]:
    """Status and seconds of one submission."""
    began = time.monotonic()
    response = client.post(PROCESS, json=submission(**fields))
    return response.status_code, time.monotonic() - began


@pytest.mark.parametrize("redis_is", ["stopped", "hanging"])
def test_without_redis_a_submission_is_still_accepted_within_a_second(
    start_web: Callable[..., WebServer], make_key: Callable[..., Any], silent_port: int, free_port: int, redis_is: str
) -> None:
    # Given
    port = free_port if redis_is == "stopped" else silent_port
    key = make_key("submit").key
    web = start_web(REDIS_URL=f"redis://:password@127.0.0.1:{port}/0")
    # One client for all: making one takes longer than a submission.
    with httpx.Client(base_url=web.url, headers={"Authorization": f"Bearer {key}"}, timeout=20) as client:
        # When one comes alone, and then many at once
        answers = [post(client)]
        with ThreadPoolExecutor(8) as pool:
            answers += pool.map(lambda number: post(client, document_id=str(number)), range(24))
    # Then
    assert {status for status, _ in answers} == {202}
    assert max(seconds for _, seconds in answers) < LIMIT_SECONDS, answers
    # Then all of them wait in the ledger for the dispatcher to publish them
    assert IngestionTask.objects.count() == Job.objects.filter(state="pending").count() == 25


def test_hostile_headers_are_answered_with_a_documented_status(
    start_web: Callable[..., WebServer], make_key: Callable[..., Any]
) -> None:
    key, web = make_key("submit").key, start_web()
    for charset in ("hex", "rot13", "idna", "undefined", "unicode_escape", "utf-7", "nothing"):
        response = httpx.post(
            f"{web.url}{PROCESS}?a=%C3%BC%80",
            content=b"{}",
            headers={"Authorization": f"Bearer {key}", "Content-Type": f"application/json; charset={charset}"},
        )
        assert response.status_code == 400, charset
        assert response.json()["code"] == "invalid_request"
    many = httpx.get(
        f"{web.url}/api/documents/queue/stats?" + "a&" * 2000,
        headers={"Content-Type": "application/json; charset=utf-8"},
    )
    assert (many.status_code, many.json()["code"]) == (401, "unauthenticated")
    for host in ("evil.example", "a b", "", "[", "127.0.0.1:99999999"):
        response = httpx.get(f"{web.url}/api/documents/queue/stats", headers={"Host": host})
        assert response.status_code in (400, 401), (host, response.text)


def test_a_body_that_is_too_large_is_refused_and_the_connection_survives(
    start_web: Callable[..., WebServer], make_key: Callable[..., Any]
) -> None:
    key, web = make_key("submit").key, start_web()
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}) as client:
        response = client.post(
            web.url + PROCESS, content=b'"' + b"x" * 3_000_000, headers={"Content-Type": "application/json"}
        )
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
        assert client.post(web.url + PROCESS, json=submission()).status_code == 202
