"""Retry a job with other options: priority, attempts, when; and what its application lets people change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone

from queueadmin import display, operations
from queueadmin.exceptions import QueueAdminError
from queueadmin.jobs import Changes
from queueadmin.models import Job
from queueadmin.operations import HIGHEST_PRIORITY, LOWEST_PRIORITY, MAX_ATTEMPTS
from queueadmin.panels import JobOptions, options_of
from queueadmin.views.base import operate_url, page_context, require, who_asks
from queueadmin.views.job_operations import after, parse_ids, report, seen_by

NAME, LABEL, PERMISSION = "retry_changed", "Retry with changes", "queueadmin.retry_job"
_OPERATION = {
    "label": LABEL,
    "explanation": "The job runs again with fresh attempts, the same id, and what is changed here.",
}
"""What the confirmation's template wants to know."""
_MOMENTS = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"]


class ChangesForm(forms.Form):
    """What every job has."""

    priority = forms.IntegerField(min_value=LOWEST_PRIORITY, max_value=HIGHEST_PRIORITY, help_text="Higher goes first.")
    max_attempts = forms.IntegerField(
        label="Attempts", min_value=1, max_value=MAX_ATTEMPTS, help_text="That may fail before it is a dead letter."
    )
    run_at = forms.DateTimeField(
        label="Run at", required=False, input_formats=_MOMENTS,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["run_at"].help_text = f"In {timezone.get_current_timezone_name()}. Empty: now."

    def clean_run_at(self) -> datetime | None:
        run_at: datetime | None = self.cleaned_data["run_at"]
        if run_at is not None and run_at <= timezone.now():
            raise forms.ValidationError("This moment has passed already.")
        return run_at

    def changes(self, job: Job, own: JobOptions | None, own_form: forms.Form | None) -> Changes:
        """What differs from the job as it is."""
        data, run_at = self.cleaned_data, self.cleaned_data["run_at"]
        kwargs = None
        if own is not None and own_form is not None and own_form.has_changed():
            kwargs = own.write(job.payload.get("kwargs", {}), own_form.cleaned_data)
        return Changes(
            priority=data["priority"] if data["priority"] != job.priority else None,
            max_attempts=data["max_attempts"] if data["max_attempts"] != job.max_attempts else None,
            delay=0.0 if run_at is None else max(0.0, (run_at - timezone.now()).total_seconds()),
            kwargs=kwargs,
        )


def retry_changed(request: HttpRequest, model_admin: ModelAdmin[Any]) -> HttpResponse:
    """GET asks what is to be different of `?ids=` (one job); POST retries it so."""
    require(request, PERMISSION, model_admin)
    given = request.POST if request.method == "POST" else request.GET
    job = Job.objects.get(pk=seen_by(request, model_admin, parse_ids(given.get("ids", ""))[:1])[0])
    data = request.POST if request.method == "POST" else None
    form = ChangesForm(data, initial={"priority": job.priority, "max_attempts": job.max_attempts})
    own = options_of(job)
    initial = own.read(job.payload.get("kwargs", {})) if own is not None else {}
    own_form = own.form(data, prefix="own", initial=initial) if own is not None else None
    if data is None or not all(part.is_valid() for part in (form, own_form) if part is not None):
        return _ask(request, model_admin, job, form, own_form)
    try:
        result = operations.retry_changed(job.pk, form.changes(job, own, own_form), **who_asks(request))
    except QueueAdminError as error:
        form.add_error(None, display.visible(error))
        return _ask(request, model_admin, job, form, own_form)
    report(request, "queued again", result)
    return HttpResponseRedirect(after(model_admin, [job.pk]))


def _ask(
    request: HttpRequest, model_admin: ModelAdmin[Any], job: Job, form: ChangesForm, own_form: forms.Form | None
) -> HttpResponse:
    plan = operations.eligible("retry", [job.pk])
    context = {
        **page_context(request, model_admin, f"{LABEL}?"),
        "operation": _OPERATION,
        "action": operate_url(model_admin, NAME),
        "eligible": len(plan.eligible),
        "selected": 1,
        "refused": [{"reason": display.refusal(reason), "count": 1} for reason in plan.refused.values()],
        "form": form,
        "own_form": own_form,
        "hidden": {"ids": job.pk.hex},
        "submit": "Retry with these",
        "back": after(model_admin, [job.pk]),
    }
    return TemplateResponse(request, "queueadmin/confirm.html", context)
