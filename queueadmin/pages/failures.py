"""Failures, grouped by what went wrong; and the dead letters, which nobody but a person removes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, Min, Sum
from django.db.models.functions import TruncHour, TruncMinute
from django.http import HttpRequest
from django.utils import timezone

from queueadmin import selectors
from queueadmin.models import FailureMinute, Job
from queueadmin.states import State

SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
_GROUPS = 50
_BARS = 24
_TENANTS = 5


@dataclass(frozen=True, kw_only=True)
class Group:
    """Failures of one kind within the span. `bars`: counts of its equal parts, oldest first, as heights of 0 to 100."""

    fingerprint: str
    code: str
    message: str
    actor: str
    count: int
    first_seen: datetime
    last_seen: datetime
    example_id: UUID
    tenants: tuple[str, ...]
    more_tenants: int
    bars: tuple[int, ...]
    open_jobs: int
    """Failed and dead-lettered jobs of this kind that are there now."""


def failures(request: HttpRequest) -> dict[str, Any]:
    """The groups of a span, the largest first."""
    name = request.GET.get("span", "day")
    span = name if name in SPANS else "day"
    since = timezone.now() - SPANS[span]
    return {"groups": groups(since=since, now=timezone.now()), "span": span, "spans": list(SPANS), "most": _GROUPS}


def groups(*, since: datetime, now: datetime) -> list[Group]:
    """The largest groups of failures since a moment: four queries, whatever lies in the ledger."""
    rows = FailureMinute.objects.filter(minute__gte=since - timedelta(hours=1))  # old minutes are folded into hours
    largest = list(
        rows.values("fingerprint", "error_code", "actor")
        .annotate(n=Sum("count"), first=Min("minute"), last=Max("minute"), newest=Max("id"))
        .order_by("-n", "fingerprint")[:_GROUPS]
    )
    prints = [row["fingerprint"] for row in largest]
    newest = FailureMinute.objects.filter(pk__in=[row["newest"] for row in largest])
    examples = dict(newest.values_list("pk", "example_id"))
    messages = dict(Job.objects.filter(pk__in=examples.values()).values_list("pk", "error_message"))
    truncate = TruncMinute if now - since <= SPANS["hour"] else TruncHour
    parts = list(
        rows.filter(fingerprint__in=prints)
        .values_list("fingerprint", truncate("minute"), "partition_key")
        .annotate(n=Sum("count"))
        .order_by()
    )
    still_open = _open_jobs(prints)
    return [
        _group(dict(row), examples[row["newest"]], messages, parts, still_open.get(row["fingerprint"], 0), since, now)
        for row in largest
    ]


def _open_jobs(prints: Iterable[str]) -> dict[str, int]:
    """Failed and dead-lettered jobs by fingerprint."""
    rows = Job.objects.filter(fingerprint__in=[value for value in prints if value])
    rows = rows.filter(state__in=[State.DEAD_LETTER, State.FAILED])
    return dict(rows.values_list("fingerprint").annotate(n=Count("*")).order_by())  # from the index alone


def _group(
    row: dict[str, Any], example: UUID, messages: dict[UUID, str], parts: list[tuple[str, datetime, str, int]],
    open_now: int, since: datetime, now: datetime,
) -> Group:  # fmt: skip
    own = [part for part in parts if part[0] == row["fingerprint"]]
    tenants = sorted({part[2] for part in own if part[2]})
    return Group(
        fingerprint=row["fingerprint"], code=row["error_code"], actor=row["actor"], count=row["n"],
        message=messages.get(example, ""), first_seen=row["first"], last_seen=row["last"], example_id=example,
        tenants=tuple(tenants[:_TENANTS]), more_tenants=max(0, len(tenants) - _TENANTS),
        bars=_bars([(part[1], part[3]) for part in own], since, now), open_jobs=open_now,
    )  # fmt: skip


def _bars(counts: list[tuple[datetime, int]], since: datetime, now: datetime) -> tuple[int, ...]:
    """Counts over `_BARS` equal parts of the span, scaled so that the highest is 100."""
    width = (now - since) / _BARS
    bars = [0] * _BARS
    for minute, count in counts:
        bars[max(0, min(_BARS - 1, int((minute - since) / width)))] += count
    highest = max(bars) or 1
    return tuple(round(100 * bar / highest) for bar in bars)


def dead_letters(request: HttpRequest) -> dict[str, Any]:
    """Dead letters by queue and kind, oldest first seen; the list itself is a search."""
    depths = selectors.open_depths()
    counts = [(queue, counts[State.DEAD_LETTER]) for queue, counts in depths.items() if counts[State.DEAD_LETTER]]
    oldest = (
        Job.objects.filter(state=State.DEAD_LETTER, cleaned_at=None).defer("payload", "result").order_by("finished_at")
    )
    return {"queues": counts, "total": sum(count for _, count in counts), "oldest": list(oldest[:_GROUPS])}
