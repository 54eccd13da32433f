"""Django's admin with the control plane in it: its pages, and its own section at the top of the menu."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.contenttypes.views import shortcut
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, path

from queueadmin.pages.base import url
from queueadmin.pages.table import PAGES


def view_on_site(request: HttpRequest, content_type_id: str, object_id: str) -> HttpResponse:
    """Django's way from a row to its page outside the admin; an id that no row can have is not found."""
    if "\0" in content_type_id + object_id:
        raise Http404("No row has such an id.")
    try:
        return shortcut(request, content_type_id, object_id)
    except ValidationError as error:
        raise Http404("No row has such an id.") from error


class ControlPlaneSite(AdminSite):
    """The default admin site of a project that names `queueadmin.apps.ControlPlaneConfig` in its INSTALLED_APPS."""

    def get_urls(self) -> list[URLPattern | URLResolver]:
        shown = path("r/<str:content_type_id>/<str:object_id>/", self.admin_view(view_on_site), name="view_on_site")
        return [*(page.pattern(self) for page in PAGES), shown, *super().get_urls()]

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Django's list, after the pages that this person may see."""
        apps: list[Any] = super().get_app_list(request, app_label)
        pages = [page for page in PAGES if page.in_menu and page.is_allowed(request)]
        if app_label is not None or not pages:
            return apps
        entries = [
            {
                "name": page.title, "object_name": page.name, "admin_url": url(page.name), "add_url": None,
                "view_only": True, "perms": {"view": True, "add": False, "change": False, "delete": False},
            }
            for page in pages
        ]  # fmt: skip
        section = {
            "name": "Control plane", "app_label": "control", "app_url": url(pages[0].name), "has_module_perms": True,
            "models": entries,
        }  # fmt: skip
        return [section, *apps]
