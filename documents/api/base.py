"""What all endpoints share, and the answer to every path that is none."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar, NoReturn, cast
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from documents import selectors
from documents.api import bodies, throttles
from documents.api.auth import ApiKeyAuthentication, HasScope
from documents.api.body import StrictJSONParser
from documents.api.negotiation import ExactParserOnly
from documents.api.problem import Problem
from documents.exceptions import DocumentError
from documents.models import Scope
from documents.webhooks import DeliveryNotFound


class LineRenderer(JSONRenderer):
    """JSON with a line break at its end, so that a shell's prompt does not stick to it."""

    def render(self, *args: Any, **kwargs: Any) -> Any:
        return super().render(*args, **kwargs) + b"\n"


class ApiView(APIView):
    """What all endpoints share. `scopes` names the scopes of which a caller needs one."""

    scopes: ClassVar[frozenset[Scope]]
    authentication_classes = [ApiKeyAuthentication]
    permission_classes = [HasScope]
    parser_classes = [StrictJSONParser]
    renderer_classes = [LineRenderer]
    content_negotiation_class = ExactParserOnly
    metadata_class = None
    http_method_names = ["get", "post", "put", "delete", "head"]  # what `Allow` may name: nothing answers OPTIONS

    documents = 0
    """Documents that a request submits, as far as that is known before its body is read."""

    def check_throttles(self, request: Request) -> None:
        if self.permission_classes:
            throttles.spend(request, requests=1, documents=self.documents)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        final = super().finalize_response(request, response, *args, **kwargs)
        # Answers are one caller's own and change by the second: no cache may keep them.
        final.headers.setdefault("Cache-Control", "no-store")
        for name, value in throttles.headers(request).items():
            final.headers[name] = value
        return final


def task_id_of(text: str) -> UUID:
    """The task id in a path. What is no UUID names no task: 404, as for any other unknown id."""
    return _uuid(text) or _raise(selectors.TaskNotFound())


def batch_id_of(text: str) -> UUID:
    """The batch id in a path."""
    return _uuid(text) or _raise(selectors.BatchNotFound())


def delivery_id_of(text: str) -> UUID:
    """The id of a webhook's delivery in the path."""
    return _uuid(text) or _raise(DeliveryNotFound())


def _uuid(text: str) -> UUID | None:
    with contextlib.suppress(ValueError):
        return UUID(text) if len(text) == len(str(UUID(int=0))) else None
    return None


def _raise(error: DocumentError) -> NoReturn:
    raise error


@extend_schema(parameters=[OpenApiParameter("batch_id", OpenApiTypes.UUID, OpenApiParameter.PATH)])
class BatchEndpoint(ApiView):
    """An endpoint of one batch."""


@extend_schema(parameters=[OpenApiParameter("task_id", OpenApiTypes.UUID, OpenApiParameter.PATH)])
class TaskEndpoint(ApiView):
    """An endpoint of one task."""


class Nothing(ApiView):
    """Any other path below the API: 404, without asking who calls."""

    authentication_classes = []
    permission_classes = []
    schema = cast(Any, None)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise Problem("not_found")


def accepted(task_id: UUID) -> Response:
    """202 with where to follow the task."""
    return Response(bodies.accepted(task_id), status=202, headers={"Location": bodies.status_url(task_id)})
