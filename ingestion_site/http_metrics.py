"""Where the processes of one web server keep their HTTP metrics, so that any of them can show the sums.

prometheus_client decides when it is imported whether it counts in memory or in files that processes share
(PROMETHEUS_MULTIPROC_DIR): `prepare` has to come before that, and is called by wsgi.py alone, since workers and
commands answer no requests. The directory belongs to the processes with the same parent, such as granian's: counters
of a process that was replaced stay in the sums, and a new start begins at zero.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from queueadmin.presence import started

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = f"ingestion-http-metrics-{os.getuid()}-"


def prepare(temporary: Path | None = None) -> None:
    """Choose the directory, make it, and remove those of web servers that are gone. Nothing if it is chosen already,
    or if prometheus_client has begun to count in memory, as under `manage.py runserver`."""
    if os.environ.get(_VARIABLE) or "prometheus_client" in sys.modules:
        return
    parent, root = os.getppid(), temporary or Path(tempfile.gettempdir())
    path = root / f"{_PREFIX}{parent}-{started(parent) or 0}"
    _remove_stale(root)
    os.environ[_VARIABLE] = str(path if _make(path) else tempfile.mkdtemp(prefix=_PREFIX, dir=root))


def directory() -> str:
    """The directory of this web server, or "" when this process counts in memory."""
    return os.environ.get(_VARIABLE, "")


def _make(path: Path) -> bool:
    """Make the directory for its owner alone. False when somebody else has put something there."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _remove_stale(root: Path) -> None:
    for path in root.glob(f"{_PREFIX}*"):
        named = re.fullmatch(r"(\d+)-(\d+)", path.name.removeprefix(_PREFIX))
        if named and (started(int(named[1])) or "0") != named[2]:
            shutil.rmtree(path, ignore_errors=True)  # another process may be removing it, too
