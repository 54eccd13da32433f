"""What documents need around the queue: an object store with a front, a receiver of webhooks, a web server."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tests import servers
from tests.faults.apps.submit import API_VARIABLE
from tests.faults.inbox import SECRET, Inbox
from tests.faults.proxy import Loop
from tests.faults.storefront import Storefront

BUCKET = "faults"
RESULT_PREFIX = ".ingestion-results"
METRICS_TOKEN = "a-token-of-the-harness"


@dataclass(frozen=True, kw_only=True)
class Site:
    """The surroundings of documents in one world. `web_port` is where the web server listens."""

    store: servers.S3Server
    front: Storefront
    inbox: Inbox
    web_port: int

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    def settings(self) -> dict[str, str]:
        """The service's variables: its way to the store leads through the front.

        Short waits between attempts, so that what is measured is the way back, not the patience that was configured;
        enough attempts to outlast a bad spell of the store.
        """
        return {
            "S3_ENDPOINT_URL": f"http://127.0.0.1:{self.front.port}",
            "S3_BUCKET": BUCKET,
            "S3_ACCESS_KEY_ID": servers.S3Server.access_key_id,
            "S3_SECRET_ACCESS_KEY": servers.S3Server.secret_access_key,
            "S3_REGION": servers.S3Server.region,
            "WEBHOOK_SECRET": SECRET,
            "WEBHOOK_ALLOW_PRIVATE": "true",
            "METRICS_TOKEN": METRICS_TOKEN,
            "MIN_BACKOFF_SECONDS": "1",
            "MAX_BACKOFF_SECONDS": "5",
            "MAX_ATTEMPTS": "20",
        }

    def api(self, key: str) -> dict[str, str]:
        """The variables of a client, which puts its documents past the front."""
        told = {"url": self.web_url, "key": key, "callback": self.inbox.url, "s3": self._access(), "bucket": BUCKET}
        return {API_VARIABLE: json.dumps(told)}

    def _access(self) -> dict[str, Any]:
        return {
            "endpoint_url": self.store.url, "region_name": servers.S3Server.region,
            "aws_access_key_id": servers.S3Server.access_key_id,
            "aws_secret_access_key": servers.S3Server.secret_access_key,
        }  # fmt: skip

    def result(self, key: str) -> bytes:
        """The stored result, read past the front; empty when it is not there."""
        try:
            found = self._client().get_object(Bucket=BUCKET, Key=f"{RESULT_PREFIX}/{key}")
            body: bytes = found["Body"].read()
        except (ClientError, BotoCoreError):
            return b""
        return body

    def make_bucket(self) -> None:
        self._client().create_bucket(Bucket=BUCKET)

    def _client(self) -> Any:
        return boto3.client("s3", **self._access())


@contextlib.contextmanager
def started(loop: Loop, *, seed: int) -> Iterator[Site]:
    """A site of its own with an empty bucket; the web server is the fleet's to start."""
    with servers.S3Server() as store:
        front = Storefront(loop, store.port, random.Random(f"{seed}:store")).start()
        inbox = Inbox(random.Random(f"{seed}:inbox"))
        try:
            site = Site(store=store, front=front, inbox=inbox, web_port=servers.free_port())
            site.make_bucket()
            yield site
        finally:
            front.close()
            inbox.close()
