"""Workers: what each is, what it has in hand, when it beat last; and asking one to drain."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect

from queueadmin import display, operations, selectors
from queueadmin.models import Job, JobProgress
from queueadmin.operations import UnknownWorker
from queueadmin.pages.base import broker_health, url
from queueadmin.selectors import Worker
from queueadmin.states import State

_MAX_REASON = 1_000
_JOBS = 1_000
"""Jobs in hand that the page reads, the longest claimed first: those that somebody may worry about."""
_JOBS_OF_ONE = 10
_ENDED = 100


@dataclass(frozen=True, kw_only=True)
class InHand:
    """A job that a worker has claimed. `stage` is what its attempt said last."""

    job: Job
    stage: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A worker and the jobs in its hand, the longest claimed first."""

    worker: Worker
    jobs: tuple[InHand, ...]
    more: int
    """Further jobs that are not shown."""


def workers(request: HttpRequest) -> dict[str, Any]:
    """Silent ones first; with `?ended=yes` also those that have ended lately."""
    with_ended = request.GET.get("ended") == "yes"
    found = selectors.workers(include_ended=with_ended)
    ended = [worker for worker in found if worker.state == "stopped"]
    living = [worker for worker in found if worker.state != "stopped"]
    return {
        "broker": broker_health(),
        "rows": _rows(living),
        "ended": sorted(ended, key=lambda worker: worker.beat_at, reverse=True)[:_ENDED],
        "with_ended": with_ended,
        "alive": sum(worker.state == "alive" for worker in living),
        "silent": sum(worker.is_silent for worker in living),
        "busy": sum(worker.busy for worker in living if worker.state == "alive"),
        "threads": sum(worker.threads for worker in living if worker.state == "alive"),
        "versions": sorted({worker.version for worker in living if worker.state == "alive"}),
        "may_drain": request.user.has_perm("queueadmin.drain_worker"),
    }


def _rows(living: list[Worker]) -> list[Row]:
    held = in_hand(Q(worker_id__isnull=False), most=_JOBS)
    return [
        Row(worker=worker, jobs=tuple(held[worker.id][:_JOBS_OF_ONE]), more=max(0, len(held[worker.id]) - _JOBS_OF_ONE))
        for worker in living
    ]


def in_hand(whose: Q, *, most: int) -> dict[int | None, list[InHand]]:
    """Worker -> its jobs, the longest claimed first: two queries, however many workers there are."""
    jobs = list(
        Job.objects.filter(whose, state=State.PROCESSING)
        .only("pk", "actor", "queue", "attempt", "claimed_at", "worker_id", "cancel_requested_at")
        .order_by("claimed_at")[:most]
    )
    stages = dict(JobProgress.objects.filter(pk__in=[job.pk for job in jobs]).values_list("pk", "stage"))
    held: dict[int | None, list[InHand]] = defaultdict(list)
    for job in jobs:
        held[job.worker_id].append(InHand(job=job, stage=stages.get(job.pk, "")))
    return held


def drain_worker(request: HttpRequest, worker_id: int) -> dict[str, Any] | HttpResponse:
    """GET asks; POST asks the worker."""
    try:
        worker = operations.find_worker(worker_id)
    except UnknownWorker as error:
        raise Http404(str(error)) from error
    if request.method != "POST":
        jobs = Job.objects.filter(state=State.PROCESSING, worker_id=worker.id).count()
        return {
            "worker": worker, "jobs": jobs, "title": f"Drain {display.visible(worker.name, limit=100)}?",
            "may_drain": request.user.has_perm("queueadmin.drain_worker") and not worker.is_draining,
        }  # fmt: skip
    result = operations.drain_worker(
        worker.id, by=request.user.get_username(), source="admin", user=request.user,
        reason=request.POST.get("reason", "")[:_MAX_REASON],
    )  # fmt: skip
    name = display.visible(result.worker, limit=100)
    if result.changed:
        messages.success(request, f"{name} takes nothing more, and exits when what it has is done.")
    else:
        messages.warning(request, f"{name} was asked already, or has ended.")
    return HttpResponseRedirect(url("workers"))
