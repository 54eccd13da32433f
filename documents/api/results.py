"""Results: what was extracted, in the form that the client accepts."""

from __future__ import annotations

from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from documents import conf, rendering, selectors
from documents.api import schema
from documents.api.auth import caller_of
from documents.api.base import TaskEndpoint, task_id_of
from documents.api.negotiation import choose
from documents.api.problem import Problem
from documents.api.serializers import TaskResult
from documents.models import Scope

_TEXT, _MARKDOWN, _JSON = "text/plain", "text/markdown", "application/json"


class Result(TaskEndpoint):
    """What was extracted."""

    scopes = frozenset({Scope.READ})

    @extend_schema(
        operation_id="read_task_result",
        summary="Read a task's result",
        responses={
            (200, _TEXT): OpenApiTypes.STR,
            (200, _MARKDOWN): OpenApiTypes.STR,
            (200, _JSON): TaskResult,
            **schema.problems(401, 403, 404, 405, 406, 409, 410, 500, 503),
        },
    )
    def get(self, request: Request, task_id: str) -> HttpResponseBase:
        """The extracted text as text/plain (what `*/*` gets too) or as text/markdown, or everything as JSON."""
        chosen = choose(request.META.get("HTTP_ACCEPT", ""), (_TEXT, _JSON, _MARKDOWN))
        if chosen is None:
            raise Problem("not_acceptable", "The result can be had as text/plain, text/markdown or application/json.")
        key = selectors.result_key(task_id_of(task_id), tenant=caller_of(request).tenant)
        return _stream(key, chosen)


def _stream(key: str, media_type: str) -> HttpResponseBase:
    """A stored result, sent in chunks: whatever its size, little of it is in memory."""
    stored = rendering.StoredResult(conf.result_store(), key)
    if media_type == _JSON:
        rendered, content_type = stored.document, _JSON
    else:
        rendered = stored.markdown if media_type == _MARKDOWN else stored.text
        content_type = f"{media_type}; charset=utf-8"
    headers = {"Content-Length": str(rendered.size), "Vary": "Accept"}
    return StreamingHttpResponse(rendered.chunks, content_type=content_type, headers=headers)
