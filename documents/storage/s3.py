"""Documents in S3, Cloudflare R2, MinIO or anything that speaks the protocol."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from documents.exceptions import DocumentNotFound, StorageDenied
from documents.storage.abandon import unless_cancelled
from documents.storage.base import Downloaded, Transfer, TransferProgress
from documents.storage.keys import normalise_key
from documents.storage.listing import StoredObject, objects_below

_READ_BYTES = 64 * 1024


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
        """Make a boto3 client. boto3 is imported here: a service without a bucket starts 0.2 s sooner."""
        from documents.storage import boto

        return boto.client(self)


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

    def errors(self) -> contextlib.AbstractContextManager[None]:
        """Turn what boto3 and urllib3 raise into our types."""
        from documents.storage import boto

        return boto.errors()


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
