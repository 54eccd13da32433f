"""What has ended lately: sums by queue and actor, and a chart by minute, hour or day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Sum
from django.db.models.functions import TruncDay, TruncHour, TruncMinute
from django.urls import reverse
from django.utils import timezone

from queueadmin.models import JobMinute

WIDTH, HEIGHT = 720, 120
"""Of the chart, in units of its own; it is scaled to the page."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What a bar of the chart stands for. `label` is how the beginning of one is written."""

    name: str
    length: timedelta
    bars: int
    truncate: type[Any]
    label: str


UNITS = {
    unit.name: unit
    for unit in (
        Unit(name="minute", length=timedelta(minutes=1), bars=60, truncate=TruncMinute, label="%H:%M"),
        Unit(name="hour", length=timedelta(hours=1), bars=48, truncate=TruncHour, label="%a %H:%M"),
        Unit(name="day", length=timedelta(days=1), bars=30, truncate=TruncDay, label="%Y-%m-%d"),
    )
}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """Jobs that ended in some time, and attempts that were retried in it."""

    completed: int = 0
    failed: int = 0
    """For good: failed ones and dead letters."""
    retried: int = 0

    @property
    def jobs(self) -> int:
        return self.completed + self.failed

    @property
    def failure_percent(self) -> float | None:
        """None when nothing ended."""
        return 100 * self.failed / self.jobs if self.jobs else None

    def __add__(self, other: Ended) -> Ended:
        return Ended(
            completed=self.completed + other.completed,
            failed=self.failed + other.failed,
            retried=self.retried + other.retried,
        )


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One minute, hour or day. `top` is the completed part's upper edge, on top of which stands the failed part."""

    start: datetime
    ended: Ended
    label: str
    url: str
    failed_url: str
    x: float
    width: float
    top: float
    height: float
    failed_top: float
    failed_height: float


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Bars, oldest first. `most` is what the highest stands for."""

    unit: Unit
    bars: tuple[Bar, ...]
    most: int
    total: Ended

    @property
    def begins(self) -> str:
        return self.bars[0].label


def last_hour(now: datetime) -> dict[tuple[str, str], Ended]:
    """(queue, actor) -> what ended within the last 60 minutes."""
    rows = JobMinute.objects.filter(minute__gt=now - timedelta(hours=1)).values("queue", "actor")
    return {(row["queue"], row["actor"]): _ended(row) for row in rows.annotate(**_SUMS).order_by()}


def chart(name: str, now: datetime) -> Chart:
    """The last hour by minute, two days by hour, or thirty days by day: one query."""
    unit = UNITS[name]
    first = _start(unit, now) - (unit.bars - 1) * unit.length
    rows = JobMinute.objects.filter(minute__gte=first).annotate(start=unit.truncate("minute")).values("start")
    found = {row["start"]: _ended(row) for row in rows.annotate(**_SUMS).order_by()}
    counts = [(start, found.get(start, Ended())) for start in (first + n * unit.length for n in range(unit.bars))]
    most = max(ended.jobs for _, ended in counts)
    return Chart(
        unit=unit,
        bars=tuple(_bar(unit, place, start, ended, most) for place, (start, ended) in enumerate(counts)),
        most=most,
        total=total(ended for _, ended in counts),
    )


def total(parts: Iterable[Ended]) -> Ended:
    """All of it together."""
    return sum(parts, Ended())


_SUMS = {name: Sum(name) for name in ("completed", "failed", "dead_letter", "retried")}


def _ended(row: Mapping[str, Any]) -> Ended:
    return Ended(completed=row["completed"], failed=row["failed"] + row["dead_letter"], retried=row["retried"])


def _start(unit: Unit, moment: datetime) -> datetime:
    """The beginning of the minute, hour or day, in the time zone of the pages."""
    start = timezone.localtime(moment).replace(second=0, microsecond=0)
    if unit.name != "minute":
        start = start.replace(minute=0)
    return start.replace(hour=0) if unit.name == "day" else start


def _bar(unit: Unit, place: int, start: datetime, ended: Ended, most: int) -> Bar:
    room = WIDTH / unit.bars
    height, failed_height = _height(ended.completed, most), _height(ended.failed, most)
    return Bar(
        start=start, ended=ended, label=f"{timezone.localtime(start):{unit.label}}",
        url=_jobs(start, unit.length, "completed,failed,dead_letter"),
        failed_url=_jobs(start, unit.length, "failed,dead_letter"),
        x=round(place * room, 1), width=round(room * 0.85, 1), top=HEIGHT - height, height=height,
        failed_top=HEIGHT - height - failed_height, failed_height=failed_height,
    )  # fmt: skip


def _height(count: int, most: int) -> float:
    """In proportion, but what is not nothing is seen."""
    return max(1.0, round(count / most * (HEIGHT - 2), 1)) if count else 0.0


def _jobs(start: datetime, length: timedelta, states: str) -> str:
    """The list of the jobs that ended so in this time. What ended by then was created by then: that has an index."""
    begin, end = (f"{timezone.localtime(moment):%Y-%m-%dT%H:%M}" for moment in (start, start + length))
    search = f"state:{states} created<{end} finished>={begin} finished<{end}"
    return f"{reverse('admin:queueadmin_job_changelist')}?{urlencode({'q': search})}"
