"""The page of queues and workers, and the confirmations of operations on queues."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from queueadmin import display, inspection, selectors
from queueadmin.broker import get_ledger_broker
from queueadmin.bulk import REASON_FROM, ReasonRequired
from queueadmin.exceptions import QueueAdminError
from queueadmin.models import Job
from queueadmin.operations import DepthChanged
from queueadmin.views.base import number_of_jobs, operate_url, page_context, require, url, who_asks
from queueadmin.views.queue_operations import QUEUE_OPERATIONS, QueueForm, QueueOperation


def queue_page(request: HttpRequest, model_admin: ModelAdmin[Any]) -> HttpResponse:
    """Queues and workers, from the ledger; beside it what the broker says, if it answers."""
    overview = inspection.overview(get_ledger_broker().ready_sets)
    may = {name: request.user.has_perm(operation.permission) for name, operation in QUEUE_OPERATIONS.items()}
    context = {
        **page_context(request, model_admin, "Queues and workers"),
        "overview": overview,
        "has_jobs": Job.objects.exists(),
        "may": may,
        "may_any": any(may.values()),
        "operate": {name: operate_url(model_admin, name) for name in QUEUE_OPERATIONS},
        "jobs_url": reverse(f"{model_admin.admin_site.name}:queueadmin_job_changelist"),
        "limits": [limit for limit in selectors.limits_in_force() if limit.partition is not None],
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
        return _confirm(request, model_admin, operation, queue, _form(request, operation, queue))
    form = operation.form(request.POST)
    if form.is_valid() and _lacks_a_reason(request, form):
        form.add_error(None, str(ReasonRequired()))
    if not form.is_valid():
        return _confirm(request, model_admin, operation, queue, form)
    return _act(request, model_admin, operation, queue, form)


def _lacks_a_reason(request: HttpRequest, form: QueueForm) -> bool:
    """A purge of many jobs wants one, as any operation on many."""
    return form.cleaned_data.get("expected", 0) > REASON_FROM and not who_asks(request)["reason"].strip()


def _act(
    request: HttpRequest, model_admin: ModelAdmin[Any], operation: QueueOperation, queue: str, form: QueueForm
) -> HttpResponse:
    try:
        done, sentence = operation.tell(operation.act(queue=queue, **form.options(), **who_asks(request)))
    except DepthChanged as error:
        messages.error(request, display.visible(error))
        return _confirm(request, model_admin, operation, queue, _form(request, operation, queue))
    except QueueAdminError as error:
        form.add_error(None, display.visible(error))
        return _confirm(request, model_admin, operation, queue, form)
    (messages.success if done else messages.warning)(request, display.visible(sentence))
    return HttpResponseRedirect(url(model_admin, "changelist"))


def _form(request: HttpRequest, operation: QueueOperation, queue: str) -> QueueForm:
    """An empty form: of a limit with the one that is set, of a purge with the depth that is shown."""
    initial: dict[str, Any] = {}
    if operation.name == "purge":
        initial = {"expected": selectors.pending_count(queue)}
    elif operation.name == "limit":
        partition = request.GET.get("partition")
        set_now = {(one.queue, one.partition): one.limit for one in selectors.limits_in_force()}
        initial = {"limit": set_now.get((queue, partition)), "partition": partition}
    return operation.form(initial=initial)


def _confirm(
    request: HttpRequest, model_admin: ModelAdmin[Any], operation: QueueOperation, queue: str, form: QueueForm
) -> HttpResponse:
    depth = form.initial.get("expected", selectors.pending_count(queue))
    is_purge = operation.name == "purge"
    context = {
        **page_context(request, model_admin, f"{operation.label} the queue {queue}?"),
        "operation": operation,
        "action": operate_url(model_admin, operation.name),
        "queue": queue,
        "depth": depth,
        "running": selectors.running_count(queue),
        "eligible": depth if is_purge else 1,
        "reason_from": REASON_FROM,
        "needs_reason": is_purge and depth > REASON_FROM,
        "form": form,
        "hidden": {"queue": queue},
        "submit": f"Cancel {number_of_jobs(depth)}" if is_purge else f"{operation.label} {queue}",
        "back": url(model_admin, "changelist"),
    }
    return TemplateResponse(request, "queueadmin/confirm.html", context)
