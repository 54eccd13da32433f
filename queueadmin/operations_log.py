"""The operations log in the admin: who did what to the queues, when, from where and why; filters, export, links."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from queueadmin import display
from queueadmin.exports import download
from queueadmin.ledger_admin import LedgerAdmin, as_id
from queueadmin.models import AuditEntry, BulkOperation, JobEvent, OperationLog

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

_SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30)}
_COLUMNS = (
    "id", "at", "by", "source", "operation", "target", "reason", "requested", "done", "outcome", "detail",
)  # fmt: skip
_MAX_EVENTS = 1_000


class _ColumnFilter(admin.SimpleListFilter):
    """By a column of few values, of those that are there."""

    column = ""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        values = OperationLog.objects.order_by(self.column).values_list(self.column, flat=True)
        return [(value, display.visible(value, limit=40)) for value in values.distinct()[:50]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        return queryset.filter(**{self.column: self.value()}) if self.value() else None


class WhoFilter(_ColumnFilter):
    """By who asked."""

    title, parameter_name, column = "who", "by", "by"


class OperationFilter(_ColumnFilter):
    """By what was asked."""

    title, parameter_name, column = "operation", "operation", "operation"


class WhenFilter(admin.SimpleListFilter):
    """By age."""

    title, parameter_name = "when", "when"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [(name, f"Last {name}") for name in _SPANS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        span = _SPANS.get(self.value() or "")
        return queryset.filter(at__gte=timezone.now() - span) if span else None


@admin.register(OperationLog)
class OperationLogAdmin(LedgerAdmin):
    """Who did what to the queues, from the admin, the API, the command line and by itself."""

    list_display = ["at", "who", "operation", "what", "why", "outcome", "done", "requested", "source"]
    list_filter = [WhenFilter, WhoFilter, OperationFilter, "source", "outcome"]
    ordering = [F("at").desc(), "pk"]
    change_list_template = "queueadmin/operations_log.html"
    search_fields = ["target"]  # shows the box; what is typed there is read by `get_search_results`
    _shown = (
        "at", "who", "user", "source", "operation", "what", "why_in_full", "requested", "done", "outcome", "jobs",
        "bulk", "more", "chain",
    )  # fmt: skip
    fields = _shown
    readonly_fields = _shown

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By target, name and reason; a job's id finds every operation that changed the job, also those on many."""
        text = search_term.strip()
        if not text or "\x00" in text:
            return (queryset if not text else queryset.none()), False
        found = Q(target__icontains=text) | Q(by__icontains=text) | Q(reason__icontains=text)
        wanted = as_id(text)
        if wanted is not None:
            found |= Q(pk=wanted) | Q(target=str(wanted)) | Q(pk__in=_operations_on(wanted))
        return queryset.filter(found), False

    # -- columns -----------------------------------------------------------------------------

    @admin.display(description="by")
    def who(self, log: OperationLog) -> str:
        return display.visible(log.by)

    @admin.display(description="target")
    def what(self, log: OperationLog) -> SafeString | str:
        job_id = as_id(log.target)
        return _job_link(job_id) if job_id is not None else display.visible(log.target)

    @admin.display(description="reason")
    def why(self, log: OperationLog) -> str:
        return display.visible(log.reason, limit=80) or "-"

    @admin.display(description="reason")
    def why_in_full(self, log: OperationLog) -> str:
        return display.visible(log.reason, limit=4_000) or "-"

    @admin.display(description="jobs")
    def jobs(self, log: OperationLog) -> SafeString | str:
        """The first hundred jobs that it was asked for, with links."""
        named = log.detail.get("jobs", []) if isinstance(log.detail, dict) else []
        ids = [job_id for text in named if (job_id := as_id(str(text))) is not None]
        return format_html_join(", ", "{}", ((_job_link(job_id),) for job_id in ids)) or "-"

    @admin.display(description="bulk operation")
    def bulk(self, log: OperationLog) -> SafeString | str:
        bulk_id = BulkOperation.objects.filter(log_id=log.pk).values_list("pk", flat=True).first()
        if bulk_id is None:
            return "-"
        return format_html('<a href="{}">{}</a>', reverse("admin:control_bulk", args=[bulk_id]), bulk_id)

    @admin.display(description="details")
    def more(self, log: OperationLog) -> SafeString:
        detail = log.detail
        shown = (
            {name: value for name, value in detail.items() if name != "jobs"} if isinstance(detail, dict) else detail
        )
        return format_html('<pre class="qa-json">{}</pre>', display.pretty_json(shown))

    @admin.display(description="entries of the chain")
    def chain(self, log: OperationLog) -> SafeString | str:
        entries = AuditEntry.objects.filter(operation_id=log.pk).order_by("number")
        lines = format_html_join("", "<li>{} {}: <code>{}</code></li>", ((e.number, e.kind, e.hash) for e in entries))
        return format_html('<ul class="qa-list">{}</ul>', lines) if lines else "-"

    # -- export ------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(partial(_export, self))
        return [path("export/<str:form>/", export, name="queueadmin_operationlog_export"), *super().get_urls()]

    def export(self, request: HttpRequest, form: str) -> HttpResponseBase:
        """The rows that the list shows with these filters, all of them, the newest first."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        try:
            rows = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse("admin:queueadmin_operationlog_changelist"))
        return download("operations", form, _COLUMNS, _rows(rows.select_related(None)))


def _export(model_admin: OperationLogAdmin, request: HttpRequest, form: str) -> HttpResponseBase:
    return model_admin.export(request, form)


def _rows(logs: QuerySet[OperationLog]) -> Iterator[dict[str, Any]]:
    for log in logs.iterator(chunk_size=1_000):
        yield {name: str(log.pk) if name == "id" else getattr(log, name) for name in _COLUMNS}


def _operations_on(job_id: UUID) -> set[UUID]:
    """The operations that a job's events name."""
    details = JobEvent.objects.filter(job_id=job_id).values_list("detail", flat=True)[:_MAX_EVENTS]
    named = (as_id(str(detail.get("operation", ""))) for detail in details if isinstance(detail, dict))
    return {found for found in named if found is not None}


def _job_link(job_id: UUID) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse("admin:queueadmin_job_change", args=[job_id]), job_id)
