"""The control plane's own pages inside Django's admin. GET only ever shows; POST acts, through `operations`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.utils import quote
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from queueadmin import display, inspection, operations, selectors
from queueadmin.broker import get_ledger_broker
from queueadmin.models import Job
from queueadmin.operations import OperationResult, QueueResult
from queueadmin.panels import panels_of
from queueadmin.states import LIVE, State

MAX_JOBS = 1_000
"""Jobs that one confirmation covers: what a person can answer for, and a form can carry."""
_MAX_REASON = 1_000
_MAX_FOLLOW_UPS = 50


@dataclass(frozen=True, kw_only=True)
class JobOperation:
    """An operation on jobs as the admin offers it."""

    name: str
    label: str
    done: str
    permission: str
    explanation: str
    act: Callable[..., OperationResult]
    is_destructive: bool = False
    now: bool = False


JOB_OPERATIONS = {
    operation.name: operation
    for operation in (
        JobOperation(
            name="retry",
            label="Retry",
            done="queued again",
            permission="queueadmin.retry_job",
            explanation=(
                "Failed, dead-lettered and cancelled jobs run again with fresh attempts; "
                "scheduled and retrying ones run now instead of at their time."
            ),
            act=operations.retry,
            now=True,
        ),
        JobOperation(
            name="cancel",
            label="Cancel",
            done="cancelled, or asked to stop",
            permission="queueadmin.cancel_job",
            explanation="Waiting jobs are cancelled at once. Running ones are stopped by their worker within seconds.",
            act=operations.cancel,
            is_destructive=True,
        ),
        JobOperation(
            name="discard",
            label="Discard",
            done="discarded",
            permission="queueadmin.discard_job",
            explanation="Dead letters are given up: they become cancelled, and retention removes them in time.",
            act=operations.discard,
            is_destructive=True,
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class QueueOperation:
    """An operation on a queue as the admin offers it."""

    name: str
    label: str
    permission: str
    explanation: str
    act: Callable[..., QueueResult]
    is_destructive: bool = False


QUEUE_OPERATIONS = {
    operation.name: operation
    for operation in (
        QueueOperation(
            name="pause",
            label="Pause",
            permission="queueadmin.pause_queue",
            explanation="Workers take nothing more from it. What runs goes on, and new jobs are still accepted.",
            act=operations.pause,
        ),
        QueueOperation(
            name="resume",
            label="Resume",
            permission="queueadmin.pause_queue",
            explanation="Workers take jobs from it again.",
            act=operations.resume,
        ),
        QueueOperation(
            name="purge",
            label="Purge",
            permission="queueadmin.purge_job",
            explanation=(
                "Every pending job of the queue is cancelled. Scheduled, retrying and running jobs stay. "
                "Cancelled jobs can be retried until retention removes them."
            ),
            act=operations.purge,
            is_destructive=True,
        ),
    )
}


# -- a job's page --------------------------------------------------------------------------------


def job_page(request: HttpRequest, model_admin: ModelAdmin[Any], job: Job, *, title: str) -> HttpResponse:
    """Everything about one job: where it stands and why, its timeline, result, follow-ups and panels."""
    worker = selectors.worker_names([job.worker_id]).get(job.worker_id or 0, "")
    context = {
        **_page(request, model_admin, title),
        "job": job,
        "original": title,
        "has_view_permission": True,
        "is_live": job.state in LIVE,
        "facts": _times(job),
        "worker": worker,
        "why": inspection.why_waiting(job, get_ledger_broker().ready_sets),
        "progress": selectors.progress([job.pk]).get(job.pk) if job.state == State.PROCESSING else None,
        "timeline": selectors.timeline(job.pk),
        "follow_ups": Job.objects.filter(parent_id=job.pk).defer("payload", "result").order_by("pk")[:_MAX_FOLLOW_UPS],
        "panels": panels_of(job),
        "operations": _offered(request, model_admin, job),
    }
    return TemplateResponse(request, "queueadmin/job.html", context)


def _times(job: Job) -> dict[str, float | None]:
    """Seconds: how long the job waited for its current run, and how long it ran."""
    due = job.run_at or job.created_at
    end = job.finished_at or (timezone.now() if job.state == State.PROCESSING else None)
    return {
        "waited": (job.started_at - due).total_seconds() if job.started_at else None,
        "ran": (end - job.started_at).total_seconds() if job.started_at and end else None,
    }


def _offered(request: HttpRequest, model_admin: ModelAdmin[Any], job: Job) -> list[dict[str, Any]]:
    """The operations that this person may do and this job would take."""
    return [
        {"operation": operation, "url": f"{_operate_url(model_admin, operation.name)}?ids={job.pk}"}
        for operation in JOB_OPERATIONS.values()
        if request.user.has_perm(operation.permission)
        and operations.eligible(operation.name, [job.pk], now=operation.now).eligible
    ]


# -- operations on jobs --------------------------------------------------------------------------


def confirm_jobs(
    request: HttpRequest, model_admin: ModelAdmin[Any], operation: JobOperation, ids: Sequence[UUID], *, more: bool
) -> HttpResponse:
    """The confirmation page: how many jobs are eligible, and why the others are not. Changes nothing."""
    plan = operations.eligible(operation.name, ids, now=operation.now)
    context = {
        **_page(request, model_admin, f"{operation.label} {_jobs(len(ids))}?"),
        "operation": operation,
        "action": _operate_url(model_admin, operation.name),
        "eligible": len(plan.eligible),
        "selected": len(ids),
        "refused": _reasons(plan.refused),
        "more": more,
        "limit": MAX_JOBS,
        "hidden": {"ids": ",".join(job_id.hex for job_id in ids)},
        "submit": f"{operation.label} {_jobs(len(plan.eligible))}",
        "back": _after(model_admin, ids),
    }
    return TemplateResponse(request, "queueadmin/confirm.html", context)


def operate_on_jobs(request: HttpRequest, model_admin: ModelAdmin[Any], name: str) -> HttpResponse:
    """GET asks for confirmation of `?ids=`; POST acts on the ids that the confirmation carried."""
    operation = JOB_OPERATIONS.get(name)
    if operation is None:
        raise Http404(f"There is no operation {name!r}.")
    _require(request, operation.permission, model_admin)
    given = request.POST if request.method == "POST" else request.GET
    ids = _parse_ids(given.get("ids", ""))
    if request.method != "POST":
        return confirm_jobs(request, model_admin, operation, ids, more=False)
    options = {"now": True} if operation.now else {}
    result = operation.act(ids, **_who(request), **options)
    _report(request, operation, result)
    return HttpResponseRedirect(_after(model_admin, ids))


def _report(request: HttpRequest, operation: JobOperation, result: OperationResult) -> None:
    if result.done:
        messages.success(request, f"{_jobs(len(result.done)).capitalize()} {operation.done}.")
    for item in _reasons(result.refused):
        messages.warning(request, f"{_jobs(item['count']).capitalize()} left alone: {item['reason']}.")


def _reasons(refused: dict[UUID, str]) -> list[dict[str, Any]]:
    """Refusals, counted by reason, the most frequent first."""
    return [
        {"reason": display.refusal(reason), "count": count} for reason, count in Counter(refused.values()).most_common()
    ]


def _parse_ids(text: str) -> list[UUID]:
    try:
        ids = [UUID(part) for part in text.split(",") if part]
    except ValueError as error:
        raise BadRequest("The ids of the jobs are damaged.") from error
    if not 0 < len(ids) <= MAX_JOBS:
        raise BadRequest(f"Between 1 and {MAX_JOBS} jobs can be handled at once.")
    return ids


def _after(model_admin: ModelAdmin[Any], ids: Sequence[UUID]) -> str:
    """Where to go on: to the one job, or to the list."""
    if len(ids) == 1:
        return _url(model_admin, "change", quote(ids[0]))
    return _url(model_admin, "changelist")


# -- queues --------------------------------------------------------------------------------------


def queue_page(request: HttpRequest, model_admin: ModelAdmin[Any]) -> HttpResponse:
    """Queues and workers, from the ledger; beside it what the broker says, if it answers."""
    overview = inspection.overview(get_ledger_broker().ready_sets)
    context = {
        **_page(request, model_admin, "Queues and workers"),
        "overview": overview,
        "has_jobs": Job.objects.exists(),
        "can_pause": request.user.has_perm("queueadmin.pause_queue"),
        "can_purge": request.user.has_perm("queueadmin.purge_job"),
        "operate": {name: _operate_url(model_admin, name) for name in QUEUE_OPERATIONS},
        "jobs_url": reverse(f"{model_admin.admin_site.name}:queueadmin_job_changelist"),
        "paused": [queue.summary for queue in overview.queues if queue.summary.is_paused],
    }
    return TemplateResponse(request, "queueadmin/queues.html", context)


def operate_on_queue(request: HttpRequest, model_admin: ModelAdmin[Any], name: str) -> HttpResponse:
    """GET asks for confirmation of `?queue=`; POST acts on the queue that the confirmation named."""
    operation = QUEUE_OPERATIONS.get(name)
    if operation is None:
        raise Http404(f"There is no operation {name!r}.")
    _require(request, operation.permission, model_admin)
    given = request.POST if request.method == "POST" else request.GET
    queue = given.get("queue", "")
    if queue not in selectors.known_queues():
        raise Http404("There is no such queue.")
    if request.method != "POST":
        return _confirm_queue(request, model_admin, operation, queue)
    result = operation.act(queue, **_who(request))
    _report_queue(request, operation, result)
    return HttpResponseRedirect(_url(model_admin, "changelist"))


def _confirm_queue(
    request: HttpRequest, model_admin: ModelAdmin[Any], operation: QueueOperation, queue: str
) -> HttpResponse:
    depth = selectors.pending_count(queue)
    is_purge = operation.name == "purge"
    context = {
        **_page(request, model_admin, f"{operation.label} the queue {queue}?"),
        "operation": operation,
        "action": _operate_url(model_admin, operation.name),
        "queue": queue,
        "depth": depth,
        "eligible": depth if is_purge else 1,
        "hidden": {"queue": queue},
        "submit": f"Cancel {_jobs(depth)}" if is_purge else f"{operation.label} {queue}",
        "back": _url(model_admin, "changelist"),
    }
    return TemplateResponse(request, "queueadmin/confirm.html", context)


def _report_queue(request: HttpRequest, operation: QueueOperation, result: QueueResult) -> None:
    if operation.name == "purge":
        messages.success(request, f"{_jobs(result.changed).capitalize()} of {result.queue} cancelled.")
    elif result.changed:
        messages.success(request, f"{result.queue} is {'paused' if operation.name == 'pause' else 'running again'}.")
    else:
        messages.warning(request, f"{result.queue} was already {'paused' if operation.name == 'pause' else 'running'}.")


# -- shared --------------------------------------------------------------------------------------


def _page(request: HttpRequest, model_admin: ModelAdmin[Any], title: str) -> dict[str, Any]:
    return {
        **model_admin.admin_site.each_context(request),
        "title": display.visible(title, limit=200),
        "opts": model_admin.opts,
        "media": model_admin.media,
    }


def _who(request: HttpRequest) -> dict[str, Any]:
    return {
        "by": request.user.get_username(),
        "user": request.user,
        "source": "admin",
        "reason": request.POST.get("reason", "")[:_MAX_REASON],
    }


def _require(request: HttpRequest, permission: str, model_admin: ModelAdmin[Any]) -> None:
    if not (model_admin.has_view_permission(request) and request.user.has_perm(permission)):
        raise PermissionDenied


def _operate_url(model_admin: ModelAdmin[Any], operation: str) -> str:
    return _url(model_admin, "operate", operation)


def _url(model_admin: ModelAdmin[Any], page: str, *arguments: object) -> str:
    name = f"{model_admin.admin_site.name}:{model_admin.opts.app_label}_{model_admin.opts.model_name}_{page}"
    return reverse(name, args=arguments)


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def ids_of(queryset: Any) -> tuple[list[UUID], bool]:
    """The first `MAX_JOBS` ids of a selection, and whether there are more."""
    found: Iterable[UUID] = queryset.values_list("pk", flat=True)[: MAX_JOBS + 1]
    ids = list(found)
    return ids[:MAX_JOBS], len(ids) > MAX_JOBS
