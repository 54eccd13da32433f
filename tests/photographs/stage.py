"""What stands before the camera: PostgreSQL, Valkey, the web server that is shipped, and worker hosts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from ingestion_site.embedded.web import web_command
from tests.photographs.release import VARIABLE
from tests.servers import PROJECT_DIR, PostgresServer, Server, ValkeyServer, free_port

USER, PASSWORD = "root", "seeded-password"
SETTINGS = "tests.photographs.release.settings"


class Web(Server):
    """The web server as `manage.py up` starts it."""

    name = "web"

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.variables = variables

    def command(self) -> Sequence[str]:
        return web_command("127.0.0.1", self.port)

    def environment(self) -> Mapping[str, str]:
        return self.variables

    def answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200
        return False


class Worker(Server):
    """A worker host with one release of the application."""

    start_seconds = 120.0

    def __init__(self, name: str, release: str, variables: Mapping[str, str]) -> None:
        self.name = name
        super().__init__()
        self.variables = {**variables, VARIABLE: release}

    def command(self) -> Sequence[str]:
        return [
            sys.executable, "manage.py", "rundramatiq", "--processes", "1", "--threads", "4",
            "--worker-id", self.name,
        ]  # fmt: skip

    def environment(self) -> Mapping[str, str]:
        return self.variables

    def answers(self) -> bool:
        return "is ready for action" in self.output()


class Stage(contextlib.ExitStack):
    """Servers of its own, which end with it."""

    def __enter__(self) -> Stage:
        super().__enter__()
        directory = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="photographs-")))
        (directory / "empty.env").touch()
        self.database = self.enter_context(PostgresServer()).url()
        valkey = self.enter_context(ValkeyServer())
        self.variables = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "ENV_FILE": str(directory / "empty.env"), "DATA_DIR": str(directory / "data"),
            "DATABASE_URL": self.database, "REDIS_URL": valkey.url, "DJANGO_SETTINGS_MODULE": SETTINGS,
            "SECRET_KEY": "a-picture" * 6, "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        }  # fmt: skip
        return self

    def run(self, *command: str) -> str:
        """Run a Python command to its end; what it said."""
        return subprocess.run(
            [sys.executable, *command],
            cwd=PROJECT_DIR,
            env=self.variables,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    def web(self) -> str:
        """Start the web server; where it is."""
        return self.enter_context(Web(self.variables)).url

    def worker(self, name: str, release: str) -> Worker:
        return self.enter_context(Worker(name, release, self.variables))
