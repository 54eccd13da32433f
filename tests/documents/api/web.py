"""The service's web server as it is deployed: granian, in a process of its own."""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence

import httpx

from ingestion_site.embedded.web import WAITERS, WEB_THREADS
from tests.servers import Server, free_port


class WebServer(Server):
    """`variables` are put over this process's environment."""

    name = "web"

    def __init__(self, variables: Mapping[str, str], *, workers: int = 1) -> None:
        super().__init__()
        self.port = free_port()
        self.variables = variables
        self.workers = workers

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        return [
            sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", str(self.workers), "--blocking-threads", str(WEB_THREADS + WAITERS), "--no-ws",
            "ingestion_site.wsgi:application",
        ]  # fmt: skip

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, **self.variables}

    def answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/health/live", timeout=2).status_code == 200
        return False
