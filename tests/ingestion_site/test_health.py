"""The health checks tell a load balancer the truth about the database, and forgive a broker that is down."""

import pytest
import redis
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

pytestmark = pytest.mark.both_databases


def test_live_needs_no_database(client: Client) -> None:
    # Given no database access at all (pytest-django forbids it in this test)
    # When / Then
    response = client.get("/health/live")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_ready_when_migrated(client: Client, db: None, valkey: redis.Redis) -> None:
    response = client.get("/health/ready")
    assert (response.status_code, response.json()) == (
        200,
        {"status": "ok", "database": "ok", "broker": "ok"},
    )


def test_what_is_migrated_is_looked_up_once(
    client: Client, db: None, valkey: redis.Redis, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    # Given a service that has said once that it is ready
    client.get("/health/ready")
    # When it is asked again / Then it asks the database for a sign of life only
    with django_assert_num_queries(1) as queries:
        assert client.get("/health/ready").status_code == 200
    assert queries.captured_queries[0]["sql"] == "SELECT 1"


def test_a_database_that_goes_away_later_is_noticed(client: Client, db: None, valkey: redis.Redis) -> None:
    # Given a service that was ready
    assert client.get("/health/ready").json()["database"] == "ok"

    # When its database answers no more
    def gone(*_: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with connection.execute_wrapper(gone):
        response = client.get("/health/ready")
    # Then
    assert (response.status_code, response.json()["database"]) == (503, "unreachable")


def test_ready_while_the_broker_is_down(client: Client, db: None, settings: object, free_port: int) -> None:
    # Given a broker address that nobody listens on
    away = {"REDIS_URL": f"redis://127.0.0.1:{free_port}/0"}
    settings.QUEUEADMIN = {**settings.QUEUEADMIN, **away}  # type: ignore[attr-defined]  # pytest-django's proxy
    # When / Then: submissions are still accepted, so the service is ready
    response = client.get("/health/ready")
    assert (response.status_code, response.json()["broker"]) == (200, "unreachable")
