"""Results: what was extracted, in the form that the client accepts."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import parse_etags, quote_etag
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request

from documents import conf, rendering, selectors
from documents.api import schema
from documents.api.auth import caller_of
from documents.api.base import TaskEndpoint, task_id_of
from documents.api.negotiation import choose
from documents.api.problem import Problem
from documents.api.query import known_of
from documents.api.serializers import ResultPages, ResultQuery, TaskResult
from documents.models import Scope
from documents.storage import Part

_TEXT, _MARKDOWN, _JSON = "text/plain", "text/markdown", "application/json"
_LINK_SECONDS = 300
"""For how long a presigned URL can be begun to be read: whoever has it needs no key."""

_query = ResultQuery()
_JSON_RESULT = PolymorphicProxySerializer(
    component_name="ResultOrPages", serializers=[TaskResult, ResultPages], resource_type_field_name=None
)
"""Everything, or the pages that were asked for."""


class Result(TaskEndpoint):
    """What was extracted."""

    scopes = frozenset({Scope.READ})

    @extend_schema(
        operation_id="read_task_result",
        parameters=[ResultQuery, schema.IF_NONE_MATCH, schema.ETAG, schema.VARY, schema.DOWNLOAD_LOCATION],
        summary="Read a task's result",
        responses={
            (200, _TEXT): OpenApiTypes.STR,
            (200, _MARKDOWN): OpenApiTypes.STR,
            (200, _JSON): _JSON_RESULT,
            304: None,
            307: None,
            **schema.problems(400, 401, 403, 404, 405, 406, 409, 410, 500, 503),
        },
    )
    def get(self, request: Request, task_id: str) -> HttpResponseBase:
        """The extracted text as text/plain (what `*/*` gets too) or as text/markdown, or everything as JSON.

        `pages=3-7` gives these pages alone, as text or as JSON. `If-None-Match` with an `ETag` of before is a 304. With
        `download=true`, a large text in a bucket is a 307 to a URL at which the bucket itself gives it, for 5 minutes.
        """
        chosen = choose(request.META.get("HTTP_ACCEPT", ""), (_TEXT, _JSON, _MARKDOWN))
        if chosen is None:
            raise Problem("not_acceptable", "The result can be had as text/plain, text/markdown or application/json.")
        asked = known_of(request, _query)
        pages = asked.get("pages")
        key = selectors.result_key(task_id_of(task_id), tenant=caller_of(request).tenant)
        etag = quote_etag(f"{key}/{chosen}/{pages or ''}")
        if etag in parse_etags(request.META.get("HTTP_IF_NONE_MATCH", "")):
            return _tagged(HttpResponse(status=304), etag)
        if pages:
            return _tagged(_pages(key, chosen, pages), etag)
        return _whole(key, chosen, etag, may_redirect=asked.get("download") == "true")


def _tagged(response: HttpResponseBase, etag: str) -> HttpResponseBase:
    """A result never changes under its key, which names the attempt: clients may keep it and ask again."""
    response.headers["ETag"] = etag
    response.headers["Vary"] = "Accept"
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _pages(key: str, media_type: str, pages: tuple[int, int]) -> HttpResponseBase:
    """Some pages of a stored result. Raises Problem when there is none of them."""
    stored = rendering.StoredResult(conf.result_store(), key)
    first, last = pages
    if first > stored.page_count:
        errors = {"pages": [f"The document has {stored.page_count} pages."]}
        raise Problem("invalid_request", "Some parameters are invalid.", errors=errors)
    if media_type == _JSON:
        return StreamingHttpResponse(stored.pages_document(first, last), content_type=_JSON)
    rendered = stored.pages_text(first, last)
    headers = {"Content-Length": str(rendered.size)}
    return StreamingHttpResponse(rendered.chunks, content_type=f"{_TEXT}; charset=utf-8", headers=headers)


def _whole(key: str, media_type: str, etag: str, *, may_redirect: bool) -> HttpResponseBase:
    """A stored result, sent in chunks: whatever its size, little of it is in memory."""
    stored = rendering.StoredResult(conf.result_store(), key)
    if media_type == _JSON:
        rendered, content_type = stored.document, _JSON
    else:
        rendered = stored.markdown if media_type == _MARKDOWN else stored.text
        content_type = f"{media_type}; charset=utf-8"
        if may_redirect and (url := _link(key, rendered, content_type)):
            return HttpResponse(status=307, headers={"Location": url, "Vary": "Accept"})
    headers = {"Content-Length": str(rendered.size)}
    return _tagged(StreamingHttpResponse(rendered.chunks, content_type=content_type, headers=headers), etag)


def _link(key: str, rendered: rendering.Rendered, content_type: str) -> str | None:
    """Where the bucket gives a large text itself; None for a small one, and without a bucket."""
    least = settings.RESULT_REDIRECT_BYTES
    if rendered.start is None or not least or rendered.size < least:
        return None
    # One name for each: without Markdown of its own, a result's Markdown is its text, of another type.
    name = "md" if content_type.startswith(_MARKDOWN) else "txt"
    part = Part(name=name, start=rendered.start, size=rendered.size, content_type=content_type)
    return conf.result_store().link(key, part, seconds=_LINK_SECONDS)
