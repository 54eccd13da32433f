"""What is wrong right now, in one screen. Every figure leads to the rows behind it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.db import connection
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from queueadmin import display, inspection
from queueadmin.broker import get_ledger_broker
from queueadmin.inspection import BrokerHealth, Overview
from queueadmin.models import Job
from queueadmin.pages.base import url
from queueadmin.pages.failures import groups
from queueadmin.pages.throughput import UNITS, Ended, chart, last_hour, total
from queueadmin.panels import Figure, Part, more_figures, more_parts
from queueadmin.states import State
from queueadmin.timings import NO_TIMES, Times, Timings, timings

_SHOWN = (State.PENDING, State.SCHEDULED, State.PROCESSING, State.RETRYING, State.FAILED, State.DEAD_LETTER)
_COLUMNS = (State.PENDING, State.PROCESSING, State.RETRYING, State.DEAD_LETTER)
"""States that queues and actors have a column for."""
_GROUPS = 5
_GROUPS_OF = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A queue or an actor. `oldest` in seconds, of queues; `ended` within the last hour."""

    name: str
    cells: tuple[Figure, ...]
    """Open jobs in the states of `_COLUMNS`."""
    oldest: float | None
    ended: Ended
    ended_url: str
    failed_url: str
    times: Times


def overview(request: HttpRequest) -> dict[str, Any]:
    """Everything at this moment; `?chart=` chooses the chart's unit."""
    now = timezone.now()
    found = inspection.overview(get_ledger_broker().ready_sets)
    ended, measured = last_hour(now), timings()
    unit = request.GET.get("chart", "minute")
    unit = unit if unit in UNITS else "minute"
    return {
        "overview": found,
        "figures": [*_figures(found), *more_figures(found)],
        "paused": [queue.summary for queue in found.queues if queue.summary.is_paused],
        "unserved": [queue.summary.name for queue in found.queues if _is_unserved(queue.summary)],
        "parts": [_database(), _broker(found.broker), *more_parts()],
        "chart": chart(unit, now),
        "units": list(UNITS),
        "hour": total(ended.values()),
        "times": measured.all,
        "queues": _queues(found, ended, measured),
        "actors": _actors(found, ended, measured),
        "columns": [state.label for state in _COLUMNS],
        "groups": groups(since=now - _GROUPS_OF, now=now)[:_GROUPS],
        "is_new": not Job.objects.exists(),
    }


# -- figures -------------------------------------------------------------------------------------


def _figures(found: Overview) -> list[Figure]:
    counts = [(state, sum(queue.summary.counts[state] for queue in found.queues)) for state in _SHOWN]
    oldest = max((queue.summary.oldest_pending_seconds or 0.0 for queue in found.queues), default=0.0)
    alive = [worker for worker in found.workers if worker.state == "alive"]
    silent = sum(worker.is_silent for worker in found.workers)
    busy, threads = sum(worker.busy for worker in alive), sum(worker.threads for worker in alive)
    workers = url("workers")
    return [
        *(
            Figure(
                label=str(state.label), value=count, url=_jobs(f"state:{state}"),
                is_bad=state == State.DEAD_LETTER and count > 0,
            )
            for state, count in counts
        ),
        Figure(label="Oldest waiting", value=display.duration(oldest), url=_jobs("state:pending", _age(oldest))),
        Figure(label="Live workers", value=len(alive), url=workers, is_bad=not alive),
        Figure(label="Busy threads", value=f"{busy} of {threads}", url=workers),
        *([Figure(label="Silent workers", value=silent, url=workers, is_bad=True)] if silent else []),
    ]  # fmt: skip


def _is_unserved(queue: Any) -> bool:
    """Whether jobs wait that no worker will take."""
    return bool(queue.pending and not queue.workers and not queue.is_paused)


def _jobs(*terms: str) -> str:
    """The list of the jobs that a search finds."""
    return f"{reverse('admin:queueadmin_job_changelist')}?{urlencode({'q': ' '.join(terms)})}"


def _age(seconds: float) -> str:
    """Finds what has waited about that long: a job is at least as old as it has been due."""
    return (
        f"age>{int(seconds) - 1}s" if 1 <= seconds < _SPAN else f"age>{int(seconds // 3600)}h" if seconds else "age>0s"
    )


_SPAN = 999_999
"""The longest time in seconds that a search can be written with."""


# -- by queue and by actor -----------------------------------------------------------------------


def _queues(found: Overview, ended: Mapping[tuple[str, str], Ended], measured: Timings) -> list[Row]:
    known = {queue.summary.name: queue.summary for queue in found.queues}
    return [
        _row(
            "queue", name, known[name].counts if name in known else {},
            known[name].oldest_pending_seconds if name in known else None,
            total(part for (queue, _), part in ended.items() if queue == name),
            measured.queues.get(name, NO_TIMES),
        )
        for name in sorted({*known, *(queue for queue, _ in ended)})
    ]  # fmt: skip


def _actors(found: Overview, ended: Mapping[tuple[str, str], Ended], measured: Timings) -> list[Row]:
    names = sorted({*found.actors, *(actor for _, actor in ended)})
    return [
        _row(
            "actor", name, found.actors.get(name, {}), None,
            total(part for (_, actor), part in ended.items() if actor == name), measured.actors.get(name, NO_TIMES),
        )
        for name in names
    ]  # fmt: skip


def _row(
    kind: str, name: str, counts: Mapping[str, int], oldest: float | None, ended: Ended, times: Times
) -> Row:  # fmt: skip
    narrowed = f'{kind}:"{_quoted(name)}"'
    return Row(
        name=name,
        cells=tuple(
            Figure(
                label=str(state.label), value=counts.get(state, 0), url=_jobs(f"state:{state}", narrowed),
                is_bad=state == State.DEAD_LETTER and counts.get(state, 0) > 0,
            )
            for state in _COLUMNS
        ),
        oldest=oldest,
        ended=ended,
        ended_url=_jobs("state:completed,failed,dead_letter", narrowed, "finished>=1h"),
        failed_url=_jobs("state:failed,dead_letter", narrowed, "finished>=1h"),
        times=times,
    )  # fmt: skip


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


# -- what the service needs ----------------------------------------------------------------------


def _database() -> Part:
    """It has answered by the time this is shown; how long a round trip takes says more."""
    started = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    took = (time.perf_counter() - started) * 1000
    return Part(name="Database", is_up=True, detail=f"{connection.display_name}, {took:.1f} ms")


def _broker(health: BrokerHealth) -> Part:
    if not health.up or health.error:
        return Part(name="Broker", is_up=False, detail=health.error, url=url("truth"))
    return Part(name="Broker", is_up=True, detail=f"{health.server}, {health.latency_ms or 0:.1f} ms", url=url("truth"))
