"""Checks that connect: each names what to change, and none of them runs unless it is asked for."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from django.core.checks import run_checks
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from pytest_django import DjangoAssertNumQueries

from queueadmin import server_checks
from queueadmin.broker import LedgerRedisBroker
from queueadmin.conf import queue_settings
from tests.queueadmin.test_rundramatiq import old_redis
from tests.servers import PROJECT_DIR

pytestmark = pytest.mark.django_db


def redis_messages(url: str) -> list[tuple[str | None, str]]:
    broker = LedgerRedisBroker(settings=replace(queue_settings(), redis_url=url))
    try:
        return [(found.id, f"{found.msg} {found.hint}") for found in server_checks.check_redis(broker.ready_sets)]
    finally:
        broker.close()


def test_servers_in_order_say_nothing(valkey: redis.Redis) -> None:
    assert run_checks(tags=["servers"], databases=["default"], include_deployment_checks=True) == []


def test_they_connect_only_when_asked_to(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """And `migrate`, which runs the checks of the database, is not stopped by the one that asks for it."""
    with django_assert_num_queries(0):
        run_checks(databases=["default"])


def test_an_empty_database_can_be_migrated_although_it_lacks_migrations(tmp_path: Path, free_port: int) -> None:
    # Given nothing at all: no database, no Redis
    nothing = {"DATA_DIR": str(tmp_path), "DATABASE_URL": "", "REDIS_URL": f"redis://127.0.0.1:{free_port}"}
    # When
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--plan"],
        cwd=PROJECT_DIR, env={**os.environ, **nothing}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    # Then no check stands in the way
    assert done.returncode == 0, done.stderr
    assert "queueadmin.0001_initial" in done.stdout


def test_a_redis_that_may_throw_keys_away_is_told_with_the_line_to_change(valkey: redis.Redis) -> None:
    valkey.config_set("maxmemory-policy", "allkeys-lru")
    try:
        ((number, text),) = redis_messages(queue_settings().redis_url)
    finally:
        valkey.config_set("maxmemory-policy", "noeviction")
    assert number == "queueadmin.W102"
    assert "allkeys-lru" in text
    assert "CONFIG SET maxmemory-policy noeviction" in text
    assert "redis.conf" in text


def test_a_redis_that_is_away_or_too_old(free_port: int) -> None:
    ((number, text),) = redis_messages(f"redis://:hunter2@127.0.0.1:{free_port}/0")
    assert number == "queueadmin.W101"
    assert "REDIS_URL" in text
    assert "hunter2" not in text
    with old_redis() as url:
        ((number, text),) = redis_messages(url)
    assert number == "queueadmin.E101"
    assert "6.2.14" in text


def test_missing_migrations_are_told_with_the_command() -> None:
    # Given a database that has not seen the last migration
    last = MigrationRecorder(connection).migration_qs.filter(app="documents").latest("pk")
    MigrationRecorder(connection).record_unapplied("documents", last.name)
    # When / Then
    (found,) = server_checks.check_migrations()
    assert (found.id, found.msg) == ("queueadmin.E102", "The database lacks 1 migration.")
    assert found.hint == "Run: manage.py migrate"
