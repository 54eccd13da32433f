"""Ingestion tasks, tenants, API keys and webhook attempts in Django's admin."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminSplitDateTime
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from documents import api_keys, files, webhooks
from documents import panels as panels  # registers what the pages of jobs show
from documents.exceptions import DocumentError
from documents.models import ApiKey, DisabledEndpoint, IngestionTask, Scope, Tenant, TenantMember, WebhookAttempt
from queueadmin import display
from queueadmin.admin import JobListAdmin, LedgerAdmin, as_id
from queueadmin.audit import Who, audited
from queueadmin.filters import CreatedFilter, StateFilter
from queueadmin.ledger_admin import GuardedAdmin
from queueadmin.templatetags.queueadmin_display import ago

if TYPE_CHECKING:
    _KeyForm = forms.ModelForm[ApiKey]
else:
    _KeyForm = forms.ModelForm  # generic in the stubs only

_MAX_REDELIVERED = 1000


# -- tasks ---------------------------------------------------------------------------------------


def sees_all(request: HttpRequest) -> bool:
    """Whether this person may look at the tasks of every tenant."""
    return bool(request.user.has_perm("documents.view_ingestiontask"))


class TenantFilter(admin.SimpleListFilter):
    """By tenant."""

    title = "tenant"
    parameter_name = "tenant"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        seen = Tenant.objects.all() if sees_all(request) else Tenant.objects.filter(members__user=request.user.pk)
        return [(slug, slug) for slug in seen.order_by("slug").values_list("slug", flat=True)[:100]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        return queryset.filter(tenant=self.value()) if self.value() else None


@admin.register(IngestionTask)
class IngestionTaskAdmin(JobListAdmin):
    """Every document that was submitted, and where it stands."""

    job_path = "job__"
    bulk_scope = "actor:ingest_document"
    list_display = ["file", "state_label", "error", "attempts", "age", "took", "document", "submitted_by", "whose"]
    list_display_links = ["file"]
    list_filter = [StateFilter, CreatedFilter, TenantFilter]
    list_select_related = ["job"]
    ordering = ["-job_id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[IngestionTask]:
        """All tasks, or those of the person's own tenants."""
        tasks = super().get_queryset(request).select_related("job").defer("metadata", "job__payload", "job__result")
        if sees_all(request):
            return tasks
        own = TenantMember.objects.filter(user=request.user.pk).values("tenant")
        return tasks.filter(tenant__in=own)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return sees_all(request) or request.user.has_perm("documents.view_own_ingestiontask")

    def title_of(self, row: IngestionTask) -> str:
        return row.file_name

    def get_urls(self) -> list[URLPattern]:
        """With the files of a task: its document, its result."""
        view, name = self.admin_site.admin_view, "documents_ingestiontask"
        return [
            path("<uuid:task_id>/document/", view(partial(_document_file, self)), name=f"{name}_document"),
            path("<uuid:task_id>/result/", view(partial(_result_page, self)), name=f"{name}_result"),
            path("<uuid:task_id>/result/<str:form>/", view(partial(_result_file, self)), name=f"{name}_result_file"),
            *super().get_urls(),
        ]

    @admin.display(description="file")
    def file(self, task: IngestionTask) -> SafeString:
        return format_html('<bdi title="{}">{}</bdi>', task.pk, display.visible(task.file_name, limit=60))

    @admin.display(description="document")
    def document(self, task: IngestionTask) -> SafeString:
        return format_html("<bdi>{}</bdi>", display.visible(task.document_id, limit=40))

    @admin.display(description="tenant")
    def whose(self, task: IngestionTask) -> str:
        return display.visible(task.tenant, limit=64)

    @admin.display(description="user")
    def submitted_by(self, task: IngestionTask) -> SafeString:
        return format_html("<bdi>{}</bdi>", display.visible(task.user_id, limit=40))


# Django calls a view with the request first, `partial` with the admin.
def _document_file(model_admin: IngestionTaskAdmin, request: HttpRequest, task_id: UUID) -> HttpResponseBase:
    return files.document_file(request, model_admin, task_id)


def _result_page(model_admin: IngestionTaskAdmin, request: HttpRequest, task_id: UUID) -> HttpResponseBase:
    return files.result_page(request, model_admin, task_id)


def _result_file(model_admin: IngestionTaskAdmin, request: HttpRequest, task_id: UUID, form: str) -> HttpResponseBase:
    return files.result_file(request, model_admin, task_id, form)


