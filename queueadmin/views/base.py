"""What the pages share: their frame, who asks, and permissions."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.urls import reverse

from queueadmin import display
from queueadmin.audit import Who

MAX_REASON = 1_000
"""Characters of a reason that are kept."""


def page_context(request: HttpRequest, model_admin: ModelAdmin[Any], title: str) -> dict[str, Any]:
    """The context that every page has. `reason`: what was typed into a form that is shown once more."""
    return {
        **model_admin.admin_site.each_context(request),
        "title": display.visible(title, limit=200),
        "opts": model_admin.opts,
        "media": model_admin.media,
        "reason": request.POST.get("reason", "")[:MAX_REASON],
    }


def who_asks(request: HttpRequest) -> Who:
    """The person who sent the form, and the reason in it."""
    return {
        "by": request.user.get_username(),
        "user": request.user,
        "source": "admin",
        "reason": request.POST.get("reason", "")[:MAX_REASON],
    }


def require(request: HttpRequest, permission: str, model_admin: ModelAdmin[Any]) -> None:
    """Raises PermissionDenied without this permission, or without that to see the page."""
    if not (model_admin.has_view_permission(request) and request.user.has_perm(permission)):
        raise PermissionDenied


def operate_url(model_admin: ModelAdmin[Any], operation: str) -> str:
    """Where an operation is confirmed and done."""
    return url(model_admin, "operate", operation)


def url(model_admin: ModelAdmin[Any], page: str, *arguments: object) -> str:
    """A page of a model's admin."""
    name = f"{model_admin.admin_site.name}:{model_admin.opts.app_label}_{model_admin.opts.model_name}_{page}"
    return reverse(name, args=arguments)


def number_of_jobs(count: int) -> str:
    """In words."""
    return "1 job" if count == 1 else f"{count} jobs"
