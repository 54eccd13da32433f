"""The health checks tell a load balancer the truth about the database, and forgive a broker that is down."""

from collections.abc import Iterator
from dataclasses import replace

import dramatiq
import pytest
import redis
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from queueadmin import presence
from queueadmin.broker import LedgerRedisBroker
from queueadmin.conf import queue_settings
from queueadmin.models import WorkerProcess

pytestmark = pytest.mark.both_databases

QUEUES = ["control", "document_ingestion", "maintenance", "webhooks"]


@pytest.fixture
def broker_away(free_port: int) -> Iterator[None]:
    """The service's broker is at an address that nobody listens on."""
    before = dramatiq.get_broker()
    away = LedgerRedisBroker(settings=replace(queue_settings(), redis_url=f"redis://:hunter2@127.0.0.1:{free_port}/0"))
    dramatiq.set_broker(away)
    yield
    dramatiq.set_broker(before)
    away.close()


def a_worker(number: int, queues: list[str]) -> None:
    me = replace(presence.identify(number, name=f"w{number}"), id=number)
    presence.register(me, queues=queues, actors=["act"], threads=1)


def gone(*_: object) -> None:
    raise OperationalError("server at db.example.org closed the connection unexpectedly")


def test_live_needs_no_database(client: Client) -> None:
    # Given no database access at all (pytest-django forbids it in this test)
    # When / Then
    response = client.get("/health/live")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_ready_when_migrated_with_the_time_that_each_took(client: Client, db: None, valkey: redis.Redis) -> None:
    response = client.get("/health/ready")
    body = response.json()
    assert (response.status_code, body["status"]) == (200, "ok")
    for part in ("database", "broker"):
        assert body[part]["status"] == "ok"
        assert 0 < body[part]["latency_ms"] < 5_000


def test_what_is_migrated_is_looked_up_once(
    client: Client, db: None, valkey: redis.Redis, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    # Given a service that has said once that it is ready
    client.get("/health/ready")
    # When it is asked again / Then it asks the database for a sign of life only
    with django_assert_num_queries(1) as queries:
        assert client.get("/health/ready").status_code == 200
    assert queries.captured_queries[0]["sql"] == "SELECT 1"


@pytest.mark.parametrize("path", ["/health/ready", "/health/workers"])
def test_a_database_that_goes_away_later_is_noticed(client: Client, db: None, valkey: redis.Redis, path: str) -> None:
    # Given a service that was ready
    assert client.get("/health/ready").status_code == 200
    # When its database answers no more
    with connection.execute_wrapper(gone):
        response = client.get(path)
    # Then it says so, without the address
    body = response.json()
    assert (response.status_code, body["status"], body["database"]["status"]) == (503, "unavailable", "unavailable")
    assert body["database"]["reason"] == "The database does not answer: OperationalError."


def test_ready_while_the_broker_is_down(client: Client, db: None, broker_away: None) -> None:
    # When / Then: submissions are still accepted, so the service is ready, and says what is not
    response = client.get("/health/ready")
    body = response.json()
    assert (response.status_code, body["status"], body["broker"]["status"]) == (200, "ok", "unavailable")
    assert "Submissions are accepted" in body["broker"]["reason"]
    assert "hunter2" not in response.content.decode()


def test_every_queue_needs_a_live_worker(client: Client, db: None) -> None:
    # Given nobody
    response = client.get("/health/workers")
    assert response.status_code == 503
    assert response.json()["reason"] == f"No live worker takes jobs from: {', '.join(QUEUES)}."
    # Given workers of all queues but one
    a_worker(1, QUEUES[:3])
    a_worker(2, QUEUES[:2])
    body = client.get("/health/workers").json()
    assert body["queues"]["document_ingestion"] == {"status": "ok", "workers": 2}
    assert body["queues"]["webhooks"] == {"status": "unavailable", "workers": 0}
    assert body["reason"] == "No live worker takes jobs from: webhooks."
    # Given one for the last, too
    a_worker(3, QUEUES)
    response = client.get("/health/workers")
    assert (response.status_code, response.json()["status"]) == (200, "ok")
    # And one that falls silent does not count
    WorkerProcess.objects.filter(pk=3).update(beat_at="2026-01-01T00:00:00Z")
    assert client.get("/health/workers").status_code == 503