@admin.register(WebhookAttempt)
class WebhookAttemptAdmin(LedgerAdmin):
    """Each try to tell a callback URL how a task ended."""

    list_display = ["tried", "event", "task", "attempt", "status_code", "took", "problem"]
    ordering = ["-id"]
    search_fields = ["task_id"]
    search_help_text = "A task's id."
    _shown = ("at", "task", "event", "attempt", "status_code", "took", "address", "problem_in_full", "inside", "answer")
    actions = ["deliver_again"]
    fields = _shown
    readonly_fields = _shown

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[WebhookAttempt], search_term: str
    ) -> tuple[QuerySet[WebhookAttempt], bool]:
        if not search_term.strip():
            return queryset, False
        task_id = as_id(search_term.strip())
        return (queryset.none() if task_id is None else queryset.filter(task_id=task_id)), False

    def has_deliver_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("queueadmin.retry_job")

    @admin.action(description="Deliver the events of selected attempts again", permissions=["deliver"])
    def deliver_again(self, request: HttpRequest, queryset: QuerySet[WebhookAttempt]) -> None:
        """At once, each event under its own webhook-id; repeating it is harmless."""
        sent, refused = 0, []
        for about in dict.fromkeys(queryset.values_list("task_id", flat=True)[:_MAX_REDELIVERED]):
            try:
                webhooks.redeliver(about, by=request.user.get_username(), source="admin", user=request.user)
                sent += 1
            except DocumentError as error:
                refused.append(f"{about}: {error.message}")
        messages.success(request, f"{sent} event{' is' if sent == 1 else 's are'} delivered again.")
        for sentence in refused:
            messages.warning(request, sentence)

    @admin.display(description="tried")
    def tried(self, attempt: WebhookAttempt) -> Any:
        return ago(attempt.at)

    @admin.display(description="task")
    def task(self, attempt: WebhookAttempt) -> SafeString:
        if not attempt.event.startswith("task."):
            return format_html("…{}", attempt.task_id.hex[-12:])
        url = reverse("admin:documents_ingestiontask_change", args=[attempt.task_id])
        return format_html('<a href="{}">…{}</a>', url, attempt.task_id.hex[-12:])

    @admin.display(description="took")
    def took(self, attempt: WebhookAttempt) -> str:
        return display.duration(attempt.duration_ms / 1000)

    @admin.display(description="error")
    def problem(self, attempt: WebhookAttempt) -> str:
        return display.visible(attempt.error, limit=120) or "-"

    @admin.display(description="URL")
    def address(self, attempt: WebhookAttempt) -> str:
        return display.visible(attempt.url, limit=2_048)

    @admin.display(description="error")
    def problem_in_full(self, attempt: WebhookAttempt) -> str:
        return display.visible(attempt.error) or "-"

    @admin.display(description="for staff only")
    def inside(self, attempt: WebhookAttempt) -> str:
        return display.visible(attempt.detail) or "-"

    @admin.display(description="answer")
    def answer(self, attempt: WebhookAttempt) -> SafeString:
        return format_html('<pre class="qa-json">{}</pre>', display.visible(attempt.response_excerpt, lines=True))


def _who(request: HttpRequest) -> Who:
    return {"by": request.user.get_username(), "source": "admin", "user": request.user}


# -- tenants and keys ----------------------------------------------------------------------------


@admin.register(Tenant)
class TenantAdmin(LedgerAdmin):
    """Who owns which part of the document store. A tenant is made with its first API key."""

    list_display = ["slug", "key_prefix", "has_endpoint", "requests_per_minute", "documents_per_minute", "created_at"]
    ordering = ["slug"]

    @admin.display(description="webhook endpoint", boolean=True)
    def has_endpoint(self, tenant: Tenant) -> bool:
        return bool(tenant.webhook_url)


@admin.register(DisabledEndpoint)
class DisabledEndpointAdmin(LedgerAdmin):
    """Addresses that answered 410 Gone. Nothing is sent there until they are enabled again."""

    list_display = ["origin", "tenant", "disabled_at"]
    ordering = ["-disabled_at"]
    actions = ["enable"]

    def has_enable_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("documents.delete_disabledendpoint")

    @admin.action(description="Let webhooks go there again", permissions=["enable"])
    def enable(self, request: HttpRequest, queryset: QuerySet[DisabledEndpoint]) -> None:
        """The events of meanwhile have failed; deliver them again where they matter."""
        chosen = list(queryset)
        with audited("enable_endpoint", f"{len(chosen)} addresses", len(chosen), **_who(request)) as log:
            for endpoint in chosen:
                self.log_change(request, endpoint, "Enabled.")
            enabled = log.done = queryset.delete()[0]
            log.detail = {"origins": [endpoint.origin for endpoint in chosen[:100]]}
        messages.success(request, f"{enabled} address{' is' if enabled == 1 else 'es are'} enabled again.")


