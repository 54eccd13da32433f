"""The page of queues and workers, and operations on queues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from queueadmin import inspection, operations, selectors
from queueadmin.broker import get_ledger_broker
from queueadmin.models import Job
from queueadmin.operations import QueueResult
from queueadmin.views.base import number_of_jobs, operate_url, page_context, require, url, who_asks


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


def queue_page(request: HttpRequest, model_admin: ModelAdmin[Any]) -> HttpResponse:
    """Queues and workers, from the ledger; beside it what the broker says, if it answers."""
    overview = inspection.overview(get_ledger_broker().ready_sets)
    context = {
        **page_context(request, model_admin, "Queues and workers"),
        "overview": overview,
        "has_jobs": Job.objects.exists(),
        "can_pause": request.user.has_perm("queueadmin.pause_queue"),
        "can_purge": request.user.has_perm("queueadmin.purge_job"),
        "operate": {name: operate_url(model_admin, name) for name in QUEUE_OPERATIONS},
        "jobs_url": reverse(f"{model_admin.admin_site.name}:queueadmin_job_changelist"),
        "paused": [queue.summary for queue in overview.queues if queue.summary.is_paused],
    }
    return TemplateResponse(request, "queueadmin/queues.html", context)


def operate_on_queue(request: HttpRequest, model_admin: ModelAdmin[Any], name: str) -> HttpResponse:
    """GET asks for confirmation of `?queue=`; POST acts on the queue that the confirmation named."""
    operation = QUEUE_OPERATIONS.get(name)
    if operation is None:
        raise Http404(f"There is no operation {name!r}.")
    require(request, operation.permission, model_admin)
    given = request.POST if request.method == "POST" else request.GET
    queue = given.get("queue", "")
    if queue not in selectors.known_queues():
        raise Http404("There is no such queue.")
    if request.method != "POST":
        return _confirm_queue(request, model_admin, operation, queue)
    result = operation.act(queue, **who_asks(request))
    _report_queue(request, operation, result)
    return HttpResponseRedirect(url(model_admin, "changelist"))


def _confirm_queue(
    request: HttpRequest, model_admin: ModelAdmin[Any], operation: QueueOperation, queue: str
) -> HttpResponse:
    depth = selectors.pending_count(queue)
    is_purge = operation.name == "purge"
    context = {
        **page_context(request, model_admin, f"{operation.label} the queue {queue}?"),
        "operation": operation,
        "action": operate_url(model_admin, operation.name),
        "queue": queue,
        "depth": depth,
        "eligible": depth if is_purge else 1,
        "hidden": {"queue": queue},
        "submit": f"Cancel {number_of_jobs(depth)}" if is_purge else f"{operation.label} {queue}",
        "back": url(model_admin, "changelist"),
    }
    return TemplateResponse(request, "queueadmin/confirm.html", context)


def _report_queue(request: HttpRequest, operation: QueueOperation, result: QueueResult) -> None:
    if operation.name == "purge":
        messages.success(request, f"{number_of_jobs(result.changed).capitalize()} of {result.queue} cancelled.")
    elif result.changed:
        messages.success(request, f"{result.queue} is {'paused' if operation.name == 'pause' else 'running again'}.")
    else:
        messages.warning(request, f"{result.queue} was already {'paused' if operation.name == 'pause' else 'running'}.")
