"""What lies in a store, object by object: how the sweep finds what no task knows any more."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from documents.exceptions import StorageUnavailable

if TYPE_CHECKING:
    from documents.storage.s3 import S3Bucket


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One object: its key below the place that was listed, its size in bytes, and when it was written (UTC)."""

    key: str
    bytes: int
    modified: datetime


def files_below(root: Path) -> Iterator[StoredObject]:
    """Every file below `root`, directory by directory, in the order of names; links are not followed.

    What disappears while it is looked at is left out. Raises StorageUnavailable for a directory that cannot be read.
    """
    if not root.is_dir():
        return
    for directory, below, names in os.walk(root, onerror=_refuse):
        below.sort()
        for name in sorted(names):
            path = Path(directory) / name
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                modified = datetime.fromtimestamp(status.st_mtime, UTC)
                yield StoredObject(key=path.relative_to(root).as_posix(), bytes=status.st_size, modified=modified)


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise StorageUnavailable("A directory of the store cannot be read; check its permissions.") from error


def objects_below(bucket: S3Bucket, prefix: str, *, page_size: int = 1000) -> Iterator[StoredObject]:
    """Every object whose key begins with `prefix`, in pages (S3's largest by default), in the order of keys.

    Raises StorageUnavailable or StorageDenied.
    """
    asked = {"Bucket": bucket.connection.bucket, "Prefix": prefix, "MaxKeys": page_size}
    token: dict[str, str] = {}
    while True:
        with bucket.errors():
            page = bucket.client.list_objects_v2(**asked, **token)
        for found in page.get("Contents", ()):
            key = found["Key"].removeprefix(prefix)
            yield StoredObject(key=key, bytes=found["Size"], modified=found["LastModified"])
        if not page.get("IsTruncated"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}
