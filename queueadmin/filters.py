"""Filters of the admin's job lists, each answered from an index, and a paginator that never counts everything.

A filter on what has no index (queue, actor) looks at the last seven days only, and says so in its
title: ids begin with their time, so that a span of time is a range of the primary key. Together with
a state it looks at all current jobs of that state, which have an index.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from dramatiq import get_broker

from queueadmin import display, selectors
from queueadmin.ids import first_id_at
from queueadmin.states import TERMINAL, State

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator  # generic in the stubs only

WINDOW = timedelta(days=7)
"""How far back a search without an index looks."""

_SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30)}


def since(span: timedelta) -> Q:
    """Rows created within the last `span`."""
    return Q(pk__gte=first_id_at(timezone.now() - span))


class BoundedPaginator(_Paginator):
    """Counts up to `LIMIT` rows and no further: at a million rows a full count would cost more than the page."""

    LIMIT = 10_000

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        # In no order: to sort all that a search finds would cost more than to count the first of them.
        return int(rows.order_by()[: self.LIMIT].count()) if isinstance(rows, QuerySet) else len(rows)

    @property
    def is_cut(self) -> bool:
        """Whether there may be more rows than the pages show."""
        return self.count >= self.LIMIT


class JobFilter(SimpleListFilter):
    """A filter on a job's column; `job_path` of the ModelAdmin leads from its model to the job."""

    def __init__(
        self, request: HttpRequest, params: dict[str, list[str]], model: type[Any], model_admin: ModelAdmin[Any]
    ) -> None:
        self.path = str(getattr(model_admin, "job_path", ""))
        super().__init__(request, params, model, model_admin)

    def within(self, request: HttpRequest) -> Q:
        """The window, unless a state narrows the search already."""
        return Q() if request.GET.get("state") in State.values else since(WINDOW)

    def chosen(self) -> str | None:
        """The value asked for, if it is one of the choices."""
        value = self.value()
        return value if value in {str(choice) for choice, _ in self.lookup_choices} else None


class StateFilter(JobFilter):
    """By state. Ended jobs that retention has emptied are left out, as their index leaves them out."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in State.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        state = self.chosen()
        if state is None:
            return None
        wanted = {f"{self.path}state": state}
        if state in TERMINAL:
            wanted[f"{self.path}cleaned_at__isnull"] = True  # type: ignore[assignment]  # lookups are of any type
        return queryset.filter(**wanted)


class CreatedFilter(JobFilter):
    """By age, as a range of the primary key."""

    title = "created"
    parameter_name = "created"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [(name, f"Last {name}") for name in _SPANS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        span = self.chosen()
        return queryset.filter(since(_SPANS[span])) if span else None


class QueueFilter(JobFilter):
    """By queue, within the window."""

    title = f"queue, last {WINDOW.days} days"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [(name, display.visible(name)) for name in selectors.known_queues()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        queue = self.chosen()
        return queryset.filter(self.within(request), **{f"{self.path}queue": queue}) if queue else None


class ActorFilter(JobFilter):
    """By actor, within the window."""

    title = f"actor, last {WINDOW.days} days"
    parameter_name = "actor"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [(name, display.visible(name)) for name in sorted(get_broker().actors)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        actor = self.chosen()
        return queryset.filter(self.within(request), **{f"{self.path}actor": actor}) if actor else None
