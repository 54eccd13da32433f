"""Operating the queues by script: what an operator does in the admin or at a shell, through the same operations.

Queues are shared by all tenants. So a key of one tenant among several sees its own jobs in them, and acts on its own
dead letters; what concerns others' jobs, or the installation, takes a key for all tenants (docs/adr/0019).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from documents import dead_letters
from documents.api import queue_shapes as shapes
from documents.api import schema
from documents.api.auth import caller_of
from documents.api.base import ApiView
from documents.api.problem import Problem
from documents.api.query import given
from documents.api_keys import reaches_all
from documents.listing import Position
from documents.models import Scope
from queueadmin import operations, selectors
from queueadmin.audit import Who
from queueadmin.operations import OperationResult, UnknownQueue

_PATH = "/api/queues/dead-letters"
_PAGE = 50

_operation, _pause, _purge = shapes.OperationRequest(), shapes.PauseRequest(), shapes.PurgeRequest()
_choice, _query = shapes.DeadLetterRequest(), shapes.DeadLetterQuery()


class QueueView(ApiView):
    """What all of them share."""

    scopes: ClassVar = frozenset({Scope.OPERATE})


def _require_all_tenants(request: Request) -> None:
    if not reaches_all(caller_of(request)):
        raise Problem("needs_all_tenants")


def _reach(request: Request) -> str | None:
    """The tenant whose jobs the caller may see; None for all."""
    caller = caller_of(request)
    return None if reaches_all(caller) else caller.tenant


def _states(request: Request) -> dict[str, dict[str, Any]]:
    """Each queue by its name, as far as the caller may see. A reason is an operator's word to operators: it may name
    another tenant.
    """
    tenant = _reach(request)
    found = selectors.queues(partition_key=tenant)
    return {queue.name: shapes.queue(queue, reasons=tenant is None) for queue in found}


def _who(request: Request, asked: dict[str, Any]) -> Who:
    return {"by": str(caller_of(request)), "source": "api", "reason": asked.get("reason", "")}


class Queues(QueueView):
    """All queues."""

    @extend_schema(
        operation_id="list_queues",
        summary="List the queues",
        responses={200: shapes.QueueStates, **schema.problems(401, 403, 405, 500, 503)},
    )
    def get(self, request: Request) -> Response:
        """How each stands: over all tenants with a key for them, else for the key's own."""
        return Response({"queues": list(_states(request).values())})


@extend_schema(parameters=[OpenApiParameter("queue", OpenApiTypes.STR, OpenApiParameter.PATH)])
class OneQueue(QueueView):
    """An endpoint of one queue."""


def _state_of(request: Request, queue: str) -> Response:
    found = _states(request)
    if queue not in found:
        raise UnknownQueue(queue, list(found))
    return Response(found[queue])


class Queue(OneQueue):
    """One queue."""

    @extend_schema(
        operation_id="read_queue",
        summary="Read a queue",
        responses={200: shapes.QueueState, **schema.problems(401, 403, 404, 405, 500, 503)},
    )
    def get(self, request: Request, queue: str) -> Response:
        """How it stands: over all tenants with a key for them, else for the key's own."""
        return _state_of(request, queue)


class Pause(OneQueue):
    """Stop a queue's supply."""

    @extend_schema(
        operation_id="pause_queue",
        summary="Pause a queue",
        request=shapes.PauseRequest,
        responses={200: shapes.QueueState, **schema.problems(400, 401, 403, 404, 405, 413, 415, 500, 503)},
        examples=[schema.PAUSE_EXAMPLE],
    )
    def post(self, request: Request, queue: str) -> Response:
        """Let no worker take jobs from it; what runs goes on, and submissions are accepted. Repeating it is harmless.

        Needs a key for all tenants.
        """
        _require_all_tenants(request)
        asked: dict[str, Any] = _pause.run_validation(request.data)
        operations.pause(queue, resume_at=asked.get("resume_at"), **_who(request, asked))
        return _state_of(request, queue)


