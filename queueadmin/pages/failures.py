"""Failures, grouped by what went wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, Min, Sum
from django.db.models.functions import TruncHour, TruncMinute
from django.http import HttpRequest
from django.utils import timezone

from queueadmin.models import FailureMinute, Job, JobEvent
from queueadmin.states import State

SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
_GROUPS = 50
_BARS = 24
_TENANTS = 5
_FAILED = ("retry_later", "fail", "bury")


@dataclass(frozen=True, kw_only=True)
class Group:
    """Failures of one kind within the span. `bars`: counts of its equal parts, oldest first, as heights of 0 to 100.

    `first_seen` is the first of all that are remembered (90 days), also before the span.
    """

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
    """The largest groups of failures since a moment: seven queries, whatever lies in the ledger."""
    rows = FailureMinute.objects.filter(minute__gte=since - timedelta(hours=1))  # old minutes are folded into hours
    largest = list(
        rows.values("fingerprint", "error_code", "actor")
        .annotate(n=Sum("count"), first=Min("minute"), last=Max("minute"), newest=Max("id"))
        .order_by("-n", "fingerprint")[:_GROUPS]
    )
    prints = [row["fingerprint"] for row in largest]
    newest = FailureMinute.objects.filter(pk__in=[row["newest"] for row in largest])
    examples = dict(newest.values_list("pk", "example_id"))
    messages = _messages(set(examples.values()))
    truncate = TruncMinute if now - since <= SPANS["hour"] else TruncHour
    parts: dict[_Kind, list[_Part]] = {}
    counted = rows.filter(fingerprint__in=prints).values_list(*_KIND, truncate("minute"), "partition_key")
    for *kind, minute, tenant, count in counted.annotate(n=Sum("count")).order_by():
        parts.setdefault(tuple(kind), []).append((minute, tenant, count))
    ever = FailureMinute.objects.filter(fingerprint__in=[value for value in prints if value]).values_list(*_KIND)
    first = {tuple(kind): minute for *kind, minute in ever.annotate(first=Min("minute")).order_by()}
    still_open = _open_jobs(prints)
    return [
        _group(
            dict(row), examples[row["newest"]], messages, parts.get(_kind(row), []),
            first.get(_kind(row), row["first"]), still_open.get(row["fingerprint"], 0), since, now,
        )
        for row in largest
    ]  # fmt: skip


_KIND = ("fingerprint", "error_code", "actor")
_Kind = tuple[str, ...]
_Part = tuple[datetime, str, int]
"""A minute or hour, whose jobs, how many failures."""


def _kind(row: Mapping[str, Any]) -> _Kind:
    return tuple(row[name] for name in _KIND)


def _messages(examples: Iterable[UUID]) -> dict[tuple[UUID, str], str]:
    """What the examples said, by job and error code: of their events, because a retried job has forgotten it."""
    jobs = Job.objects.filter(pk__in=examples).values_list("pk", "error_code", "error_message")
    found = {(job_id, code): message for job_id, code, message in jobs}
    events = JobEvent.objects.filter(job_id__in=examples, edge__in=_FAILED).order_by("id")
    for job_id, detail in events.values_list("job_id", "detail"):
        if isinstance(detail, dict) and detail.get("message"):
            found[(job_id, str(detail.get("code", "")))] = str(detail["message"])
    return found


def _open_jobs(prints: Iterable[str]) -> dict[str, int]:
    """Failed and dead-lettered jobs by fingerprint."""
    rows = Job.objects.filter(fingerprint__in=[value for value in prints if value])
    rows = rows.filter(state__in=[State.DEAD_LETTER, State.FAILED])
    return dict(rows.values_list("fingerprint").annotate(n=Count("*")).order_by())  # from the index alone


def _group(
    row: dict[str, Any], example: UUID, messages: dict[tuple[UUID, str], str], parts: list[_Part], first: datetime,
    open_now: int, since: datetime, now: datetime,
) -> Group:  # fmt: skip
    tenants = sorted({tenant for _, tenant, _ in parts if tenant})
    return Group(
        fingerprint=row["fingerprint"], code=row["error_code"], actor=row["actor"], count=row["n"],
        message=messages.get((example, row["error_code"]), ""), first_seen=first, last_seen=row["last"],
        example_id=example, tenants=tuple(tenants[:_TENANTS]), more_tenants=max(0, len(tenants) - _TENANTS),
        bars=_bars([(minute, count) for minute, _, count in parts], since, now), open_jobs=open_now,
    )  # fmt: skip


def _bars(counts: list[tuple[datetime, int]], since: datetime, now: datetime) -> tuple[int, ...]:
    """Counts over `_BARS` equal parts of the span, scaled so that the highest is 100."""
    width = (now - since) / _BARS
    bars = [0] * _BARS
    for minute, count in counts:
        bars[max(0, min(_BARS - 1, int((minute - since) / width)))] += count
    highest = max(bars) or 1
    return tuple(round(100 * bar / highest) for bar in bars)
