"""Documents in S3, Cloudflare R2, MinIO or anything that speaks the protocol."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import boto3
import urllib3.exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from documents.exceptions import DocumentNotFound, StorageDenied, StorageError, StorageUnavailable
from documents.storage.abandon import unless_cancelled
from documents.storage.base import Downloaded, Transfer, TransferProgress
from documents.storage.keys import normalise_key
from documents.storage.listing import StoredObject, objects_below

_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
_READ_BYTES = 64 * 1024
_session_lock = threading.Lock()


@functools.cache
def _session() -> Any:
    """One session for all stores: each new one would read boto3's service descriptions again (0.1 s).

    Sessions are not thread-safe while they make clients, hence the lock around their use; clients are.
    """
    return boto3.session.Session()


@dataclasses.dataclass(frozen=True, kw_only=True)
class S3Connection:
    """How to reach a bucket. Time-outs in seconds; `attempts` includes the first one.

    Few attempts on purpose: the queue retries with backoff, where a person can see it. Secrets stay out of repr().
    """

    bucket: str
    endpoint_url: str = ""
    region: str = ""
    access_key_id: str = dataclasses.field(default="", repr=False)
    secret_access_key: str = dataclasses.field(default="", repr=False)
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    attempts: int = 2

    def client(self) -> Any:
        """Make a boto3 client. Without keys, boto3's own chain finds them (environment, instance role)."""
        with _session_lock:
            return self._client(_session())

    def _client(self, session: Any) -> Any:
        return session.client(
            "s3",
            endpoint_url=self.endpoint_url or None,
            region_name=self.region or "auto" if self.endpoint_url else self.region or None,
            aws_access_key_id=self.access_key_id or None,
            aws_secret_access_key=self.secret_access_key or None,
            config=Config(
                connect_timeout=self.connect_seconds,
                read_timeout=self.read_seconds,
                retries={"total_max_attempts": self.attempts, "mode": "standard"},
                max_pool_connections=32,
                tcp_keepalive=True,
                # Stores at an endpoint of their own rarely have a host name for each bucket.
                s3={"addressing_style": "path" if self.endpoint_url else "auto"},
                # The optional checksums of 2025 are unknown to R2, MinIO and others.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


class S3Bucket:
    """A lazily made, thread-safe client (boto3's clients are) and the translation of its errors."""

    def __init__(self, connection: S3Connection) -> None:
        self.connection = connection
        self._lock = threading.Lock()
        self._client: Any = None

    @property
    def client(self) -> Any:
        """The client; made at first use, because making one reads boto3's data files for 50 ms."""
        with self._lock:
            if self._client is None:
                self._client = self.connection.client()
            return self._client

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what boto3 and urllib3 raise into our types."""
        try:
            yield
        except ClientError as error:
            raise _translated(error) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StorageDenied("No credentials for the object store are configured.") from error
        except (BotoCoreError, urllib3.exceptions.HTTPError, OSError) as error:
            raise StorageUnavailable(f"The object store did not answer properly ({type(error).__name__}).") from error


class S3Store:
    """Documents in a bucket, by key.

    `reserved_prefixes` are invisible: results kept in the same bucket cannot be submitted as documents.
    `download_seconds` bounds one download as a whole; a body that trickles passes every read time-out.
    """

    def __init__(
        self,
        connection: S3Connection,
        *,
        reserved_prefixes: tuple[str, ...] = (),
        download_seconds: float = 600.0,
    ) -> None:
        self._bucket = S3Bucket(connection)
        self._name = connection.bucket
        self._reserved = tuple(prefix.strip("/") + "/" for prefix in reserved_prefixes)
        self._seconds = download_seconds

    def download(
        self,
        key: str,
        destination: Path,
        *,
        max_bytes: int,
        on_progress: TransferProgress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Downloaded:
        """See DocumentStore. A store that does not answer delays a cancellation by a quarter of a second."""
        if normalise_key(key).startswith(self._reserved):
            raise DocumentNotFound()
        transfer = Transfer(max_bytes=max_bytes, seconds=self._seconds, on_progress=on_progress, cancelled=cancelled)
        receive = partial(self._receive, key, destination, transfer)
        if cancelled is None:
            return receive()
        return unless_cancelled(receive, cancelled=cancelled, late=partial(destination.unlink, missing_ok=True))

    def _receive(self, key: str, destination: Path, transfer: Transfer) -> Downloaded:
        with self._bucket.errors():
            answer = self._bucket.client.get_object(Bucket=self._name, Key=key)
        body = answer["Body"]
        try:
            return transfer.receive(
                lambda size: self._read(body, size), destination, expected=answer.get("ContentLength")
            )
        finally:
            # Closing drops the connection of an unfinished body instead of reading the rest of it.
            body.close()

    def _read(self, body: Any, size: int) -> bytes:
        """Read what has arrived, at most `size` bytes.

        `read1` of the urllib3 response inside returns after one receive. StreamingBody itself only offers `read`,
        which waits for the whole chunk, so that neither deadline nor cancellation would be looked at while a slow
        store trickles; it stays the way out should botocore hide its response elsewhere.
        """
        read = getattr(getattr(body, "_raw_stream", None), "read1", body.read)
        with self._bucket.errors():
            data: bytes = read(min(size, _READ_BYTES))
            return data

    def put(self, key: str, file: BinaryIO) -> None:
        """See DocumentStore."""
        if normalise_key(key).startswith(self._reserved):
            raise StorageDenied("Keys below this prefix are reserved.")
        with self._bucket.errors():
            self._bucket.client.upload_fileobj(file, self._name, key)

    def delete(self, key: str) -> None:
        """See DocumentStore."""
        if normalise_key(key).startswith(self._reserved):
            raise StorageDenied("Keys below this prefix are reserved.")
        with self._bucket.errors():
            self._bucket.client.delete_object(Bucket=self._name, Key=key)

    def stored(self, prefix: str) -> Iterator[StoredObject]:
        """See DocumentStore."""
        return objects_below(self._bucket, prefix)

    def check(self) -> None:
        """Ask for the bucket's existence."""
        with self._bucket.errors():
            self._bucket.client.head_bucket(Bucket=self._name)


def _translated(error: ClientError) -> StorageError:
    """Map an answer of the store: by its code where that is more exact, else by the HTTP status."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchBucket":
        return StorageDenied("The configured bucket does not exist. Check S3_BUCKET.")
    if code == "InvalidObjectState":
        return StorageDenied("The document is archived. Restore it in the object store, then retry the task.")
    if code in _ABSENT:
        return DocumentNotFound()
    if status == 429 or status >= 500 or code in ("SlowDown", "RequestTimeout", "RequestTimeTooSkewed"):
        return StorageUnavailable(f"The object store answered {status or code}.")
    if status in (401, 403):
        return StorageDenied()
    if status == 404:
        return DocumentNotFound()
    return StorageUnavailable(f"The object store answered {status} {code}.".replace("  ", " "))
