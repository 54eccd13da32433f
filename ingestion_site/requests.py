"""Every request gets an id and one log line; the id goes back to the client and on with every job that is sent."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from typing import cast

import structlog
from django.http import HttpRequest, HttpResponse
from django_structlog.middlewares import RequestMiddleware

from queueadmin.origin import Origin, on_behalf_of

HEADER = "X-Request-ID"
_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")
"""Ids of proxies and clients are kept if they are short and plain: they go into headers, log lines and the ledger."""

_UNTOLD = ("/health/", "/metrics")
"""Paths that machines ask for every few seconds: no line for each of them. Failures are told all the same."""


def request_id_of(header: str) -> str:
    """The id that came with a request, or a new one: 32 hex digits."""
    return header if _VALID.fullmatch(header) else uuid.uuid4().hex


class RequestLog(RequestMiddleware):
    """django-structlog's middleware with checked ids, the time taken, and without query strings.

    Synchronous only, as this service is served.
    """

    async_capable = False

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, with the id in the response."""
        answer = cast(Callable[[HttpRequest], HttpResponse], self.get_response)
        request_id = request.META["HTTP_X_REQUEST_ID"] = request_id_of(request.META.get("HTTP_X_REQUEST_ID", ""))
        started = time.perf_counter()
        with on_behalf_of(Origin(request_id=request_id)):
            if request.path.startswith(_UNTOLD):
                response = answer(request)
            else:
                self.prepare(request)
                response = answer(request)
                structlog.contextvars.bind_contextvars(ms=round((time.perf_counter() - started) * 1000))
                self.handle_response(request, response)
        response.headers[HEADER] = request_id
        return response

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        """Method and path. Not the query: people put secrets there."""
        return f"{request.method} {request.path}"
