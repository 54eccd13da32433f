"""Periodic jobs: what the dispatcher sends by itself, when it did so last, and when it will again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Max, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from dramatiq import get_broker

from queueadmin import audit, lookup
from queueadmin.models import JobMinute, Lease
from queueadmin.pages.base import url


@dataclass(frozen=True, kw_only=True)
class Periodic:
    """An actor with a period. `every` in seconds; `last` is the hour or minute in which it ended last."""

    actor: str
    queue: str
    every: float
    next_at: datetime | None
    last: datetime | None
    failed: int
    """Failed and dead-lettered runs of the last week."""
    is_live: bool
    """Whether one waits or runs now."""


def periodic(request: HttpRequest) -> dict[str, Any] | HttpResponse:
    """GET lists them; POST sends one now, unless one is under way."""
    if request.method == "POST":
        return _run_now(request)
    return {"rows": rows(), "may_run": request.user.has_perm("queueadmin.run_periodic")}


def rows() -> list[Periodic]:
    """Every periodic actor, by name."""
    actors = {name: actor for name, actor in get_broker().actors.items() if actor.options.get("every_seconds")}
    leases = dict(Lease.objects.filter(name__startswith="periodic:").values_list("name", "expires_at"))
    week = JobMinute.objects.filter(actor__in=actors, minute__gte=timezone.now() - timedelta(days=7))
    counted = week.values("actor").annotate(last=Max("minute"), a=Sum("failed"), b=Sum("dead_letter"))
    ended = {row["actor"]: row for row in counted}
    live = lookup.unique_key_holders([f"periodic:{name}" for name in actors])
    return [
        Periodic(
            actor=name, queue=actor.queue_name, every=float(actor.options["every_seconds"]),
            next_at=leases.get(f"periodic:{name}"[:64]), is_live=f"periodic:{name}" in live,
            last=ended[name]["last"] if name in ended else None,
            failed=ended[name]["a"] + ended[name]["b"] if name in ended else 0,
        )
        for name, actor in sorted(actors.items())
    ]  # fmt: skip


def _run_now(request: HttpRequest) -> HttpResponse:
    name = request.POST.get("actor", "")
    actor = get_broker().actors.get(name)
    if actor is None or not actor.options.get("every_seconds"):
        raise Http404("There is no such periodic job.")
    key = f"periodic:{name}"
    with audit.audited(
        "run now", name, 1, by=request.user.get_username(), source="admin", user=request.user, reason=""
    ) as log:
        with transaction.atomic():
            under_way = key in lookup.unique_key_holders([key])
            if not under_way:
                actor.send_with_options(unique_key=key)
        log.done = int(not under_way)
    if under_way:
        messages.warning(request, f"{name} is under way already.")
    else:
        messages.success(request, f"{name} is sent; its next regular run stays where it is.")
    return HttpResponseRedirect(url("periodic"))
