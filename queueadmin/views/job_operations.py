"""Operations on jobs: a confirmation that tells what would happen, then the act."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.utils import quote
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from queueadmin import display, operations
from queueadmin.operations import OperationResult
from queueadmin.views.base import number_of_jobs, operate_url, page_context, require, url, who_asks

MAX_JOBS = 1_000
"""Jobs that one confirmation covers: what a person can answer for, and a form can carry."""


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


def confirm_jobs(
    request: HttpRequest, model_admin: ModelAdmin[Any], operation: JobOperation, ids: Sequence[UUID], *, more: bool
) -> HttpResponse:
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
        "hidden": {"ids": ",".join(job_id.hex for job_id in ids)},
        "submit": f"{operation.label} {number_of_jobs(len(plan.eligible))}",
        "back": _after(model_admin, ids),
    }
    return TemplateResponse(request, "queueadmin/confirm.html", context)


def operate_on_jobs(request: HttpRequest, model_admin: ModelAdmin[Any], name: str) -> HttpResponse:
    """GET asks for confirmation of `?ids=`; POST acts on the ids that the confirmation carried."""
    operation = JOB_OPERATIONS.get(name)
    if operation is None:
        raise Http404(f"There is no operation {name!r}.")
    require(request, operation.permission, model_admin)
    given = request.POST if request.method == "POST" else request.GET
    ids = _parse_ids(given.get("ids", ""))
    if request.method != "POST":
        return confirm_jobs(request, model_admin, operation, ids, more=False)
    options = {"now": True} if operation.now else {}
    result = operation.act(ids, **who_asks(request), **options)
    _report(request, operation, result)
    return HttpResponseRedirect(_after(model_admin, ids))


def _report(request: HttpRequest, operation: JobOperation, result: OperationResult) -> None:
    if result.done:
        messages.success(request, f"{number_of_jobs(len(result.done)).capitalize()} {operation.done}.")
    for item in _reasons(result.refused):
        messages.warning(request, f"{number_of_jobs(item['count']).capitalize()} left alone: {item['reason']}.")


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
        return url(model_admin, "change", quote(ids[0]))
    return url(model_admin, "changelist")


def ids_of(queryset: Any) -> tuple[list[UUID], bool]:
    """The first `MAX_JOBS` ids of a selection, and whether there are more."""
    found: Iterable[UUID] = queryset.values_list("pk", flat=True)[: MAX_JOBS + 1]
    ids = list(found)
    return ids[:MAX_JOBS], len(ids) > MAX_JOBS
