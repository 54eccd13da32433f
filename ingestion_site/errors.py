"""Answers to requests that no view took: problem documents below /api/, Django's pages elsewhere."""

import json
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.views import defaults

API_PREFIX = "/api/"


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _is_api(request):
        return problem(request, HTTPStatus.BAD_REQUEST, "invalid_request", "The request cannot be understood.")
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _is_api(request):
        return problem(request, HTTPStatus.FORBIDDEN, "forbidden", "This request is not allowed.")
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _is_api(request):
        return problem(request, HTTPStatus.NOT_FOUND, "not_found", "There is nothing at this path; see /api/docs/.")
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    if _is_api(request):
        detail = "The service failed; the failure has been logged. Repeat the request later."
        return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", detail)
    return defaults.server_error(request)


def problem(request: HttpRequest, status: HTTPStatus, code: str, detail: str) -> HttpResponse:
    """A problem document (RFC 9457), for the errors that no view of the API could answer."""
    body = {
        "type": f"urn:problem:document-ingestion:{code}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "instance": request.path,
    }
    return HttpResponse(json.dumps(body), status=status, content_type="application/problem+json")


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith(API_PREFIX)
