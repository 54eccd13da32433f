"""Documents in a directory: the default of a fresh installation. The key is a path below the root."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from documents.exceptions import DocumentNotFound, StorageDenied, StorageError, StorageUnavailable
from documents.storage.base import CHUNK_BYTES, Downloaded, Transfer, TransferProgress
from documents.storage.keys import normalise_key
from documents.storage.listing import StoredObject, files_below

_ABSENT = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EINVAL}
)
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class DirectoryStore:
    """Reads below `root` and nowhere else.

    Links inside the root work; one that leads out of it is "not found", as is anything that is not a regular file
    (a FIFO would block the worker for ever). `download_seconds` bounds one download, for roots on a network.
    """

    def __init__(self, root: Path, *, download_seconds: float = 600.0) -> None:
        self.root = root
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
        """See DocumentStore."""
        descriptor = self._open(normalise_key(key))
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise DocumentNotFound()
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            transfer = Transfer(
                max_bytes=max_bytes, seconds=self._seconds, on_progress=on_progress, cancelled=cancelled
            )

            def read(size: int) -> bytes:
                try:
                    return file.read(size)
                except OSError as error:
                    raise _translated(error) from error

            return transfer.receive(read, destination, expected=status.st_size)

    def _open(self, key: str) -> int:
        """Open the file behind `key` and return its descriptor.

        The path is walked part by part with O_NOFOLLOW from a descriptor of the root, which finds what lies there
        without links. Otherwise it is resolved and checked first, and then walked, so a link that is put in place
        between check and walk is refused as well.
        """
        with contextlib.suppress(OSError):  # a link, or nothing at all
            return _walk(self.root, key.split("/"))
        try:
            root = self.root.resolve(strict=True)
            resolved = (root / key).resolve(strict=True)
            if not resolved.is_relative_to(root) or resolved == root:
                raise DocumentNotFound()
            return _walk(root, resolved.relative_to(root).parts)
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
            raise _translated(error) from error

    def put(self, key: str, file: BinaryIO) -> None:
        """See DocumentStore. The file appears complete, by a rename, or not at all."""
        target = self.root / normalise_key(key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.parent.resolve().is_relative_to(self.root.resolve()):
                raise StorageDenied("The key leads out of the document directory.")
            write_atomically(target, file)
        except OSError as error:
            raise _translated(error) from error

    def delete(self, key: str) -> None:
        """See DocumentStore. Its directory goes too when it becomes empty."""
        path = self.root / normalise_key(key)
        try:
            if not path.parent.resolve().is_relative_to(self.root.resolve()):
                raise StorageDenied("The key leads out of the document directory.")
            path.unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise _translated(error) from error
        if path.parent != self.root:
            with contextlib.suppress(OSError):  # it is not empty
                path.parent.rmdir()

    def stored(self, prefix: str) -> Iterator[StoredObject]:
        """See DocumentStore."""
        return files_below(self.root / prefix)

    def check(self) -> None:
        """Raise a StorageError unless the root is a directory that can be listed."""
        try:
            with os.scandir(self.root):
                return
        except OSError as error:
            raise StorageUnavailable("The document directory cannot be read.") from error


def _walk(root: Path, parts: Sequence[str]) -> int:
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = below
        # O_NONBLOCK: opening a FIFO would otherwise wait for its writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(parts[-1], flags, dir_fd=at)
    finally:
        os.close(at)


def _translated(error: Exception) -> StorageError:
    """Map an error of the file system by its number. Messages hold no path."""
    number = getattr(error, "errno", None)
    if number in _ABSENT or isinstance(error, RuntimeError):
        return DocumentNotFound()
    if number in _REFUSED:
        return StorageDenied("The document directory does not let this service read or write the file.")
    return StorageUnavailable("The file could not be read or written; the disk or its network may be at fault.")


def write_atomically(target: Path, file: BinaryIO) -> None:
    """Write beside `target`, flush to disk, rename. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=".upload-", dir=target.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as copy:
            shutil.copyfileobj(file, copy, CHUNK_BYTES)
            copy.flush()
            os.fsync(copy.fileno())
        partial.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
    sync_directory(target.parent)


def sync_directory(path: Path) -> None:
    """Flush a directory's entries, so that a rename survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
