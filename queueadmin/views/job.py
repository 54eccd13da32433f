"""The page of one job: where it stands and why, and what happened to it."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from queueadmin import inspection, operations, selectors
from queueadmin.broker import get_ledger_broker
from queueadmin.models import Job
from queueadmin.panels import panels_of
from queueadmin.states import LIVE, State
from queueadmin.views.base import operate_url, page_context
from queueadmin.views.job_operations import JOB_OPERATIONS

_MAX_FOLLOW_UPS = 50


def job_page(request: HttpRequest, model_admin: ModelAdmin[Any], job: Job, *, title: str) -> HttpResponse:
    """Everything about one job: where it stands and why, its timeline, result, follow-ups and panels."""
    worker = selectors.worker_names([job.worker_id]).get(job.worker_id or 0, "")
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
        {"operation": operation, "url": f"{operate_url(model_admin, operation.name)}?ids={job.pk}"}
        for operation in JOB_OPERATIONS.values()
        if request.user.has_perm(operation.permission)
        and operations.eligible(operation.name, [job.pk], now=operation.now).eligible
    ]
