"""Results: where the extracted text goes. A place of its own that no document key can reach.

Each attempt of a task owns these objects:

    <place>/<task id>/<attempt>/text.txt       the plain text, UTF-8
    <place>/<task id>/<attempt>/text.md        the same with headings, lists and tables, where the engine knows them
    <place>/<task id>/<attempt>/record.json    all else: metadata, warnings, engines, and where each page ends

Text and Markdown are copies from disk to socket: no parsing, no memory, whatever the size. The JSON that the API serves
is put together from all three while it is sent (`documents.rendering`), so that the text is stored once. Compression
was left out for the same reason: plain bytes can be served to every client as they are.

The attempt in the key makes a late writer harmless: it can only ever overwrite its own attempt.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, cast
from uuid import UUID

from documents.exceptions import DocumentNotFound, InvalidKey, ResultNotFound, StorageUnavailable
from documents.storage.directory import sync_directory
from documents.storage.listing import StoredObject, files_below, objects_below
from documents.storage.s3 import S3Bucket, S3Connection

Part = Literal["text.txt", "text.md", "record.json"]
TEXT: Part = "text.txt"
MARKDOWN: Part = "text.md"
RECORD: Part = "record.json"

Parts = Iterable[tuple[Part, Iterable[bytes]]]
"""What is stored: each object, and its bytes piece by piece."""

_CONTENT_TYPES: dict[Part, str] = {
    TEXT: "text/plain; charset=utf-8",
    MARKDOWN: "text/markdown; charset=utf-8",
    RECORD: "application/json",
}

_SPOOL_BYTES = 1024 * 1024


class ResultStore(Protocol):
    """Stores, serves and removes results. `key` is "<task id>/<attempt>"."""

    def write(self, task_id: UUID, attempt: int, parts: Parts) -> str:
        """Store the objects and return the key. Writing the same attempt again replaces it.

        Raises StorageUnavailable (retryable) or StorageDenied.
        """

    def open(self, key: str, part: Part = TEXT) -> BinaryIO:
        """Open one object for streaming; the caller closes it. Raises ResultNotFound, StorageUnavailable."""

    def size(self, key: str, part: Part = TEXT) -> int:
        """Return an object's size in bytes, for Content-Length. Raises like `open`."""

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
    """Results below a directory, fanned out by the end of the task id.

    The end, because task ids are UUIDv7: they begin with the time, so prefixes would fill one directory after the
    other instead of all evenly.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, task_id: UUID, attempt: int, parts: Parts) -> str:
        """See ResultStore. All files are on disk before their directory gets its name."""
        task_dir = self._task_dir(task_id)
        with _file_errors():
            task_dir.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=task_dir))
            try:
                for part, chunks in parts:
                    _write_through(staging / part, chunks)
                sync_directory(staging)
                _replace_directory(staging, task_dir / str(int(attempt)))
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            for directory in (task_dir, task_dir.parent, self.root):
                sync_directory(directory)
        return result_key(task_id, attempt)

    def open(self, key: str, part: Part = TEXT) -> BinaryIO:
        """See ResultStore."""
        with _file_errors():
            return self._path(key, part).open("rb")

    def size(self, key: str, part: Part = TEXT) -> int:
        """See ResultStore."""
        with _file_errors():
            return self._path(key, part).stat().st_size

    def delete(self, task_id: UUID) -> int:
        """See ResultStore."""
        task_dir = self._task_dir(task_id)
        with _file_errors():
            count = sum(1 for path in task_dir.glob("*/*") if path.is_file())
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(task_dir)
            with contextlib.suppress(OSError):  # the fan-out directory still serves other tasks
                task_dir.parent.rmdir()
        return count

    def stored(self) -> Iterator[StoredObject]:
        """See ResultStore."""
        for found in files_below(self.root):
            yield replace(found, key=found.key.partition("/")[2])  # without the fan-out

    def _task_dir(self, task_id: UUID) -> Path:
        return self.root / task_id.hex[-2:] / str(task_id)

    def _path(self, key: str, part: Part) -> Path:
        task_id, attempt = _parsed(key)
        return self._task_dir(task_id) / str(attempt) / part


def _write_through(path: Path, chunks: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _replace_directory(staging: Path, target: Path) -> None:
    """Rename over `target`. rename(2) refuses a directory that is not empty, so an older one steps aside first."""
    try:
        staging.rename(target)
    except OSError:
        old = Path(tempfile.mkdtemp(prefix=".old-", dir=target.parent))
        target.rename(old / "result")
        staging.rename(target)
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _file_errors() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ResultNotFound() from error
    except OSError as error:
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

    def write(self, task_id: UUID, attempt: int, parts: Parts) -> str:
        """See ResultStore. The key is returned after all objects are stored; nobody knows it before."""
        key = result_key(task_id, attempt)
        for part, chunks in parts:
            # Spooled to a file, since the protocol wants the length first and memory stays bounded.
            with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as file:
                file.writelines(chunks)
                file.seek(0)
                with self._bucket.errors():
                    self._bucket.client.put_object(
                        Bucket=self._name,
                        Key=self.prefix + key + "/" + part,
                        Body=file,
                        ContentType=_CONTENT_TYPES[part],
                    )
        return key

    def open(self, key: str, part: Part = TEXT) -> BinaryIO:
        """See ResultStore."""
        return cast(BinaryIO, self._get("get_object", key, part)["Body"])

    def size(self, key: str, part: Part = TEXT) -> int:
        """See ResultStore."""
        return int(self._get("head_object", key, part)["ContentLength"])

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

    def _get(self, operation: str, key: str, part: Part) -> dict[str, Any]:
        task_id, attempt = _parsed(key)
        name = self.prefix + result_key(task_id, attempt) + "/" + part
        try:
            with self._bucket.errors():
                answer: dict[str, Any] = getattr(self._bucket.client, operation)(Bucket=self._name, Key=name)
                return answer
        except DocumentNotFound as error:
            raise ResultNotFound() from error
