"""Dead letters of one tenant or of all, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet

from documents.listing import Position
from queueadmin import operations
from queueadmin.models import Job
from queueadmin.states import State


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which ones. `tenant` None is all; what is empty does not narrow."""

    tenant: str | None
    queue: str = ""
    actor: str = ""
    error_code: str = ""
    after: Position | None = None
    limit: int = 50


@dataclass(frozen=True, kw_only=True)
class Page:
    """Dead letters, the newest first, and where the next page begins, if there is one."""

    jobs: tuple[Job, ...]
    next: Position | None


def page(wanted: Wanted) -> Page:
    """One page, by the index of what has ended."""
    found = _reachable(wanted.tenant).defer("payload", "result").order_by("-finished_at", "-pk")
    for name, value in (("queue", wanted.queue), ("actor", wanted.actor), ("error_code", wanted.error_code)):
        if value:
            found = found.filter(**{name: value})
    if (after := wanted.after) is not None:
        found = found.filter(Q(finished_at__lt=after.at) | Q(finished_at=after.at, pk__lt=after.id))
    jobs = tuple(found[: wanted.limit + 1])
    last = jobs[wanted.limit - 1] if len(jobs) > wanted.limit else None
    position = None if last is None or last.finished_at is None else Position(at=last.finished_at, id=last.pk)
    return Page(jobs=jobs[: wanted.limit], next=position)


def split(ids: Sequence[UUID], *, tenant: str | None) -> tuple[list[UUID], dict[UUID, str]]:
    """Those of `ids` that are dead letters within reach; and why the others are left alone."""
    within = _mine(Job.objects.filter(pk__in=ids), tenant)
    states = dict(within.values_list("pk", "state"))
    mine = [job_id for job_id in ids if states.get(job_id) == State.DEAD_LETTER]
    known = set(mine)
    others = {job_id: states.get(job_id, operations.NOT_FOUND) for job_id in ids if job_id not in known}
    return mine, others


def _reachable(tenant: str | None) -> QuerySet[Job]:
    return _mine(Job.objects.filter(state=State.DEAD_LETTER, cleaned_at=None), tenant)


def _mine(jobs: QuerySet[Job], tenant: str | None) -> QuerySet[Job]:
    return jobs if tenant is None else jobs.filter(partition_key=tenant)
