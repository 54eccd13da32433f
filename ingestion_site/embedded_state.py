"""What a running `manage.py up` tells other processes on the machine: where its embedded Valkey listens.

The file holds the broker's password, so only its owner can read it.
"""

import contextlib
import json
from pathlib import Path

from ingestion_site import secret_files

FILE_NAME = "embedded.json"


def redis_url(data_dir: Path) -> str:
    """The embedded broker's URL, or "" when `up` has not started one on this data directory."""
    with contextlib.suppress(OSError, ValueError):
        state = json.loads((data_dir / FILE_NAME).read_text())
        if isinstance(state, dict):
            return str(state.get("redis_url") or "")
    return ""


def publish(data_dir: Path, *, redis_url: str) -> None:
    """Tell every later process where the embedded broker is."""
    secret_files.write_private(data_dir / FILE_NAME, json.dumps({"redis_url": redis_url}))
