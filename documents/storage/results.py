"""Results: where the extracted text goes. A place of its own that no document key can reach.

Each attempt of a task owns one object, <place>/<task id>/<attempt>. What is in it is `documents.rendering`'s affair.
One object instead of several, because each costs a flush to disk, or a request to S3, before a job may be completed.

The attempt in the key makes a late writer harmless: it can only ever overwrite its own attempt.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol, cast
from uuid import UUID

from documents.exceptions import DocumentNotFound, InvalidKey, ResultNotFound, StorageUnavailable
from documents.storage.directory import sync_directory
from documents.storage.listing import StoredObject, files_below, objects_below
from documents.storage.s3 import S3Bucket, S3Connection

_SPOOL_BYTES = 1024 * 1024
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True)
class Part:
    """`size` bytes of a stored object, from `start`. `name` tells them from other parts of the same object."""

    name: str
    start: int
    size: int
    content_type: str


class ResultStore(Protocol):
    """Stores, serves and removes results. `key` is "<task id>/<attempt>"."""

    def write(self, task_id: UUID, attempt: int, chunks: Iterable[bytes]) -> str:
        """Store the object and return its key. Writing the same attempt again replaces it, at once or not at all.

        Raises StorageUnavailable (retryable) or StorageDenied.
        """

    def open(self, key: str, *, start: int = 0) -> BinaryIO:
        """Open the object at byte `start` for streaming; the caller closes it.

        Raises ResultNotFound, StorageUnavailable.
        """

    def link(self, key: str, part: Part, *, seconds: int) -> str | None:
        """Return a URL at which whoever has it reads this part of the object, for so many seconds.

        None where a store cannot give one. Raises ResultNotFound, StorageUnavailable, StorageDenied.
        """

    def delete(self, task_id: UUID) -> int:
        """Remove all attempts of a task; return how many objects there were. Repeating it is harmless."""

    def stored(self) -> Iterator[StoredObject]:
        """List what is there, also what a writer left behind; keys begin with "<task id>/", a task's follow each other.

        Reads page by page. Raises StorageUnavailable or StorageDenied.
        """


def result_key(task_id: UUID, attempt: int) -> str:
    """Return the key of one attempt's result."""
    return f"{task_id}/{int(attempt)}"


def _parsed(key: str) -> tuple[UUID, int]:
    """Take a key apart; what does not look like one of ours is refused before it becomes a path."""
    task_id, slash, attempt = key.partition("/")
    try:
        parsed = UUID(task_id), int(attempt)
    except ValueError as error:
        raise InvalidKey("This is not the key of a result.") from error
    if not slash or result_key(*parsed) != key:
        raise InvalidKey("This is not the key of a result.")
    return parsed


