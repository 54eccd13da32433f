"""What the pages of the control plane share: how one is declared, guarded and rendered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from queueadmin import inspection
from queueadmin.broker import get_ledger_broker

View = Callable[..., dict[str, Any] | HttpResponseBase]
"""Takes the request and what the path captures; returns the template's context, or an answer of its own.

`status` in the context is that of the answer.
"""

LIVE_SECONDS = 5
"""How often a page that shows the present fetches itself again."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page. `permission` is needed to see it, `post_permission` to POST to it; without one, it takes no POST."""

    name: str
    title: str
    view: View
    permission: str
    post_permission: str = ""
    route: str = ""
    """Below the control plane; the name when empty."""
    template: str = ""
    in_menu: bool = True
    is_live: bool = False

    @property
    def url_name(self) -> str:
        return f"control_{self.name}"

    def pattern(self, site: AdminSite) -> URLPattern:
        return path(f"control/{self.route or self.name}/", site.admin_view(self._answer(site)), name=self.url_name)

    def is_allowed(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(self.permission))

    def _answer(self, site: AdminSite) -> Callable[..., HttpResponseBase]:
        def answer(request: HttpRequest, **captured: Any) -> HttpResponseBase:
            allowed = ["GET", "HEAD"] + (["POST"] if self.post_permission else [])
            if request.method not in allowed:
                return HttpResponseNotAllowed(allowed)
            if not self.is_allowed(request):
                raise PermissionDenied
            if request.method == "POST" and not request.user.has_perm(self.post_permission):
                raise PermissionDenied
            found = self.view(request, **captured)
            return found if isinstance(found, HttpResponseBase) else self._render(request, site, found)

        return answer

    def _render(self, request: HttpRequest, site: AdminSite, context: dict[str, Any]) -> HttpResponse:
        template = self.template or f"queueadmin/pages/{self.name}.html"
        shared = {
            **site.each_context(request),
            "title": self.title,
            "page": self,
            "live_seconds": LIVE_SECONDS if self.is_live else 0,
        }
        return TemplateResponse(request, template, shared | context, status=context.get("status"))


def url(name: str, *arguments: object) -> str:
    """The address of a page of the control plane."""
    return reverse(f"admin:control_{name}", args=arguments)


def broker_health() -> inspection.BrokerHealth:
    """Asked once per page: with the broker down, pages work from the ledger and say so."""
    return inspection.health(get_ledger_broker().ready_sets)
