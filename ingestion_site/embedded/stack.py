"""The processes of one machine: broker, web server, workers, as services for the supervisor."""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from django.conf import settings

from ingestion_site import embedded_state
from ingestion_site.embedded.supervisor import Service, Supervisor
from ingestion_site.embedded.valkey import EmbeddedValkey
from ingestion_site.embedded.web import web_command
from queueadmin import selectors

START_SECONDS = 60.0
"""Longest wait for a server's first answer; on a small machine Python alone takes seconds."""

DRAIN_SECONDS = 30.0
"""A worker releases its running jobs within 25 s of SIGTERM; a little more before SIGKILL."""


class CannotStart(Exception):
    """A part of the service did not come up; the message says which, why, and where its log is."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What to run, and where. `port` is a TCP port of `host`."""

    data_dir: Path
    host: str
    port: int
    processes: int
    threads: int

    @property
    def address(self) -> str:
        """The web server's URL as a browser on this machine writes it, without a slash at the end."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104  (compared, not bound)
        return f"http://{host}:{self.port}"

    def start_broker(self, supervisor: Supervisor) -> str:
        """Start the embedded Valkey, wait until it answers, tell later commands about it; returns its URL."""
        valkey = EmbeddedValkey.in_data_dir(self.data_dir)
        supervisor.start(self._service("valkey", valkey.command(), dict(os.environ)))
        self._wait(supervisor, "valkey", valkey.answers)
        embedded_state.publish(self.data_dir, redis_url=valkey.url)
        return valkey.url

    def start_web(self, supervisor: Supervisor, redis_url: str) -> None:
        """Start granian and wait until the service says that it is ready."""
        command = web_command(self.host, self.port)
        supervisor.start(self._service("web", command, self._environment(redis_url)))
        self._wait(supervisor, "web", self._web_is_ready)

    def start_workers(self, supervisor: Supervisor, redis_url: str) -> None:
        """Start one Dramatiq master per process, and wait for their first heartbeats.

        One process each, because a master takes all its processes down when one dies.
        """
        earlier = {worker.id for worker in selectors.workers(include_ended=True)}
        for number in range(1, self.processes + 1):
            command = [
                sys.executable, str(settings.BASE_DIR / "manage.py"), "rundramatiq",
                "--processes", "1", "--threads", str(self.threads),
            ]  # fmt: skip
            name = f"worker {number}"
            environment = {**self._environment(redis_url), "QUEUEADMIN_HOST_PROCESSES": str(self.processes)}
            supervisor.start(self._service(name, command, environment, DRAIN_SECONDS))
        self._wait(supervisor, "worker 1", lambda: self.processes <= len({w.id for w in selectors.workers()} - earlier))

    def _environment(self, redis_url: str) -> Mapping[str, str]:
        return {
            **os.environ,
            "DATA_DIR": str(self.data_dir),
            "REDIS_URL": redis_url,
            # Webhooks carry the result's URL: an absolute one, as far as we know the service's address.
            "PUBLIC_URL": settings.PUBLIC_URL or self.address,
            "DJANGO_SETTINGS_MODULE": "ingestion_site.settings",
            "PYTHONUNBUFFERED": "1",
        }

    def _service(
        self, name: str, command: list[str], environment: Mapping[str, str], stop_seconds: float = 10.0
    ) -> Service:
        return Service(
            name=name,
            command=command,
            environment=environment,
            directory=settings.BASE_DIR,
            log=self._log(name),
            stop_seconds=stop_seconds,
        )

    def _log(self, name: str) -> Path:
        return self.data_dir / "logs" / f"{name.replace(' ', '-')}.log"

    def _wait(self, supervisor: Supervisor, name: str, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        log = self._log(name)
        while not answers():
            if supervisor.deaths(name) >= 3 or time.monotonic() > deadline:
                raise CannotStart(f"{name} did not start. The end of its log, {log}:\n{_tail(log)}")
            time.sleep(0.05)

    def _web_is_ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.address}/health/ready", headers=host_header(), timeout=5).status_code == 200
        return False


def host_header() -> dict[str, str]:
    """The Host that this machine's own requests carry: one that ALLOWED_HOSTS allows."""
    local = {"localhost", "127.0.0.1", "*"}
    named = [host.removeprefix(".") for host in settings.ALLOWED_HOSTS if host not in local]
    return {"Host": named[0]} if named and not local & set(settings.ALLOWED_HOSTS) else {}


def port_for(host: str, port: int) -> int:
    """`port`, or a free one for 0. Raises CannotStart when it cannot be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
        except OSError as error:
            raise CannotStart(
                f"Port {port} of {host} cannot be used: {error.strerror}. Choose another one with --port, "
                'for example: make run ARGS="--port 8001"'
            ) from None
        return int(listener.getsockname()[1])


def _tail(log: Path, lines: int = 15) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return "(no log)"
