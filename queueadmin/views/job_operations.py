"""Operations on jobs: a confirmation that tells what would happen, then the act."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.utils import quote
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from queueadmin import bulk, display, operations
from queueadmin.models import BulkOperation
from queueadmin.operations import HIGHEST_PRIORITY, LOWEST_PRIORITY, OperationResult
from queueadmin.views.base import number_of_jobs, operate_url, page_context, require, url, who_asks

MAX_JOBS = 1_000
"""Jobs that one confirmation covers: what a person can answer for, and a form can carry."""


class JobForm(forms.Form):
    """What a confirmation asks beside the reason. The cleaned data are keyword arguments of the operation."""


class PriorityForm(JobForm):
    """The new priority of waiting jobs."""

    priority = forms.IntegerField(
        min_value=LOWEST_PRIORITY, max_value=HIGHEST_PRIORITY, initial=0,
        help_text=f"From {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}; higher goes first.",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class JobOperation:
    """An operation on jobs as the admin offers it."""

    name: str
    label: str
    done: str
    permission: str
    explanation: str
    act: Callable[..., OperationResult]
    form: type[JobForm] = JobForm
    is_destructive: bool = False
    now: bool = False

    @property
    def in_bulk(self) -> str:
        """What `bulk` calls it."""
        return "retry_now" if self.now else self.name


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
            name="priority",
            label="Change priority",
            done="given another priority",
            permission="queueadmin.reprioritise_job",
            explanation="Waiting jobs get another place in line. Running and ended ones stay as they are.",
            act=operations.change_priority,
            form=PriorityForm,
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


def confirm_jobs(
    request: HttpRequest, model_admin: ModelAdmin[Any], operation: JobOperation, ids: Sequence[UUID], *,
    more: bool, form: JobForm | None = None,
) -> HttpResponse:  # fmt: skip
    """The confirmation page: how many jobs are eligible, and why the others are not. Changes nothing."""
    plan = operations.eligible(operation.name, ids, now=operation.now)
    context = {
        **page_context(request, model_admin, f"{operation.label} {number_of_jobs(len(ids))}?"),
        "operation": operation,
        "action": operate_url(model_admin, operation.name),
        "eligible": len(plan.eligible),
        "selected": len(ids),
        "refused": _reasons(plan.refused),
        "more": more,
        "limit": MAX_JOBS,
        "reason_from": bulk.REASON_FROM,
        "needs_reason": len(plan.eligible) > bulk.REASON_FROM,
        "form": form or operation.form(),
        "hidden": {"ids": ",".join(job_id.hex for job_id in ids)},
        "submit": f"{operation.label} {number_of_jobs(len(plan.eligible))}",
        "back": after(model_admin, ids),
    }
    return TemplateResponse(request, "queueadmin/confirm.html", context)


def operate_on_jobs(request: HttpRequest, model_admin: ModelAdmin[Any], name: str) -> HttpResponse:
    """GET asks for confirmation of `?ids=`; POST acts on the ids that the confirmation carried."""
    operation = JOB_OPERATIONS.get(name)
    if operation is None:
        raise Http404(f"There is no operation {name!r}.")
    require(request, operation.permission, model_admin)
    given = request.POST if request.method == "POST" else request.GET
    ids = parse_ids(given.get("ids", ""))
    ids = seen_by(request, model_admin, ids)
    if request.method != "POST":
        return confirm_jobs(request, model_admin, operation, ids, more=False)
    form = operation.form(request.POST)
    if not form.is_valid():
        return confirm_jobs(request, model_admin, operation, ids, more=False, form=form)
    planned = bulk.plan_selected(operation.in_bulk, ids, now=timezone.now())
    if planned.eligible > bulk.REASON_FROM:
        try:
            started = bulk.start(planned, options=form.cleaned_data, **who_asks(request))
        except bulk.ReasonRequired as error:
            form.add_error(None, str(error))
            return confirm_jobs(request, model_admin, operation, ids, more=False, form=form)
        return _watch(request, model_admin, started)
    options = {"now": True} if operation.now else form.cleaned_data
    result = operation.act(ids, **who_asks(request), **options)
    report(request, operation.done, result)
    return HttpResponseRedirect(after(model_admin, ids))


def _watch(request: HttpRequest, model_admin: ModelAdmin[Any], started: BulkOperation) -> HttpResponse:
    """To the page of a bulk operation, for who may see it; others are told, in the list."""
    if request.user.has_perm("queueadmin.view_job"):
        return HttpResponseRedirect(reverse("admin:control_bulk", args=[started.pk]))
    messages.success(request, f"A worker does it to {number_of_jobs(started.expected)}.")
    return HttpResponseRedirect(url(model_admin, "changelist"))


def report(request: HttpRequest, done: str, result: OperationResult) -> None:
    """Say what was done, and what was left alone and why."""
    if result.done:
        messages.success(request, f"{number_of_jobs(len(result.done)).capitalize()} {done}.")
    for item in _reasons(result.refused):
        messages.warning(request, f"{number_of_jobs(item['count']).capitalize()} left alone: {item['reason']}.")


def _reasons(refused: dict[UUID, str]) -> list[dict[str, Any]]:
    """Refusals, counted by reason, the most frequent first."""
    return [
        {"reason": display.refusal(reason), "count": count} for reason, count in Counter(refused.values()).most_common()
    ]


def seen_by(request: HttpRequest, model_admin: ModelAdmin[Any], ids: Sequence[UUID]) -> list[UUID]:
    """Those of the jobs that this person may see here: all, or their own tenants'. Raises Http404 for none."""
    seen = set(model_admin.get_queryset(request).filter(pk__in=ids).values_list("pk", flat=True))
    found = [job_id for job_id in ids if job_id in seen]
    if not found:
        raise Http404("There are no such jobs.")
    return found


def parse_ids(text: str) -> list[UUID]:
    """Raises BadRequest for what are no ids, for none, and for too many."""
    try:
        ids = [UUID(part) for part in text.split(",") if part]
    except ValueError as error:
        raise BadRequest("The ids of the jobs are damaged.") from error
    if not 0 < len(ids) <= MAX_JOBS:
        raise BadRequest(f"Between 1 and {MAX_JOBS} jobs can be handled at once.")
    return ids


def after(model_admin: ModelAdmin[Any], ids: Sequence[UUID]) -> str:
    """Where to go on: to the one job, or to the list."""
    if len(ids) == 1:
        return url(model_admin, "change", quote(ids[0]))
    return url(model_admin, "changelist")


def ids_of(queryset: Any) -> tuple[list[UUID], bool]:
    """The first `MAX_JOBS` ids of a selection, and whether there are more."""
    found: Iterable[UUID] = queryset.values_list("pk", flat=True)[: MAX_JOBS + 1]
    ids = list(found)
    return ids[:MAX_JOBS], len(ids) > MAX_JOBS
