"""The endpoints: each reads its request, calls one service or selector, and writes the answer."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar, cast
from uuid import UUID

from django.http import FileResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from documents import conf, idempotency, selectors, services
from documents.api import bodies, schema
from documents.api.auth import ApiKeyAuthentication, HasScope, caller_of
from documents.api.body import StrictJSONParser
from documents.api.negotiation import ExactParserOnly, choose
from documents.api.problem import Problem
from documents.api.serializers import AcceptedTask, QueueStatistics, Submission, TaskResult, TaskStatus
from documents.exceptions import ResultNotFound
from documents.models import Scope
from documents.storage.results import DOCUMENT, MARKDOWN, TEXT, Part, ResultStore

_TEXT, _MARKDOWN, _JSON = "text/plain", "text/markdown", "application/json"
_PARTS: dict[str, tuple[Part, ...]] = {_TEXT: (TEXT,), _MARKDOWN: (MARKDOWN, TEXT), _JSON: (DOCUMENT,)}
"""What is served as which type. Where an engine knew no headings or tables, the plain text is the Markdown."""
_CHUNK_BYTES = 64 * 1024

_submission = Submission()
"""Made once: building nine fields for every request would cost more than checking them."""


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

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        final = super().finalize_response(request, response, *args, **kwargs)
        # Answers are one caller's own and change by the second: no cache may keep them.
        final.headers.setdefault("Cache-Control", "no-store")
        return final


def task_id_of(text: str) -> UUID:
    """The task id in a path. What is no UUID names no task: 404, as for any other unknown id."""
    try:
        return UUID(text) if len(text) == len(str(UUID(int=0))) else _no_task()
    except ValueError:
        return _no_task()


def _no_task() -> UUID:
    raise selectors.TaskNotFound()


class Process(ApiView):
    """Submit a document."""

    scopes = frozenset({Scope.SUBMIT})

    @extend_schema(
        operation_id="process_document",
        summary="Submit a document",
        request=Submission,
        responses={202: AcceptedTask, **schema.problems(400, 401, 403, 405, 409, 413, 415, 422, 500, 503)},
        parameters=[schema.LOCATION, schema.IDEMPOTENCY_KEY, schema.IDEMPOTENCY_REPLAYED],
        examples=[schema.PROCESS_EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Store a task for a document that lies in the document store; it is durable once this answers 202."""
        given: dict[str, Any] = _submission.run_validation(request.data)
        tenant, header = caller_of(request).tenant, request.META.get("HTTP_IDEMPOTENCY_KEY")
        task = services.submit(
            services.SubmitRequest(
                tenant=tenant,
                document_id=given["document_id"],
                user_id=given["user_id"],
                file_name=given["file_name"],
                r2_key=given["r2_key"],
                content_type=given["content_type"],
                file_size=given.get("file_size"),
                callback_url=given.get("callback_url") or "",
                priority=given.get("priority") or 0,
                metadata=given.get("metadata") or {},
            ),
            intent=None if header is None else idempotency.intent(tenant, header, given),
        )
        answer = _accepted(task.task_id)
        if task.is_replay:
            answer.headers["Idempotency-Replayed"] = "true"
        return answer


@extend_schema(parameters=[OpenApiParameter("task_id", OpenApiTypes.UUID, OpenApiParameter.PATH)])
class TaskView(ApiView):
    """An endpoint of one task."""


class Status(TaskView):
    """Where a task stands."""

    scopes = frozenset({Scope.READ})

    @extend_schema(
        operation_id="read_task_status",
        summary="Read a task's status",
        responses={200: TaskStatus, **schema.problems(401, 403, 404, 405, 500, 503)},
    )
    def get(self, request: Request, task_id: str) -> Response:
        """Where the task stands, what it is doing, and how it ended."""
        view = selectors.find_task(task_id_of(task_id), tenant=caller_of(request).tenant)
        return Response(bodies.status(view, selectors.webhook_job(view)))


class Result(TaskView):
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


class Retry(TaskView):
    """Run a task again."""

    scopes = frozenset({Scope.SUBMIT, Scope.OPERATE})

    @extend_schema(
        operation_id="retry_task",
        summary="Retry a task",
        request=None,
        responses={202: AcceptedTask, **schema.problems(401, 403, 404, 405, 409, 410, 500, 503)},
        parameters=[schema.LOCATION],
    )
    def post(self, request: Request, task_id: str) -> Response:
        """Queue a failed, dead-lettered or cancelled task again, with fresh attempts and the same id."""
        wanted, caller = task_id_of(task_id), caller_of(request)
        services.retry(wanted, tenant=caller.tenant, by=str(caller))
        return _accepted(wanted)


class Stats(ApiView):
    """Counts."""

    scopes = frozenset({Scope.READ, Scope.OPERATE})

    @extend_schema(
        operation_id="read_queue_stats",
        summary="Count tasks",
        responses={200: QueueStatistics, **schema.problems(401, 403, 405, 500, 503)},
    )
    def get(self, request: Request) -> Response:
        """Ingestion tasks of the key's tenant, or of all tenants for the scope operate; webhooks do not count."""
        caller = caller_of(request)
        tenant = None if Scope.OPERATE in caller.scopes else caller.tenant
        return Response(bodies.stats(selectors.queue_stats(tenant=tenant)))


class Nothing(ApiView):
    """Any other path below the API: 404, without asking who calls."""

    authentication_classes = []
    permission_classes = []
    schema = cast(Any, None)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise Problem("not_found")


def _accepted(task_id: UUID) -> Response:
    return Response(bodies.accepted(task_id), status=202, headers={"Location": bodies.status_url(task_id)})
