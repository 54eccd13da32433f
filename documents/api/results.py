"""Results: what was extracted, in the form that the client accepts."""

from __future__ import annotations

import contextlib

from django.http import FileResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from documents import conf, selectors
from documents.api import schema
from documents.api.auth import caller_of
from documents.api.base import TaskEndpoint, task_id_of
from documents.api.negotiation import choose
from documents.api.problem import Problem
from documents.api.serializers import TaskResult
from documents.exceptions import ResultNotFound
from documents.models import Scope
from documents.storage.results import DOCUMENT, MARKDOWN, TEXT, Part, ResultStore

_TEXT, _MARKDOWN, _JSON = "text/plain", "text/markdown", "application/json"
_PARTS: dict[str, tuple[Part, ...]] = {_TEXT: (TEXT,), _MARKDOWN: (MARKDOWN, TEXT), _JSON: (DOCUMENT,)}
"""What is served as which type. Where an engine knew no headings or tables, the plain text is the Markdown."""
_CHUNK_BYTES = 64 * 1024


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


def _stream(key: str, media_type: str) -> FileResponse:
    """A stored object, copied to the client in chunks: nothing of it is parsed or kept in memory."""
    store = conf.result_store()
    part, length = _first_stored(store, key, _PARTS[media_type])
    content_type = _JSON if media_type == _JSON else f"{media_type}; charset=utf-8"
    response = FileResponse(store.open(key, part), content_type=content_type)
    response.block_size = _CHUNK_BYTES
    response.headers["Content-Length"] = str(length)
    response.headers["Vary"] = "Accept"
    del response.headers["Content-Disposition"]  # the store's file name means nothing to the client
    return response


def _first_stored(store: ResultStore, key: str, parts: tuple[Part, ...]) -> tuple[Part, int]:
    """Return the first of the parts that this result has, and its size in bytes. Raises ResultNotFound."""
    for part in parts[:-1]:
        with contextlib.suppress(ResultNotFound):
            return part, store.size(key, part)
    return parts[-1], store.size(key, parts[-1])
