"""Errors as problem documents (RFC 9457): every 4xx and 5xx of the API has this shape."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, InternalError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from rest_framework import exceptions as rest
from rest_framework.settings import api_settings

from documents.api import bodies
from documents.api.catalogue import BY_CODE, ProblemType
from documents.api_keys import InvalidApiKey
from documents.batches import BatchRefused
from documents.exceptions import DocumentError, InvalidKey, ResultNotFound, StorageError
from documents.idempotency import InvalidIdempotencyKey, SubmissionInFlight
from documents.listing import InvalidCursor
from documents.selectors import NotFinished, ResultUnavailable
from queueadmin.exceptions import InvalidTransition, QueueFull
from queueadmin.operations import DepthChanged, InvalidTime, UnknownQueue

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
CHALLENGE = 'Bearer realm="document ingestion"'
_UNAVAILABLE_SECONDS = 5
_NOT_FINISHED_SECONDS = 2
_IN_FLIGHT_SECONDS = 1


class Problem(Exception):
    """A problem to answer a request with. `members` go into the body beside the standard ones."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Mapping[str, list[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        self.type: ProblemType = BY_CODE[code]
        super().__init__(detail or self.type.title)
        self.detail = detail or self.type.title + "."
        self.headers = dict(headers or {})
        self.members = members if errors is None else {**members, "errors": dict(errors)}


def respond(problem: Problem, path: str) -> HttpResponse:
    """The problem as a response to a request for `path`."""
    kind = problem.type
    body = {
        "type": kind.uri,
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "instance": path,
        "code": kind.code,
        **problem.members,
    }
    # ASCII only, so that half a surrogate pair that came in with the request can go out again.
    response = HttpResponse(json.dumps(body) + "\n", status=kind.status, content_type=CONTENT_TYPE)
    for name, value in problem.headers.items():
        response.headers[name] = value
    return response


def response(request: HttpRequest, code: str, detail: str = "") -> HttpResponse:
    """A problem for requests that reached no view of the API; for the site's error handlers."""
    return respond(Problem(code, detail), request.path)


def exception_handler(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """Django REST framework's EXCEPTION_HANDLER: everything becomes a problem, also what nobody expected."""
    problem = _known(error)
    if problem is None:
        problem = _unexpected(error)
    return respond(problem, context["request"].path)


def _unexpected(error: Exception) -> Problem:
    error_id = uuid4().hex
    logger.error("a request failed unexpectedly", exc_info=error, extra={"error_id": error_id})
    return Problem("internal_error", "The service failed; the failure has been logged under this id.", id=error_id)


def _known(error: Exception) -> Problem | None:
    match error:
        case Problem():
            return error
        case rest.APIException() | Http404() | PermissionDenied():
            return _of_framework(error)
        case RequestDataTooBig():
            return Problem("body_too_large")
        case SuspiciousOperation() | UnreadablePostError():
            return Problem("malformed_body", "The request cannot be read.")
        case QueueFull():
            return Problem("queue_full", str(error), headers={"Retry-After": f"{error.retry_after:.0f}"})
        case InvalidTransition():
            return Problem("invalid_transition", f"The task is {error.state}.", state=error.state)
        case UnknownQueue():
            return Problem(error.code, str(error))
        case DepthChanged():
            return Problem(error.code, str(error), depth=error.depth)
        case InvalidTime():
            return Problem(
                "invalid_request", "Some fields are invalid; see errors.", errors={"resume_at": [str(error)]}
            )
        case DocumentError():
            return _of_domain(error)
        case OperationalError() | InterfaceError() | InternalError():  # the last: a session that was ended meanwhile
            logger.warning("a request found no database", exc_info=error)
            return _unavailable("The database does not answer.")
    return None


def _of_domain(error: DocumentError) -> Problem | None:
    match error:
        case InvalidApiKey():
            return unauthenticated(error.message)
        case BatchRefused():
            return Problem(error.code, error.message, documents=[bodies.refusal(item) for item in error.refusals])
        case InvalidKey():
            return Problem("invalid_request", "The key cannot be used.", errors={"r2_key": [error.message]})
        case InvalidCursor():
            return Problem("invalid_request", "Some parameters are invalid.", errors={"cursor": [error.message]})
        case InvalidIdempotencyKey():
            return Problem("invalid_request", "A header cannot be used.", errors={"Idempotency-Key": [error.message]})
        case SubmissionInFlight():
            return Problem(error.code, error.message, headers={"Retry-After": str(_IN_FLIGHT_SECONDS)})
        case NotFinished():
            wait = {"Retry-After": str(_NOT_FINISHED_SECONDS)}
            return Problem(error.code, error.message, headers=wait, state=error.state)
        case ResultUnavailable():
            return Problem(error.code, error.message, state=error.state)
        case ResultNotFound():
            return Problem("result_expired", error.message)
        case StorageError():
            logger.warning("a request found no storage", exc_info=error)
            return _unavailable("The storage does not answer properly now.")
    return Problem(error.code, error.message) if error.code in BY_CODE else None


def _of_framework(error: rest.APIException | Http404 | PermissionDenied) -> Problem:
    match error:
        case rest.ValidationError():
            return Problem("invalid_request", "Some fields are invalid; see errors.", errors=field_errors(error.detail))
        case rest.ParseError():
            return Problem("malformed_body", str(error.detail))
        case rest.NotAuthenticated() | rest.AuthenticationFailed():
            return unauthenticated(str(error.detail))
        case rest.PermissionDenied():
            return Problem("forbidden", str(error.detail))
        case rest.MethodNotAllowed():
            return Problem("method_not_allowed", str(error.detail))
        case rest.NotAcceptable():
            return Problem("not_acceptable")
        case rest.UnsupportedMediaType():
            return Problem("unsupported_media_type", _media_types(error))
        case rest.Throttled():
            return Problem("rate_limited", headers={"Retry-After": f"{getattr(error, 'wait', None) or 1:.0f}"})
        case Http404() | rest.NotFound():
            return Problem("not_found")
    return Problem("forbidden") if isinstance(error, PermissionDenied) else _unexpected(error)


def _media_types(error: rest.APIException) -> str:
    return f"{error.detail} Send JSON with Content-Type: application/json; an upload, multipart/form-data."


def unauthenticated(detail: str) -> Problem:
    """401 with the challenge that RFC 9110 demands."""
    return Problem("unauthenticated", detail, headers={"WWW-Authenticate": CHALLENGE})


def _unavailable(detail: str) -> Problem:
    return Problem("unavailable", detail, headers={"Retry-After": str(_UNAVAILABLE_SECONDS)})


def field_errors(detail: Any) -> dict[str, list[str]]:
    """A serializer's errors as field name -> sentences; what concerns no single field is under "body"."""
    if not isinstance(detail, Mapping):
        return {"body": _sentences(detail)}
    general = api_settings.NON_FIELD_ERRORS_KEY
    return {("body" if name == general else str(name)): _sentences(value) for name, value in detail.items()}


def _sentences(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [sentence for item in value.values() for sentence in _sentences(item)]
    if isinstance(value, (list, tuple)):
        return [sentence for item in value for sentence in _sentences(item)]
    return [str(value)]
