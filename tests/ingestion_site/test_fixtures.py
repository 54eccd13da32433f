"""The test servers keep what they promise; a fixture that lies makes every test a liar."""

import psycopg
import pytest
import redis
from django.db import connection

from tests.conftest import WorkerFactory
from tests.processes import alive, family
from tests.servers import S3Server, ValkeyServer


@pytest.mark.both_databases
def test_the_database_is_the_one_that_was_asked_for(db: None, database_kind: str) -> None:
    assert connection.vendor == database_kind


@pytest.mark.both_databases
def test_another_connection_sees_what_a_transactional_test_committed(
    transactional_db: None, service_environment: dict[str, str]
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_migrations")
        count = cursor.fetchone()[0]
    if connection.vendor == "postgresql":
        with psycopg.connect(service_environment["DATABASE_URL"]) as other:
            row = other.execute("SELECT count(*) FROM django_migrations").fetchone()
            assert row == (count,)
            assert other.info.server_version >= 180_000
    else:
        assert service_environment["DATABASE_URL"].endswith("test.sqlite3")


def test_valkey_is_empty_for_every_test(valkey: redis.Redis) -> None:
    assert valkey.dbsize() == 0
    valkey.set("left", "behind")


def test_valkey_is_empty_for_every_test_again(valkey: redis.Redis) -> None:
    assert valkey.dbsize() == 0


def test_a_valkey_of_ones_own_keeps_its_data_over_a_crash() -> None:
    with ValkeyServer(appendonly=True) as server:
        with server.client() as client:
            client.config_set("appendfsync", "always")
            client.set("a", "1")
        server.kill()
        server.start()
        with server.client() as client:
            assert client.get("a") == b"1"


def test_s3_answers(s3_server: S3Server) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=s3_server.url,
        region_name=s3_server.region,
        aws_access_key_id=s3_server.access_key_id,
        aws_secret_access_key=s3_server.secret_access_key,
    )
    client.create_bucket(Bucket="fixture")
    client.put_object(Bucket="fixture", Key="a", Body=b"1")
    assert client.get_object(Bucket="fixture", Key="a")["Body"].read() == b"1"
    client.close()


@pytest.mark.both_databases
def test_a_live_worker_starts_and_leaves_nobody_behind(live_worker: WorkerFactory) -> None:
    worker = live_worker(threads=1)
    pids = family(worker.pid)
    assert len(pids) >= 2  # the master and its process
    assert worker.stop(25) == 0
    assert alive(pids) == []
