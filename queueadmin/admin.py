"""The control plane in Django's admin. Rows of the ledger are looked at and operated on, never edited."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from queueadmin import display, views
from queueadmin.filters import ActorFilter, CreatedFilter, QueueFilter, StateFilter
from queueadmin.ledger_admin import LedgerAdmin, as_id
from queueadmin.models import Job, QueueControl
from queueadmin.operations_log import OperationLogAdmin
from queueadmin.pages.bulk import CHOICES as BULK
from queueadmin.search.fields import known as known_fields
from queueadmin.search.language import SearchError
from queueadmin.search.query import matching
from queueadmin.states import State
from queueadmin.templatetags.queueadmin_display import age, state_badge


class JobListAdmin(LedgerAdmin):
    """A list of jobs, or of rows that stand one to one for jobs: columns, operations, the job's page.

    A subclass whose model is not Job sets `job_path` to the lookup that leads to the job ("job__"), shares its
    primary key, and sets `bulk_scope` to the terms that find the jobs of its rows and no others.
    """

    job_path = ""
    bulk_scope = ""
    actions = ["retry_jobs", "cancel_jobs", "reprioritise_jobs", "discard_jobs"]
    change_list_template = "queueadmin/job_list.html"
    search_fields = ["id"]  # shows the box; what is typed there is read by `get_search_results`

    # -- search ------------------------------------------------------------------------------

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By the filter language. What cannot be read finds nothing and is explained."""
        within = None if self.job_path else queryset
        try:
            matches = matching(search_term, now=timezone.now(), within=within)
        except SearchError as error:
            messages.error(request, display.visible(str(error), limit=300))
            return queryset.none(), False
        request.search_bound = matches.bound  # type: ignore[attr-defined]  # for the changelist, in the same request
        if not search_term.strip():
            return queryset, False
        if within is not None:
            return matches.jobs, False
        return queryset.filter(**{f"{self.job_path}pk__in": matches.jobs.values("pk")}), False

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With what the search left out, and the language's help."""
        changes: Any = super().get_changelist_instance(request)
        changes.search_bound = getattr(request, "search_bound", "")
        changes.search_help = known_fields()
        changes.bulk_search = f"{self.bulk_scope} {changes.query}".strip()
        may = request.user.has_perm
        changes.bulk_choices = [
            (name, label)
            for name, (label, permission, _) in BULK.items()
            if may(permission) and may("queueadmin.view_job")  # as the page asks that they lead to
        ]
        return changes

    def job_of(self, row: Any) -> Job:
        job: Job = row.job if self.job_path else row
        return job

    def title_of(self, row: Any) -> str:
        """What the page of a row is called."""
        return str(row)

    # -- columns -----------------------------------------------------------------------------

    # Not named "state": Django prefers a model's field to a method of the same name.
    @admin.display(description="state")
    def state_label(self, row: Any) -> SafeString:
        job = self.job_of(row)
        badge = state_badge(job.state)
        if job.cancel_requested_at and job.state == State.PROCESSING:
            return format_html("{} <small>stopping</small>", badge)
        return badge

    @admin.display(description="attempts")
    def attempts(self, row: Any) -> str:
        job = self.job_of(row)
        under_way = job.state in (State.PROCESSING, State.COMPLETED)
        text = f"{job.failures + under_way} of {job.max_attempts}"
        return text if job.run == 1 else f"{text}, run {job.run}"

    @admin.display(description="age")
    def age(self, row: Any) -> Any:
        return age(self.job_of(row).created_at)

    @admin.display(description="duration")
    def took(self, row: Any) -> str:
        job = self.job_of(row)
        if job.started_at is None or (job.finished_at is None and job.state != State.PROCESSING):
            return "-"
        return display.duration(((job.finished_at or timezone.now()) - job.started_at).total_seconds())

    @admin.display(description="error")
    def error(self, row: Any) -> Any:
        job = self.job_of(row)
        if not job.error_code:
            return "-"
        return format_html(
            '<span title="{}">{}</span>', display.visible(job.error_message), display.visible(job.error_code)
        )

    # -- operations --------------------------------------------------------------------------

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("queueadmin.retry_job")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("queueadmin.cancel_job")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("queueadmin.discard_job")

    def has_reprioritise_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("queueadmin.reprioritise_job")

    @admin.action(description="Change the priority of selected jobs", permissions=["reprioritise"])
    def reprioritise_jobs(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return self._confirm(request, queryset, "priority")

    @admin.action(description="Retry selected jobs", permissions=["retry"])
    def retry_jobs(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return self._confirm(request, queryset, "retry")

    @admin.action(description="Cancel selected jobs", permissions=["cancel"])
    def cancel_jobs(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return self._confirm(request, queryset, "cancel")

    @admin.action(description="Discard selected dead letters", permissions=["discard"])
    def discard_jobs(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return self._confirm(request, queryset, "discard")

    def _confirm(self, request: HttpRequest, queryset: QuerySet[Any], operation: str) -> HttpResponse:
        ids, more = views.ids_of(queryset)
        return views.confirm_jobs(request, self, views.JOB_OPERATIONS[operation], ids, more=more)

    # -- pages -------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        operate = self.admin_site.admin_view(partial(_operate_on_jobs, self))
        name = f"{self.opts.app_label}_{self.opts.model_name}_operate"
        return [path("operate/<str:operation>/", operate, name=name), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The job's page in place of a form that nobody may fill in."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            messages.warning(request, f"There is no {self.opts.verbose_name} {display.visible(object_id, limit=60)}.")
            return redirect(f"{self.admin_site.name}:index")
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        job = Job.objects.get(pk=row.pk)
        return views.job_page(request, self, job, title=self.title_of(row))


def _operate_on_jobs(model_admin: JobListAdmin, request: HttpRequest, operation: str) -> HttpResponse:
    if operation == "retry_changed":
        return views.retry_changed(request, model_admin)
    return views.operate_on_jobs(request, model_admin, operation)


@admin.register(Job)
class JobAdmin(JobListAdmin):
    """Jobs of every actor."""

    list_display = ["short_id", "state_label", "error", "attempts", "age", "took", "what", "where", "partition"]
    list_display_links = ["short_id"]
    list_filter = [StateFilter, CreatedFilter, QueueFilter, ActorFilter]
    ordering = [F("id").desc()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        return super().get_queryset(request).defer("payload", "result")

    # Not named like the fields, which Django would prefer, and write as they are: names may come from outside.
    @admin.display(description="actor")
    def what(self, job: Job) -> str:
        return display.visible(job.actor, limit=100)

    @admin.display(description="queue")
    def where(self, job: Job) -> str:
        return display.visible(job.queue)

    @admin.display(description="tenant")
    def partition(self, job: Job) -> str:
        return display.visible(job.partition_key, limit=40) or "-"

    @admin.display(description="job")
    def short_id(self, job: Job) -> str:
        return job.pk.hex[-12:]


@admin.register(QueueControl)
class QueueAdmin(LedgerAdmin):
    """The page of queues and workers, in the place of QueueControl's list."""

    def get_urls(self) -> list[URLPattern]:
        operate = self.admin_site.admin_view(partial(_operate_on_queue, self))
        name = f"{self.opts.app_label}_{self.opts.model_name}_operate"
        return [path("operate/<str:operation>/", operate, name=name), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return views.queue_page(request, self)


def _operate_on_queue(model_admin: QueueAdmin, request: HttpRequest, operation: str) -> HttpResponse:
    return views.operate_on_queue(request, model_admin, operation)


__all__ = ["JobAdmin", "JobListAdmin", "LedgerAdmin", "OperationLogAdmin", "QueueAdmin", "as_id"]
