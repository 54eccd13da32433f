"""The page of one job: where it stands and why, and what happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib.admin import ModelAdmin
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from queueadmin import inspection, operations, selectors
from queueadmin.attempts import attempts_of
from queueadmin.broker import get_ledger_broker
from queueadmin.edges import ENDED
from queueadmin.models import Job, OperationLog
from queueadmin.panels import panels_of
from queueadmin.selectors import TimelineEntry
from queueadmin.states import LIVE, State
from queueadmin.views import changed_retry
from queueadmin.views.base import operate_url, page_context
from queueadmin.views.job_operations import JOB_OPERATIONS

_MAX_FOLLOW_UPS = 50
_MAX_ATTEMPTS = 50
_MAX_EVENTS = 500
_MAX_ACTIONS = 50


def job_page(request: HttpRequest, model_admin: ModelAdmin[Any], job: Job, *, title: str) -> HttpResponse:
    """Everything about one job: where it stands and why, its attempts, result, follow-ups, panels, what people did."""
    worker = selectors.worker_names([job.worker_id]).get(job.worker_id or 0, "")
    timeline = selectors.timeline(job.pk)
    attempts = attempts_of(timeline)
    context = {
        **page_context(request, model_admin, title),
        "job": job,
        "original": title,
        "has_view_permission": True,
        "is_live": job.state in LIVE,
        "facts": _times(job),
        "worker": worker,
        "why": inspection.why_waiting(job, get_ledger_broker().ready_sets),
        "progress": selectors.progress([job.pk]).get(job.pk) if job.state == State.PROCESSING else None,
        "attempts": attempts[:_MAX_ATTEMPTS],
        "more_attempts": max(0, len(attempts) - _MAX_ATTEMPTS),
        "timeline": timeline[-_MAX_EVENTS:],
        "more_events": max(0, len(timeline) - _MAX_EVENTS),
        "actions": _actions(request, job, timeline),
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


def _actions(request: HttpRequest, job: Job, timeline: Sequence[TimelineEntry]) -> list[OperationLog]:
    """What people did to the job, the newest first, for those who may see the operations log.

    Its events name the operations that it took, also those on thousands of jobs; the log itself knows those on it
    alone, also refused ones.
    """
    if not request.user.has_perm("queueadmin.view_operationlog"):
        return []
    named = {found for entry in timeline if (found := _uuid(entry.detail.get("operation"))) is not None}
    rows = OperationLog.objects.filter(Q(pk__in=named) | Q(target=str(job.pk)))
    return list(rows.order_by("-at")[:_MAX_ACTIONS])


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _offered(request: HttpRequest, model_admin: ModelAdmin[Any], job: Job) -> list[dict[str, Any]]:
    """The operations that this person may do and this job would take."""
    offered = [
        {"label": operation.label, "url": f"{operate_url(model_admin, operation.name)}?ids={job.pk}"}
        for operation in JOB_OPERATIONS.values()
        if request.user.has_perm(operation.permission)
        and operations.eligible(operation.name, [job.pk], now=operation.now).eligible
    ]
    if job.state in ENDED and job.cleaned_at is None and request.user.has_perm(changed_retry.PERMISSION):
        url = f"{operate_url(model_admin, changed_retry.NAME)}?ids={job.pk}"
        offered.insert(1, {"label": changed_retry.LABEL, "url": url})
    return offered
