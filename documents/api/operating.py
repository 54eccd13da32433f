"""Operating on a task that is there already."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from documents import services
from documents.api import bodies, schema
from documents.api.auth import caller_of
from documents.api.base import TaskEndpoint, accepted, task_id_of
from documents.api.serializers import AcceptedTask, CancelledTask
from documents.models import Scope


class Cancel(TaskEndpoint):
    """Stop a task."""

    scopes = frozenset({Scope.SUBMIT, Scope.OPERATE})

    @extend_schema(
        operation_id="cancel_task",
        summary="Cancel a task",
        request=None,
        responses={202: CancelledTask, **schema.problems(401, 403, 404, 405, 409, 500, 503)},
    )
    def post(self, request: Request, task_id: str) -> Response:
        """Stop a task that has not ended: at once while it waits, within two seconds while it runs.

        Repeating it is harmless.
        """
        wanted, caller = task_id_of(task_id), caller_of(request)
        done = services.cancel(wanted, tenant=caller.tenant, by=str(caller))
        body = {
            "task_id": str(wanted),
            "status": "cancelled" if done else "cancelling",
            "status_url": bodies.status_url(wanted),
        }
        return Response(body, status=202)


class Erase(TaskEndpoint):
    """Remove what a task carries."""

    scopes = frozenset({Scope.SUBMIT, Scope.OPERATE})

    @extend_schema(
        operation_id="erase_task",
        summary="Erase a task's result and document",
        responses={204: None, **schema.problems(401, 403, 404, 405, 409, 500, 503)},
    )
    def delete(self, request: Request, task_id: str) -> Response:
        """Remove the result, the uploaded document and the history of a task that has ended.

        A slim row stays for the audit: who asked for which document, and how it ended. Repeating it is harmless.
        """
        caller = caller_of(request)
        services.erase(task_id_of(task_id), tenant=caller.tenant, by=str(caller))
        return Response(status=204)


class Retry(TaskEndpoint):
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
        return accepted(wanted)
