"""The API's lists of tasks: how long the first page of each filter takes, and one that lies deep. Reads only."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection
from django.db.models import Count, Max, Min
from django.test.utils import CaptureQueriesContext
from rich.console import Console
from rich.table import Table

from documents import listing, selectors
from documents.api import bodies
from documents.listing import Position, Wanted
from documents.models import IngestionTask
from queueadmin.selectors import queues
from queueadmin.states import State

_DEPTH = 0.8
"""How far back the deep page lies, of the time that the tenant's tasks span."""
_MIDDLE_ID = UUID(int=2**127)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds (median), statements and tasks of one page."""

    ms: float
    queries: int
    tasks: int


def measure(*, rounds: int) -> None:
    """Print a line per filter, for the tenant with the most tasks."""
    counted = IngestionTask.objects.values("tenant").annotate(n=Count("pk")).order_by("-n")
    tenant = counted.values_list("tenant", flat=True)[0]
    deep = _deep(tenant)
    table = Table("filter", "first page, ms", "queries", "tasks", "deep page, ms", "queries", "tasks")
    for name, wanted in cases(tenant, deep).items():
        pages = [_timing(replace(wanted, after=after), rounds) for after in (None, deep)]
        table.add_row(
            name, *(text for page in pages for text in (f"{page.ms:.0f}", str(page.queries), str(page.tasks)))
        )
    console = Console(width=140)
    console.print(table)
    for what, ms in _others(tenant, rounds).items():
        console.print(f"{what}: {ms:.1f} ms", highlight=False)


def cases(tenant: str, deep: Position) -> dict[str, Wanted]:
    """What is asked for, by the name of its filter."""
    own = IngestionTask.objects.filter(tenant=tenant)
    user = own.values("user_id").annotate(n=Count("pk")).order_by("-n").values_list("user_id", flat=True)[0]
    document = own.order_by("created_at").values_list("document_id", flat=True)[0]
    batch = own.exclude(batch_id=None).values_list("batch_id", flat=True).first() or _MIDDLE_ID
    day = Wanted(tenant=tenant, created_from=deep.at, created_to=deep.at + timedelta(days=1))
    everything = Wanted(tenant=tenant)
    found = {"none": everything}
    found |= {f"state={state.value}": replace(everything, states=(state.value,)) for state in State}
    return found | {
        "error_code=not_found": replace(everything, error_code="not_found"),
        "error_code that nobody has": replace(everything, error_code="nobody"),
        "user_id": replace(everything, user_id=user),
        "user_id and state=cancelled": replace(everything, user_id=user, states=(State.CANCELLED.value,)),
        "user_id that nobody has": replace(everything, user_id="nobody"),
        "document_id": replace(everything, document_id=document),
        "batch_id": replace(everything, batch_id=batch),
        "a day": day,
        "a day and state=failed": replace(day, states=(State.FAILED.value,)),
        "another tenant's user_id": Wanted(tenant="nobody", user_id=user),
    }


def _deep(tenant: str) -> Position:
    span: dict[str, datetime] = IngestionTask.objects.filter(tenant=tenant).aggregate(
        first=Min("created_at"), last=Max("created_at")
    )
    return Position(at=span["last"] - _DEPTH * (span["last"] - span["first"]), id=_MIDDLE_ID)


def _timing(wanted: Wanted, rounds: int) -> Timing:
    with CaptureQueriesContext(connection) as queries:
        tasks = _page(wanted)
    return Timing(ms=_median(lambda: _page(wanted), rounds), queries=len(queries), tasks=tasks)


def _page(wanted: Wanted) -> int:
    """What the view does; returns how many tasks are on the page."""
    views = selectors.views(listing.page(wanted).ids)
    webhooks = selectors.webhook_jobs(views)
    return len([bodies.status(view, webhooks.get(view.job.id)) for view in views])


def _others(tenant: str, rounds: int) -> dict[str, float]:
    """The reads of one task, and the counts."""
    newest = IngestionTask.objects.filter(tenant=tenant).order_by("-created_at").values_list("pk", flat=True)[:1000]
    task_id = list(newest)[-1]
    return {
        "status of one task": _median(lambda: selectors.find_task(task_id, tenant=tenant), rounds),
        "events of one task": _median(lambda: selectors.events(task_id, tenant=tenant), rounds),
        "queue/stats of the tenant": _median(lambda: selectors.queue_stats(tenant=tenant), rounds),
        "queue/stats of all tenants": _median(lambda: selectors.queue_stats(tenant=None), rounds),
        "queues, the tenant's jobs": _median(lambda: queues(partition_key=tenant), rounds),
        "queues, all jobs": _median(queues, rounds),
    }


def _median(act: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        act()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)
