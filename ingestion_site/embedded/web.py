"""How the web server is started: shared by `manage.py up` and the benchmark, which must measure what is shipped."""

import os
import sys
from pathlib import Path

WEB_THREADS = 8
"""Requests that one web process handles at a time: they wait for the database, not for the processor."""


def web_command(host: str, port: int, application: str = "ingestion_site.wsgi:application") -> list[str]:
    """The command line of granian for a WSGI `application`."""
    # WSGI: measured 3 to 5 times the ASGI path for these views. Two processes at most: the rest is for workers.
    return [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", host, "--port", str(port),
        "--workers", str(min(2, os.cpu_count() or 1)), "--blocking-threads", str(WEB_THREADS),
        "--no-ws", "--log-config", str(Path(__file__).with_name("granian.json")), application,
    ]  # fmt: skip
