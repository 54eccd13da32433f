"""The servers and processes of a measurement: durable PostgreSQL, Valkey, and commands with a clean environment."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import redis

from tests import servers

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "128MB"}
"""PostgreSQL's own defaults, which the servers of the tests turn off."""

_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH")


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Where the measured applications keep their data. `directory` is for files of this run."""

    redis_url: str
    database_url: str
    """Of the maintenance database: `database()` names the others on the same server."""
    directory: Path

    def database(self, name: str) -> str:
        return self.database_url.rpartition("/")[0] + "/" + name

    def create_database(self, name: str) -> str:
        """An empty database; returns its URL."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.database(name)

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis_url, socket_timeout=30)


@contextmanager
def started() -> Iterator[Servers]:
    """A Valkey and a durable PostgreSQL of this run's own, stopped and removed at the end."""
    with (
        TemporaryDirectory(prefix="ingestion-bench-") as directory,
        servers.ValkeyServer() as valkey,
        servers.PostgresServer(options=DURABLE) as postgres,
    ):
        yield Servers(redis_url=valkey.url, database_url=postgres.url(), directory=Path(directory))


def variables(**more: str) -> dict[str, str]:
    """A child's environment: nothing of the developer's own settings, so that they cannot change a number."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": str(servers.PROJECT_DIR), "PYTHONUNBUFFERED": "1", **more}


class Process(servers.Server):
    """A command of a contender. Does not wait for it: the measurement does, and asks `require_alive` meanwhile."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        super().__init__()
        self._command = command
        self._environment = environment

    def command(self) -> Sequence[str]:
        return self._command

    def environment(self) -> Mapping[str, str]:
        return self._environment

    def answers(self) -> bool:
        return True

    def require_alive(self) -> None:
        """Raises RuntimeError with the end of the output when the process has ended."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} exited with {self.process.returncode}:\n{self.output()[-2000:]}")

    def kill(self) -> None:
        """The whole session: a killed Dramatiq master would leave its workers behind."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(servers.STOP_SECONDS)


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def program(name: str, *arguments: str) -> list[str]:
    """A console script of this virtual environment."""
    return [str(Path(sys.executable).parent / name), *arguments]
