"""The contract of a document store, and the download loop that every store shares."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from documents.exceptions import DocumentTooLarge, StorageUnavailable, TransferCancelled
from documents.storage.listing import StoredObject

CHUNK_BYTES = 256 * 1024

TransferProgress = Callable[[int, int | None], None]
"""Called with (bytes so far, expected bytes or None)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Downloaded:
    """A finished download: size in bytes and SHA-256 in hex."""

    bytes: int
    sha256: str


class DocumentStore(Protocol):
    """Read access to submitted documents by key."""

    def download(
        self,
        key: str,
        destination: Path,
        *,
        max_bytes: int,
        on_progress: TransferProgress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Downloaded:
        """Stream the document into `destination`, which exists only if the download succeeded.

        Raises InvalidKey, DocumentNotFound, DocumentTooLarge, StorageDenied, StorageUnavailable (retryable), or
        TransferCancelled once `cancelled()` is true.
        """

    def put(self, key: str, file: BinaryIO) -> None:
        """Store `file` under `key`, replacing what is there at once or not at all."""

    def delete(self, key: str) -> None:
        """Remove a document; harmless when there is none. Raises InvalidKey, StorageDenied, StorageUnavailable."""

    def stored(self, prefix: str) -> Iterator[StoredObject]:
        """List what lies below `prefix` (a path that ends with a slash), page by page; keys are those below it.

        Raises StorageUnavailable or StorageDenied.
        """

    def check(self) -> None:
        """Raise a StorageError if the store cannot be used now; for readiness checks."""


@dataclasses.dataclass(kw_only=True)
class Transfer:
    """One download: the limits it must keep and the checksum it builds."""

    max_bytes: int
    seconds: float
    on_progress: TransferProgress | None = None
    cancelled: Callable[[], bool] | None = None

    def receive(self, read: Callable[[int], bytes], destination: Path, *, expected: int | None) -> Downloaded:
        """Copy from `read` until it returns nothing.

        The limit holds for the bytes that were read; `expected` (bytes, from a header or a file's status) only
        refuses early, feeds the progress and unmasks a body that was cut off. Of a failed transfer nothing stays.
        """
        if expected is not None and expected > self.max_bytes:
            raise DocumentTooLarge(limit=self.max_bytes)
        try:
            with destination.open("wb") as file:
                return self._copy(read, file, expected)
        except BaseException:
            destination.unlink(missing_ok=True)
            raise

    def _copy(self, read: Callable[[int], bytes], file: BinaryIO, expected: int | None) -> Downloaded:
        digest, size, deadline = hashlib.sha256(), 0, time.monotonic() + self.seconds
        while True:
            if self.cancelled is not None and self.cancelled():
                raise TransferCancelled()
            chunk = read(CHUNK_BYTES)
            if not chunk:
                break
            size += len(chunk)
            if size > self.max_bytes:
                raise DocumentTooLarge(limit=self.max_bytes)
            digest.update(chunk)
            file.write(chunk)
            if self.on_progress is not None:
                self.on_progress(size, expected)
            if time.monotonic() > deadline:
                raise StorageUnavailable(f"The download took longer than {self.seconds:g} seconds.")
        if expected is not None and size != expected:
            raise StorageUnavailable(f"The download ended after {size:,} of {expected:,} bytes.")
        return Downloaded(bytes=size, sha256=digest.hexdigest())
