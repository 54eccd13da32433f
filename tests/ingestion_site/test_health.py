"""The health checks tell a load balancer the truth about the database, and forgive a broker that is down."""

import pytest
import redis
from django.test import Client

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


def test_ready_while_the_broker_is_down(client: Client, db: None, settings: object, free_port: int) -> None:
    # Given a broker address that nobody listens on
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port}/0"  # type: ignore[attr-defined]  # pytest-django's proxy
    # When / Then: submissions are still accepted, so the service is ready
    response = client.get("/health/ready")
    assert (response.status_code, response.json()["broker"]) == (200, "unreachable")