class DirectoryResultStore:
    """Results below a directory: files named "<task id>.<attempt>", fanned out by the end of the task id.

    The end, because task ids are UUIDv7: they begin with the time, so prefixes would fill one directory after the
    other instead of all evenly. No directory for each task: making one costs as much as reading a small document.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._flushed: set[Path] = set()

    def write(self, task_id: UUID, attempt: int, chunks: Iterable[bytes]) -> str:
        """See ResultStore. File and name are on disk before this returns.

        The file is written under its own name, not renamed to it: nobody knows the key before the job is completed, and
        an attempt that died does not run again. On a journalling file system a rename between the two flushes costs a
        second commit of the journal.
        """
        target = self._path(task_id, attempt)
        with _file_errors(writing=True):
            try:
                self._write_new(target, chunks)
            except FileExistsError:
                staging = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
                self._write_new(staging, chunks)
                staging.replace(target)
            self._flush_names(target.parent)
        return result_key(task_id, attempt)

    def _write_new(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Write a file that was not there before, or nothing. Raises FileExistsError before it takes a chunk."""
        try:
            descriptor = os.open(path, _NEW, 0o600)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                path.parent.mkdir(parents=True)
            descriptor = os.open(path, _NEW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def open(self, key: str, *, start: int = 0) -> BinaryIO:
        """See ResultStore."""
        with _file_errors():
            file = self._path(*_parsed(key)).open("rb")
            file.seek(start)
            return file

    def link(self, key: str, part: Part, *, seconds: int) -> str | None:
        """See ResultStore: nobody serves this directory."""
        return None

    def delete(self, task_id: UUID) -> int:
        """See ResultStore."""
        count = 0
        with _file_errors():
            for path in self._fan_out(task_id).glob(f"{task_id}.*"):
                path.unlink(missing_ok=True)
                count += 1
        return count

    def stored(self) -> Iterator[StoredObject]:
        """See ResultStore."""
        for found in files_below(self.root):
            name = found.key.rpartition("/")[2]  # without the fan-out
            yield replace(found, key=name.replace(".", "/", 1))

    def _flush_names(self, fan_out: Path) -> None:
        """Flush the entry of a new file. The fan-out's directories stay for ever, so once a process is enough."""
        sync_directory(fan_out)
        if fan_out not in self._flushed:
            sync_directory(self.root)
            self._flushed.add(fan_out)

    def _fan_out(self, task_id: UUID) -> Path:
        return self.root / task_id.hex[-3:]

    def _path(self, task_id: UUID, attempt: int) -> Path:
        return self._fan_out(task_id) / f"{task_id}.{int(attempt)}"


@contextlib.contextmanager
def _file_errors(*, writing: bool = False) -> Iterator[None]:
    """Turn errors of the file system into ours. A path that is missing is no missing result to one who writes it."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError) and not writing:
            raise ResultNotFound() from error
        raise StorageUnavailable(
            "The result directory cannot be read or written; check disk and permissions."
        ) from error


class S3ResultStore:
    """Results in a bucket below `prefix`.

    If the bucket also holds documents, give the same prefix to `S3Store(reserved_prefixes=...)`.
    """

    def __init__(self, connection: S3Connection, *, prefix: str) -> None:
        if not prefix.strip("/"):
            raise ValueError("results need a key prefix of their own")
        self.prefix = prefix.strip("/") + "/"
        self._bucket = S3Bucket(connection)
        self._name = connection.bucket

    def write(self, task_id: UUID, attempt: int, chunks: Iterable[bytes]) -> str:
        """See ResultStore."""
        key = result_key(task_id, attempt)
        # Spooled to a file, since the protocol wants the length first and memory stays bounded.
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as file:
            file.writelines(chunks)
            file.seek(0)
            with self._bucket.errors():
                self._bucket.client.put_object(Bucket=self._name, Key=self.prefix + key, Body=file)
        return key

    def open(self, key: str, *, start: int = 0) -> BinaryIO:
        """See ResultStore."""
        name = self.prefix + result_key(*_parsed(key))
        wanted = {"Range": f"bytes={start}-"} if start else {}
        try:
            with self._bucket.errors():
                return cast(BinaryIO, self._bucket.client.get_object(Bucket=self._name, Key=name, **wanted)["Body"])
        except DocumentNotFound as error:
            raise ResultNotFound() from error

    def link(self, key: str, part: Part, *, seconds: int) -> str | None:
        """See ResultStore. The part becomes an object of its own, copied inside the bucket when it is first asked for.

        A signed Range header would need no copy, and no client that follows a redirect sends it.
        """
        source = self.prefix + result_key(*_parsed(key))
        target = f"{source}.{part.name}"
        try:
            with self._bucket.errors():
                if not self._has(target):
                    self._copy(source, target, part)
                url: str = self._bucket.client.generate_presigned_url(
                    "get_object", Params={"Bucket": self._name, "Key": target}, ExpiresIn=seconds
                )
                return url
        except DocumentNotFound as error:
            raise ResultNotFound() from error

    def _has(self, name: str) -> bool:
        found = self._bucket.client.list_objects_v2(Bucket=self._name, Prefix=name, MaxKeys=1)
        return any(item["Key"] == name for item in found.get("Contents", ()))

    def _copy(self, source: str, target: str, part: Part) -> None:
        """Copy bytes by the store itself: a multipart upload of one part, which may be of any size."""
        client, where = self._bucket.client, {"Bucket": self._name, "Key": target}
        upload = client.create_multipart_upload(**where, ContentType=part.content_type)["UploadId"]
        try:
            copied = client.upload_part_copy(
                **where,
                UploadId=upload,
                PartNumber=1,
                CopySource={"Bucket": self._name, "Key": source},
                CopySourceRange=f"bytes={part.start}-{part.start + part.size - 1}",
            )
            parts = [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}]
            client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
        except BaseException:
            client.abort_multipart_upload(**where, UploadId=upload)
            raise

    def delete(self, task_id: UUID) -> int:
        """See ResultStore."""
        count = 0
        with self._bucket.errors():
            pages = self._bucket.client.get_paginator("list_objects_v2").paginate(
                Bucket=self._name, Prefix=f"{self.prefix}{task_id}/"
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    # One by one: the bulk call needs an MD5 header that stores treat differently.
                    self._bucket.client.delete_object(Bucket=self._name, Key=found["Key"])
                    count += 1
        return count

    def stored(self) -> Iterator[StoredObject]:
        """See ResultStore."""
        return objects_below(self._bucket, self.prefix)
