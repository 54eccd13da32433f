"""A whole service for each test: database, Valkey, a document store, and real workers when the test starts them."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
import redis

from tests.conftest import WorkerFactory
from tests.servers import S3Server

if TYPE_CHECKING:
    from tests.end_to_end.service import Service

QUICK = {
    "MIN_BACKOFF_SECONDS": "1", "MAX_BACKOFF_SECONDS": "1",
    "WEBHOOK_MIN_BACKOFF_SECONDS": "1", "WEBHOOK_MAX_BACKOFF_SECONDS": "1",
}  # fmt: skip


@pytest.fixture
def service(live_worker: WorkerFactory, valkey: redis.Redis, tmp_path: Path) -> Service:
    """A service on the directory store, in a data directory of its own; no worker runs yet."""
    from tests.end_to_end.service import Service  # models can be imported only now

    def put(key: str, content: bytes) -> None:
        path = tmp_path / "documents" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    variables = {"DATA_DIR": str(tmp_path), **QUICK}
    return Service(data_dir=tmp_path, start_worker=live_worker, put=put, variables=variables)


@pytest.fixture
def s3_service(live_worker: WorkerFactory, valkey: redis.Redis, tmp_path: Path, s3_server: S3Server) -> Service:
    """A service on a bucket of its own; results go there, too."""
    from tests.end_to_end.service import Service  # models can be imported only now

    client = boto3.client(
        "s3", endpoint_url=s3_server.url, region_name=s3_server.region,
        aws_access_key_id=s3_server.access_key_id, aws_secret_access_key=s3_server.secret_access_key,
    )  # fmt: skip
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)

    def put(key: str, content: bytes) -> None:
        client.put_object(Bucket=bucket, Key=key, Body=content)

    variables = {
        "DATA_DIR": str(tmp_path), "S3_ENDPOINT_URL": s3_server.url, "S3_BUCKET": bucket,
        "S3_REGION": s3_server.region, "S3_ACCESS_KEY_ID": s3_server.access_key_id,
        "S3_SECRET_ACCESS_KEY": s3_server.secret_access_key, **QUICK,
    }  # fmt: skip
    return Service(data_dir=tmp_path, start_worker=live_worker, put=put, variables=variables)
