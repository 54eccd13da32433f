"""How the web server is started: shared by `manage.py up` and the benchmark, which must measure what is shipped."""

import os
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

WEB_THREADS = 8
"""Requests that one web process works on at a time: they wait for the database, not for the processor."""

WEB_CONNECTIONS = WEB_THREADS + 2
"""Connections to PostgreSQL that one web process has at most."""

WAITERS = 72
"""Requests of one web process that wait for a task to change (`?wait=`): each has a thread, and nothing else."""

_KILL_SECONDS = 8
"""After which a web process that was told to stop and has not is killed; the supervisor waits for 10."""


def web_processes() -> int:
    """Two at most: the rest of the machine is for workers."""
    return min(2, os.cpu_count() or 1)


def web_command(host: str, port: int, application: str = "ingestion_site.wsgi:application") -> list[str]:
    """The command line of granian for a WSGI `application`."""
    # WSGI: measured 3 to 5 times the ASGI path for these views.
    return [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", host, "--port", str(port),
        "--workers", str(web_processes()), "--blocking-threads", str(WEB_THREADS + WAITERS),
        "--workers-kill-timeout", str(_KILL_SECONDS), "--no-ws",
        "--log-config", str(Path(__file__).with_name("granian.json")), application,
    ]  # fmt: skip


def spare_threads(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Threads that this web server has beyond those for requests that work: as many requests may wait.

    `command` is the process's own command line. What is no granian may have one thread for all requests: none.
    """
    if not any("granian" in part for part in command[:3]):
        return 0
    named = environment.get("GRANIAN_BLOCKING_THREADS", "")
    for option, value in pairwise(command):
        if option == "--blocking-threads":
            named = value
    return max(0, int(named) - WEB_THREADS) if named.isdecimal() else 0
