"""Every public path of the service."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from documents.api.queues import Queues
from ingestion_site import health

admin.site.site_header = "Document ingestion"
admin.site.site_title = "Document ingestion"
admin.site.index_title = "Control plane"


def home(request: HttpRequest) -> HttpResponseRedirect:
    """The bare address leads to what a person wants to see."""
    return HttpResponseRedirect("/admin/")


def no_icon(request: HttpRequest) -> HttpResponse:
    """Browsers ask for it on every page; a 404 each time would be a warning in the log."""
    return HttpResponse(status=204, headers={"Cache-Control": "max-age=86400"})


urlpatterns = [
    path("", home),
    path("favicon.ico", no_icon),
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("api/documents/", include("documents.api.urls")),
    path("api/queues", Queues.as_view()),
    path("api/queues/", include("documents.api.queue_urls")),
    path("problems/", include("documents.api.problem_pages")),
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("health/workers", health.workers, name="health-workers"),
]

handler400 = "ingestion_site.errors.bad_request"
handler403 = "ingestion_site.errors.permission_denied"
handler404 = "ingestion_site.errors.not_found"
handler500 = "ingestion_site.errors.server_error"
