"""Operating on a task that is there already."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from documents import services
from documents.api import schema
from documents.api.auth import caller_of
from documents.api.base import TaskEndpoint, accepted, task_id_of
from documents.api.serializers import AcceptedTask
from documents.models import Scope


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