@admin.register(TenantMember)
class TenantMemberAdmin(GuardedAdmin):
    """Who may look at which tenant's tasks; with the group "Tenant viewer", and nothing else."""

    list_display = ["user", "tenant"]
    list_select_related = ["user", "tenant"]
    ordering = ["user__username", "tenant"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: TenantMember, form: Any, change: bool) -> None:
        with audited("add_tenant_member", str(obj)[:200], 1, **_who(request)) as log:
            super().save_model(request, obj, form, change)
            log.done = 1

    def delete_model(self, request: HttpRequest, obj: TenantMember) -> None:
        with audited("remove_tenant_member", str(obj)[:200], 1, **_who(request)) as log:
            super().delete_model(request, obj)
            log.done = 1

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[TenantMember]) -> None:
        """One by one, so that each leaves its row."""
        for member in queryset:
            self.delete_model(request, member)


class NewKeyForm(_KeyForm):
    """What a person says of a new key; the key itself is made by `api_keys.issue`."""

    scopes = forms.MultipleChoiceField(choices=Scope.choices, widget=forms.CheckboxSelectMultiple)
    expires_at = forms.SplitDateTimeField(required=False, widget=AdminSplitDateTime, help_text="Empty: never.")

    class Meta:
        model = ApiKey
        fields = ["name", "tenant", "scopes", "all_tenants", "expires_at"]

    def clean(self) -> Any:
        if self.cleaned_data.get("all_tenants") and Scope.OPERATE not in self.cleaned_data.get("scopes", ()):
            raise forms.ValidationError("A key for all tenants is one that operates: give it the scope operate.")
        return super().clean()

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise forms.ValidationError("This moment has passed already.")
        return expires_at


@admin.register(ApiKey)
class ApiKeyAdmin(LedgerAdmin):
    """API keys: made, listed and revoked here. A key is shown once, on the page that follows its making."""

    list_display = ["called", "shown_prefix", "tenant", "may", "created_at", "expires_at", "last_used_at", "status"]
    list_select_related = ["tenant"]
    ordering = ["-id"]
    search_fields = ["name", "prefix"]
    actions = ["revoke"]
    exclude = ["hash"]
    readonly_fields = ["called"]

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return request.user.has_perm("documents.add_apikey")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("documents.change_apikey")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs) if change else NewKeyForm

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return NewKeyForm.Meta.fields
        return ["called", *(name for name in super().get_fields(request, obj) if name not in ("called", "name"))]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """With one button: the key must be copied before anything else happens."""
        one_button = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **one_button})

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Issue the key; Django's form has filled `obj`, of which only the stored record remains."""
        with audited("issue_api_key", f"{obj.tenant_id}: {obj.name}", 1, **_who(request)) as log:
            issued = api_keys.issue(
                obj.name,
                scopes=form.cleaned_data["scopes"],
                tenant=obj.tenant_id,
                expires_at=obj.expires_at,
                all_tenants=obj.all_tenants,
            )
            log.done, log.detail = 1, issued.told
        obj.pk, obj.prefix = issued.record.pk, issued.record.prefix
        request.issued_key = issued.key  # type: ignore[attr-defined]  # for response_add, in the same request

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Show the key, in this answer only: a message or a redirect would store it in a cookie or a session."""
        context = {
            **self.admin_site.each_context(request),
            "title": "The new API key",
            "opts": self.opts,
            "media": self.media,
            "record": obj,
            "key": request.issued_key,  # type: ignore[attr-defined]  # set by save_model
        }
        response = TemplateResponse(request, "documents/new_api_key.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description="Revoke selected API keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        """Ask first; a revoked key cannot be given back."""
        live = list(queryset.filter(revoked_at=None)[:100])
        if request.POST.get("confirmed") != "yes":
            context = {
                **self.admin_site.each_context(request),
                "title": f"Revoke {len(live)} API key{'' if len(live) == 1 else 's'}?",
                "opts": self.opts,
                "media": self.media,
                "keys": live,
            }
            return TemplateResponse(request, "documents/revoke_api_keys.html", context)
        for key in live:
            with audited("revoke_api_key", f"{key.tenant_id}: {key.name}", 1, **_who(request)) as log:
                api_keys.revoke(str(key.pk))
                log.done, log.detail = 1, {"prefix": key.prefix}
            self.log_change(request, key, "Revoked.")
        messages.success(request, f"{len(live)} API key{' is' if len(live) == 1 else 's are'} revoked.")
        return None

    @admin.display(description="name", ordering="name")
    def called(self, key: ApiKey) -> str:
        return display.visible(key.name)

    @admin.display(description="key")
    def shown_prefix(self, key: ApiKey) -> str:
        return f"{key.prefix}…"

    @admin.display(description="scopes")
    def may(self, key: ApiKey) -> str:
        return ", ".join(key.scopes) + (" (all tenants)" if key.all_tenants else "")

    @admin.display(description="status")
    def status(self, key: ApiKey) -> str:
        if key.revoked_at is not None:
            return "revoked"
        return "expired" if key.expires_at is not None and key.expires_at <= timezone.now() else "valid"
