"""Lists of tasks."""

from __future__ import annotations

from urllib.parse import urlencode

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from documents import listing, selectors
from documents.api import bodies, schema
from documents.api.auth import caller_of
from documents.api.base import ApiView
from documents.api.query import flat, given
from documents.api.serializers import TaskPage, TaskQuery
from documents.models import Scope

_PATH = "/api/documents/tasks"
_PAGE = 50

_query = TaskQuery()


class Tasks(ApiView):
    """Find tasks."""

    scopes = frozenset({Scope.READ})

    @extend_schema(
        operation_id="list_tasks",
        summary="List tasks",
        parameters=[TaskQuery],
        responses={200: TaskPage, **schema.problems(400, 401, 403, 405, 500, 503)},
    )
    def get(self, request: Request) -> Response:
        """The tenant's tasks, newest first, page by page."""
        asked = given(request, _query)
        after = listing.Position.decode(asked["cursor"]) if asked.get("cursor") else None
        page = listing.page(
            listing.Wanted(
                tenant=caller_of(request).tenant,
                states=asked.get("state", ()),
                error_code=asked.get("error_code", ""),
                user_id=asked.get("user_id", ""),
                document_id=asked.get("document_id", ""),
                batch_id=asked.get("batch_id"),
                created_from=asked.get("created_from"),
                created_to=asked.get("created_to"),
                after=after,
                limit=asked.get("limit", _PAGE),
            )
        )
        views = selectors.views(page.ids)
        webhooks = selectors.webhook_jobs(views)
        tasks = [bodies.status(view, webhooks.get(view.job.id)) for view in views]
        return Response({"tasks": tasks, "next": _next(request, page.next)})


def _next(request: Request, position: listing.Position | None) -> str | None:
    if position is None:
        return None
    return f"{_PATH}?{urlencode({**flat(request), 'cursor': position.encode()})}"
