"""Periodic jobs: which actors have a period, when each ran last and is due next, and which are paused. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, Sum
from django.utils import timezone
from dramatiq import Actor, get_broker

from queueadmin import lookup
from queueadmin.models import JobMinute, Lease, PeriodicControl


def periodic_actors() -> dict[str, Actor[Any, Any]]:
    """Actors with a period, by name."""
    return {name: actor for name, actor in sorted(get_broker().actors.items()) if actor.options.get("every_seconds")}


@dataclass(frozen=True, kw_only=True)
class Periodic:
    """An actor with a period. `every` in seconds; `last` is the hour or minute in which it ended last."""

    actor: str
    queue: str
    every: float
    next_at: datetime | None
    """When it is due by its period, also while it is paused."""
    last: datetime | None
    failed: int
    """Failed and dead-lettered runs of the last week."""
    is_live: bool
    """Whether one waits or runs now."""
    paused_at: datetime | None = None
    paused_by: str = ""
    reason: str = ""


def rows() -> list[Periodic]:
    """Every periodic actor, by name: four queries, however many there are."""
    actors = periodic_actors()
    leases = dict(Lease.objects.filter(name__startswith="periodic:").values_list("name", "expires_at"))
    week = JobMinute.objects.filter(actor__in=actors, minute__gte=timezone.now() - timedelta(days=7))
    counted = week.values("actor").annotate(last=Max("minute"), a=Sum("failed"), b=Sum("dead_letter"))
    ended = {row["actor"]: row for row in counted}
    paused = {control.actor: control for control in PeriodicControl.objects.all()}
    live = lookup.unique_key_holders([f"periodic:{name}" for name in actors])
    return [
        Periodic(
            actor=name, queue=actor.queue_name, every=float(actor.options["every_seconds"]),
            next_at=leases.get(f"periodic:{name}"[:64]), is_live=f"periodic:{name}" in live,
            last=ended[name]["last"] if name in ended else None,
            failed=ended[name]["a"] + ended[name]["b"] if name in ended else 0,
            paused_at=paused[name].paused_at if name in paused else None,
            paused_by=paused[name].paused_by if name in paused else "",
            reason=paused[name].reason if name in paused else "",
        )
        for name, actor in actors.items()
    ]  # fmt: skip
