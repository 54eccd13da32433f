"""Every page of the control plane: how long the server takes, and how many queries it makes.

The list comes from the URL table, so that a new page cannot be forgotten.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver
from rich.console import Console
from rich.table import Table

from documents.models import IngestionTask
from queueadmin.models import Job
from queueadmin.states import State

LIMIT_MS = 300.0
"""Server time, p95: what the control plane promises at a million rows."""

SEARCHES = (
    "", "state:dead_letter", "state:failed", "state:completed", "state:pending", "queue:webhooks", "tenant:umbrella",
    'error~"503"', "state:failed error:damaged age>2d", 'args~"invoice-99"', "attempt>2", "nothing-has-this-text",
)  # fmt: skip
"""Searches of the job list that are timed: what indexes find and what they do not."""

DOCUMENT_SEARCHES = (
    "state:failed",
    "file~report",
    "tenant:umbrella",
    "document:doc-0",
    'error~"503" age<2d',
    "invoice",
)
"""The same of the list of documents."""

QUESTIONS = {
    "control_bulk_new": "?operation=retry&q=state:dead_letter",
    "control_failures": "?span=week",
    "control_truth": "",
}
"""What some pages are asked."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    url: str
    status: int
    queries: int
    p50_ms: float
    p95_ms: float
    cpu_ms: float | None
    """Processor time of Django and of PostgreSQL's process together, on average: what a busy machine does not change.
    None where PostgreSQL is not on this machine."""


def measure(*, rounds: int) -> int:
    """Print a line per page; returns 1 when one is slower than the promise or fails."""
    client = Client()
    client.force_login(get_user_model().objects.get(username="root"))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Other processes of PostgreSQL would hide what a page costs.
            cursor.execute("SET max_parallel_workers_per_gather = 0")
    timings = [_timing(client, url, rounds) for url in urls()]
    _show(timings)
    return int(any(timing.p95_ms > LIMIT_MS or timing.status >= 400 for timing in timings))


def urls() -> Iterator[str]:
    """All pages that the ledger and the domain add to the admin, with a row of theirs where one is needed."""
    job = Job.objects.filter(state=State.DEAD_LETTER, fingerprint__gt="").order_by("pk").first()
    task = IngestionTask.objects.order_by("-pk").first()
    known: dict[str, Any] = {"queueadmin_job": job and job.pk, "documents_ingestiontask": task and task.pk}
    for route, name in _patterns(get_resolver().url_patterns, ""):
        app = name.split("_")[0]
        if app not in ("queueadmin", "documents", "control") and name != "index":
            continue
        if "<" not in route:
            yield f"/{route}{QUESTIONS.get(name, '')}"
            continue
        owner = name.rpartition("_")[0]
        if route.count("<") == 1 and "<path:object_id>" in route and known.get(owner):
            yield "/" + route.replace("<path:object_id>", str(known[owner]))
    for search in SEARCHES:
        yield "/admin/queueadmin/job/?q=" + quote(search)
    for search in DOCUMENT_SEARCHES:
        yield "/admin/documents/ingestiontask/?q=" + quote(search)


def _patterns(patterns: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern) and route.startswith("admin/") and _is_page(pattern.name or ""):
            yield route, pattern.name


def _is_page(name: str) -> bool:
    return bool(name) and not any(word in name for word in ("_add", "_delete", "_operate", "_history"))


def _timing(client: Client, url: str, rounds: int) -> Timing:
    status = client.get(url, follow=True).status_code  # the first, cold one is not timed
    with CaptureQueriesContext(connection) as queries:
        client.get(url, follow=True)
        count = len(queries)
    seconds = []
    before = _processor_ms()
    for _ in range(rounds):
        started = time.perf_counter()
        client.get(url, follow=True)
        seconds.append((time.perf_counter() - started) * 1000)
    after = _processor_ms()
    seconds.sort()
    return Timing(
        url=url, status=status, queries=count, p50_ms=statistics.median(seconds),
        p95_ms=seconds[min(len(seconds) - 1, int(len(seconds) * 0.95))],
        cpu_ms=None if before is None or after is None else (after - before) / rounds,
    )  # fmt: skip


def _processor_ms() -> float | None:
    """So far, by this process and by the one that serves its connection."""
    if connection.vendor != "postgresql":
        return None
    server = Path(f"/proc/{connection.connection.info.backend_pid}/stat")
    if not server.exists():
        return None
    user, system = server.read_text().rpartition(")")[2].split()[11:13]
    return time.process_time() * 1000 + (int(user) + int(system)) * 1000 / os.sysconf("SC_CLK_TCK")


def _show(timings: list[Timing]) -> None:
    title = (
        f"server time over {Job.objects.count():,} jobs, load {', '.join(f'{load:.1f}' for load in os.getloadavg())}"
    )
    table = Table("page", "status", "queries", "p50 ms", "p95 ms", "processor ms", title=title)
    for timing in sorted(timings, key=lambda timing: -timing.p95_ms):
        style = "red" if timing.p95_ms > LIMIT_MS or timing.status >= 400 else ""
        cpu = "-" if timing.cpu_ms is None else f"{timing.cpu_ms:.0f}"
        numbers = (str(timing.status), str(timing.queries), f"{timing.p50_ms:.0f}", f"{timing.p95_ms:.0f}", cpu)
        table.add_row(timing.url, *numbers, style=style)
    Console(width=140).print(table)
