"""Every request gets an id, one log line and a span; the id goes back to the client and on with every job sent."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import cast

import structlog
from django.http import HttpRequest, HttpResponse
from django_structlog.middlewares import RequestMiddleware

from queueadmin import tracing
from queueadmin.origin import Origin, of_request, on_behalf_of

logger = logging.getLogger(__name__)

HEADER = "X-Request-ID"
_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")
"""Ids of proxies and clients are kept if they are short and plain: they go into headers, log lines and the ledger."""

_UNTOLD = ("/health/", "/metrics")
"""Paths that machines ask for every few seconds: no line for each of them. Failures are told all the same."""

Answer = Callable[[HttpRequest], HttpResponse]


def request_id_of(header: str) -> str:
    """The id that came with a request, or a new one: 32 hex digits."""
    return header if _VALID.fullmatch(header) else uuid.uuid4().hex


class RequestLog(RequestMiddleware):
    """django-structlog's middleware, reduced to what is read: one line when a request is over, or why it failed.

    Its line at the start, its three lines about each streamed result, its signals and its looking up of users cost
    more than they told. Synchronous only, as this service is served.
    """

    async_capable = False

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, with the id in the response."""
        request_id = request_id_of(request.META.get("HTTP_X_REQUEST_ID", ""))
        answer = cast(Answer, self.get_response)
        structlog.contextvars.clear_contextvars()
        with on_behalf_of(Origin(request_id=request_id)):
            told = not request.path.startswith(_UNTOLD)
            response = self._told(request, answer) if told else answer(request)
        response.headers[HEADER] = request_id
        return response

    def _told(self, request: HttpRequest, answer: Answer) -> HttpResponse:
        started = time.perf_counter()
        with tracing.span(str(request.method), kind="server", parent=request.META.get("HTTP_TRACEPARENT", "")) as span:
            response = answer(request)
            if not hasattr(request, "_raised_exception"):  # django-structlog has told of that, with its traceback
                ms = round((time.perf_counter() - started) * 1000)
                about = {"request": self.format_request(request), "code": response.status_code, "ms": ms}
                logger.log(self._log_level_for_status_code(response.status_code), "request_finished", extra=about)
            if span is not None:
                _describe(span, request, response)
        return response

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        """Method and path. Not the query: people put secrets there."""
        return f"{request.method} {request.path}"


def _describe(span: tracing.Span, request: HttpRequest, response: HttpResponse) -> None:
    """Name the span by its route, of which there are few; see OpenTelemetry's conventions for HTTP."""
    route = f"/{request.resolver_match.route}" if request.resolver_match else ""
    span.update_name(f"{request.method} {route}".rstrip())
    span.set_attributes({
        "http.request.method": str(request.method), "http.route": route, "url.path": request.path,
        "http.response.status_code": response.status_code, "request_id": of_request().request_id,
    })  # fmt: skip
