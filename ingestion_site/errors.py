"""Answers to requests that no view took: problem documents below /api/, Django's pages elsewhere."""

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from documents.api import problem

API_PREFIX = "/api/"


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400: a host that is not ours, a body that cannot be read."""
    if _is_api(request):
        return problem.response(request, "malformed_body", "The request cannot be understood.")
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403."""
    if _is_api(request):
        return problem.response(request, "forbidden", "This request is not allowed.")
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404: no such path."""
    if _is_api(request):
        return problem.response(request, "not_found", "There is nothing at this path; see /api/docs/.")
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """500; Django has logged the traceback."""
    if _is_api(request):
        return problem.response(request, "internal_error", "The service failed; the failure has been logged.")
    return defaults.server_error(request)


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith(API_PREFIX)
