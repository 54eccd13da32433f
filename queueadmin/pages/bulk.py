"""Bulk operations: the dry run with its question, the list, and one with its progress."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from queueadmin import bulk, display
from queueadmin.models import BulkOperation, Job
from queueadmin.operations import HIGHEST_PRIORITY, LOWEST_PRIORITY
from queueadmin.pages.base import url
from queueadmin.search.language import SearchError
from queueadmin.states import TERMINAL
from queueadmin.views.base import who_asks

_SHOWN = 100
_MAX_REASON = 1_000
_OPEN = timedelta(days=1)
"""So long somebody may think about a dry run before it is a new one."""

_RETRY, _CANCEL = "queueadmin.retry_job", "queueadmin.cancel_job"
CHOICES = {
    "retry": ("Retry", _RETRY, "Failed, dead-lettered and cancelled jobs run again with fresh attempts."),
    "retry_now": ("Retry now", _RETRY, "As retry; scheduled and retrying jobs run now, too."),
    "cancel": ("Cancel", _CANCEL, "Waiting jobs are cancelled, running ones are stopped by their workers."),
    "discard": ("Discard", "queueadmin.discard_job", "Dead letters are given up: they become cancelled."),
    "purge": (
        "Purge",
        "queueadmin.purge_job",
        "Pending jobs are cancelled; scheduled, retrying, running ones stay.",
    ),
    "priority": ("Change priority", "queueadmin.reprioritise_job", "Waiting jobs get another place in line."),
}
"""Operation -> its label, the permission for it, and what it does."""


def bulk_list(request: HttpRequest) -> dict[str, Any]:
    """The newest bulk operations."""
    rows = list(BulkOperation.objects.order_by("-created_at")[:_SHOWN])
    return {"rows": [{"bulk": row, "label": CHOICES[row.operation][0]} for row in rows]}


def bulk_new(request: HttpRequest) -> dict[str, Any] | HttpResponse:
    """GET: what the operation would do now. POST: hand what was shown, and nothing newer, to a worker."""
    given = request.POST if request.method == "POST" else request.GET
    name = given.get("operation", "")
    if name not in CHOICES:
        raise Http404(f"There is no operation {name!r}.")
    label, permission, explanation = CHOICES[name]
    if not request.user.has_perm(permission):
        raise PermissionDenied
    try:
        as_of, newest = _frozen(given)
        planned = bulk.plan(name, given.get("q", ""), now=as_of, up_to=newest)
    except SearchError as error:
        return {
            "title": f"{label} all matching jobs?",
            "problem": str(error),
            "search": given.get("q", ""),
            "status": 400,
        }
    shown = {
        "plan": planned, "label": label, "explanation": explanation, "needs_priority": name == "priority",
        "lowest": LOWEST_PRIORITY, "highest": HIGHEST_PRIORITY, "reason_from": bulk.REASON_FROM,
        "needs_reason": planned.is_more or planned.eligible > bulk.REASON_FROM,
        "refused": [{"count": n, "reason": display.refusal(why)} for why, n in planned.refused.items()],
        "is_destructive": name in ("cancel", "discard", "purge"), "title": f"{label} all matching jobs?",
    }  # fmt: skip
    return shown if request.method != "POST" else _start(request, planned, shown)


def _frozen(given: Mapping[str, Any]) -> tuple[datetime, UUID | None]:
    """The moment of the dry run that the form carries, and the newest job then; now, and none, where it has none."""
    now = timezone.now()
    try:
        as_of, newest = datetime.fromisoformat(given.get("as_of", "")), UUID(given.get("newest", ""))
    except ValueError:
        return now, None
    if timezone.is_naive(as_of) or not timedelta() <= now - as_of <= _OPEN:
        return now, None
    return as_of, newest


def _start(request: HttpRequest, planned: bulk.Plan, shown: dict[str, Any]) -> dict[str, Any] | HttpResponse:
    """Refuse when there is much more to do now than the person was shown, or no reason where one is needed."""
    if planned.eligible > 2 * _number(request.POST.get("eligible", "")) + 10:
        messages.error(request, "Meanwhile many more jobs match. Look at the new numbers, and confirm again.")
        return shown
    options = {}
    if shown["needs_priority"]:
        priority = _number(request.POST.get("priority", ""), otherwise=HIGHEST_PRIORITY + 1)
        if not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
            messages.error(request, f"A priority is a number from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}.")
            return shown
        options["priority"] = priority
    try:
        started = bulk.start(
            planned, by=request.user.get_username(), source="admin", user=request.user,
            reason=request.POST.get("reason", "")[:_MAX_REASON], options=options,
        )  # fmt: skip
    except bulk.ReasonRequired as error:
        messages.error(request, str(error))
        return shown
    return HttpResponseRedirect(url("bulk", started.pk))


def bulk_page(request: HttpRequest, bulk_id: UUID) -> dict[str, Any] | HttpResponse:
    """One bulk operation with its progress; POST asks it to stop."""
    row = BulkOperation.objects.filter(pk=bulk_id).first()
    if row is None:
        raise Http404("There is no such bulk operation.")
    label, permission, _ = CHOICES[row.operation]
    may_stop = request.user.has_perm(permission)
    if request.method == "POST":
        if not may_stop:
            raise PermissionDenied
        if bulk.abort(row.pk, **who_asks(request)):
            messages.success(request, "It stops after the jobs in hand; what is done stays done.")
        return HttpResponseRedirect(url("bulk", row.pk))
    jobs = Job.objects.filter(pk=row.job_id) if row.job_id else Job.objects.none()
    job_state = jobs.values_list("state", flat=True).first()
    refused = [{"count": n, "reason": display.refusal(why)} for why, n in row.refused.items()]
    which = "all matching" if row.ids is None else "selected"
    return {
        "bulk": row, "label": label, "title": f"{label} {which} jobs", "refused": refused,
        "is_open": row.finished_at is None, "may_stop": may_stop and row.finished_at is None,
        "job_ended": row.finished_at is None and job_state in TERMINAL, "job_state": job_state,
        "live_seconds": 2 if row.finished_at is None else 0,
    }  # fmt: skip


def _number(text: str, *, otherwise: int = 0) -> int:
    try:
        return int(text)
    except ValueError:
        return otherwise
