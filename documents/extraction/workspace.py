"""Directories that a stranger may write into: made private, emptied, removed, and read with care."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from documents.extraction.errors import ExtractorCrashed, TooLarge

TEXT_FILE, MARKDOWN_FILE, RESULT_FILE = "text.txt", "text.md", "result.json"
"""What a child writes into its output directory when it is long."""

EXIT_OUT_OF_MEMORY = 86
"""Exit code of a child that could not even report that it had no memory."""

OFFICE_PROFILES = ("profile", "profile-warm")
"""LibreOffice's profiles, in a child's work directory."""

_PREFIX = "extraction-"
_LEFTOVER_AGE_SECONDS = 60.0


def office_sockets(work_dir: Path) -> tuple[Path, ...]:
    """Return where LibreOffice puts its sockets: in /tmp whatever TMPDIR says, named after its profile.

    Landlock lets a child make a socket there and remove nothing, so the parent tidies up; after a kill nobody else
    would. The name is that of desktop/source/app/officeipcthread.cxx.
    """
    return tuple(_office_socket(work_dir / profile) for profile in OFFICE_PROFILES)


def _office_socket(profile: Path) -> Path:
    digest = hashlib.md5(profile.as_uri().encode("utf-16-le"), usedforsecurity=False).digest()
    name = "".join(f"{byte:x}" for byte in digest)  # as LibreOffice writes it: without leading zeros
    return Path("/tmp") / f"OSL_PIPE_{os.getuid()}_SingleOfficeIPC_{name}"  # noqa: S108  (its place, not our choice)


class PrivateRoot:
    """The directory that holds the children's directories, locked while its owner lives.

    A worker that was killed cannot tidy up; the next one knows the leftovers by their free locks.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(parent)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)).resolve()
        self._lock = _lock(self.path)
        self._pid = os.getpid()

    def remove(self) -> None:
        """Remove everything. Does nothing in a forked copy of the owner."""
        if os.getpid() == self._pid and self._lock is not None:
            remove_tree(self.path)
            os.close(self._lock)
            self._lock = None


def _lock(path: Path) -> int | None:
    """Lock a directory; None if another process holds it or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_leftovers(parent: Path) -> None:
    """Remove directories of dead owners. A fresh one may not be locked yet, hence the age (seconds)."""
    for path in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime < _LEFTOVER_AGE_SECONDS or path.stat().st_uid != os.geteuid():
                continue
            descriptor = _lock(path)
            if descriptor is not None:
                remove_tree(path)
                os.close(descriptor)


def empty_directory(path: Path) -> None:
    """Make `path` an empty directory of mode 0700, whatever was put there. Keeps a clean one: rmdir is slow."""
    with contextlib.suppress(OSError):
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode) and stat.S_IMODE(mode) == 0o700:
            for name in os.listdir(path):  # noqa: PTH208  # every document pays for it, three times
                try:
                    os.unlink(f"{path}/{name}")  # noqa: PTH108  # as above
                except OSError:
                    remove_tree(path / name)
            return
    remove_tree(path)
    path.mkdir(mode=0o700)


def remove_tree(path: Path) -> None:
    """Remove a directory tree, whatever permissions an archive gave to what it unpacked there.

    Never follows a link. What still cannot be removed stays; the next owner of the parent directory tries again.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        for directory, _, _ in os.walk(path):
            with contextlib.suppress(OSError):
                Path(directory).chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)


def read_capped(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes, following no link. Raises TooLarge or ExtractorCrashed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ExtractorCrashed("The extraction process wrote no result.") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ExtractorCrashed("The extraction process wrote no result.")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > limit:
            raise TooLarge()
        return file.read(limit)
