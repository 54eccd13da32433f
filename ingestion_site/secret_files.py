"""Secrets that the service makes for itself on the first start and keeps in the data directory."""

import base64
import contextlib
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path


def read_or_create(path: Path, make: Callable[[], str]) -> str:
    """Return the secret in `path`, made by `make` if the file does not exist yet (mode 0600).

    Several processes may start at once and must end with the same secret: the text is written to a file
    of its own and *linked* to `path`, which only one of them can do. (O_EXCL alone lets a second process
    read a file that is still empty.)

    Raises OSError when the directory cannot be written.
    """
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp: mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(make() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()
    return path.read_text().strip()


def new_secret_key() -> str:
    """A key for Django's signatures: 64 bytes of randomness."""
    return secrets.token_urlsafe(64)


def new_metrics_token() -> str:
    """What a scraper of /metrics shows: 32 bytes of randomness."""
    return secrets.token_urlsafe(32)


def new_webhook_secret() -> str:
    """A signing secret as Standard Webhooks writes it: `whsec_` and 32 random bytes in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(draft).replace(path)