class Resume(OneQueue):
    """Let a queue go on."""

    @extend_schema(
        operation_id="resume_queue",
        summary="Resume a queue",
        request=shapes.OperationRequest,
        responses={200: shapes.QueueState, **schema.problems(400, 401, 403, 404, 405, 413, 415, 500, 503)},
        examples=[schema.RESUME_EXAMPLE],
    )
    def post(self, request: Request, queue: str) -> Response:
        """Let workers take jobs from it again. Repeating it is harmless. Needs a key for all tenants."""
        _require_all_tenants(request)
        operations.resume(queue, **_who(request, _operation.run_validation(request.data)))
        return _state_of(request, queue)


class Purge(OneQueue):
    """Empty a queue."""

    @extend_schema(
        operation_id="purge_queue",
        summary="Cancel all pending jobs of a queue",
        request=shapes.PurgeRequest,
        responses={200: shapes.PurgedQueue, **schema.problems(400, 401, 403, 404, 405, 409, 413, 415, 500, 503)},
        examples=[schema.PURGE_EXAMPLE],
    )
    def post(self, request: Request, queue: str) -> Response:
        """Scheduled, retrying and running jobs stay. Cancelled jobs can be retried. Needs a key for all tenants."""
        _require_all_tenants(request)
        asked: dict[str, Any] = _purge.run_validation(request.data)
        done = operations.purge(queue, expected=asked["depth"], **_who(request, asked))
        body = {"queue": queue, "pending": done.requested, "cancelled": done.changed, "operation_id": done.log_id}
        return Response(body)


class DeadLetters(QueueView):
    """What waits for a person."""

    @extend_schema(
        operation_id="list_dead_letters",
        summary="List dead letters",
        parameters=[shapes.DeadLetterQuery],
        responses={200: shapes.DeadLetterPage, **schema.problems(400, 401, 403, 405, 500, 503)},
    )
    def get(self, request: Request) -> Response:
        """The newest first, page by page: of all tenants with a key for them, else of the key's own."""
        asked = given(request, _query)
        found = dead_letters.page(
            dead_letters.Wanted(
                tenant=_reach(request),
                queue=asked.get("queue", ""),
                actor=asked.get("actor", ""),
                error_code=asked.get("error_code", ""),
                after=Position.decode(asked["cursor"]) if asked.get("cursor") else None,
                limit=asked.get("limit", _PAGE),
            )
        )
        more = None if found.next is None else _next(request, found.next)
        return Response({"dead_letters": [shapes.dead_letter(job) for job in found.jobs], "next": more})


def _next(request: Request, position: Position) -> str:
    return f"{_PATH}?{urlencode({**request.query_params.dict(), 'cursor': position.encode()})}"


class RetryDeadLetters(QueueView):
    """Run them again."""

    @extend_schema(
        operation_id="retry_dead_letters",
        summary="Retry dead letters",
        request=shapes.DeadLetterRequest,
        responses={200: shapes.DeadLetterOutcome, **schema.problems(400, 401, 403, 405, 413, 415, 500, 503)},
        examples=[schema.DEAD_LETTERS_EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Queue up to 500 again, with fresh attempts and the same ids."""
        return _act(request, operations.retry)


class DiscardDeadLetters(QueueView):
    """Give them up."""

    @extend_schema(
        operation_id="discard_dead_letters",
        summary="Discard dead letters",
        request=shapes.DeadLetterRequest,
        responses={200: shapes.DeadLetterOutcome, **schema.problems(400, 401, 403, 405, 413, 415, 500, 503)},
        examples=[schema.DEAD_LETTERS_EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Up to 500 become cancelled, and expire as other cancelled jobs do."""
        return _act(request, operations.discard)


def _act(request: Request, act: Callable[..., OperationResult]) -> Response:
    asked: dict[str, Any] = _choice.run_validation(request.data)
    wanted: Sequence[UUID] = list(dict.fromkeys(asked["ids"]))
    mine, strangers = dead_letters.split(wanted, tenant=_reach(request))
    result = act(mine, **_who(request, asked)) if mine else OperationResult(log_id=None, done=())
    return Response(shapes.outcome(result, strangers))


class Workers(QueueView):
    """Who works."""

    @extend_schema(
        operation_id="list_workers",
        summary="List the workers",
        responses={200: shapes.WorkerStates, **schema.problems(401, 403, 405, 500, 503)},
    )
    def get(self, request: Request) -> Response:
        """Live worker processes, and those that fell silent within the hour. Needs a key for all tenants."""
        _require_all_tenants(request)
        return Response({"workers": [shapes.worker(found) for found in selectors.workers()]})
