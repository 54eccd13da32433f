"""Lists of tasks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from documents import listing, selectors
from documents.api import bodies, schema
from documents.api.auth import caller_of
from documents.api.base import ApiView
from documents.api.problem import Problem
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
        given = _given(request)
        after = listing.Position.decode(given["cursor"]) if given.get("cursor") else None
        page = listing.page(
            listing.Wanted(
                tenant=caller_of(request).tenant,
                states=given.get("state", ()),
                error_code=given.get("error_code", ""),
                user_id=given.get("user_id", ""),
                document_id=given.get("document_id", ""),
                batch_id=given.get("batch_id"),
                created_from=given.get("created_from"),
                created_to=given.get("created_to"),
                after=after,
                limit=given.get("limit", _PAGE),
            )
        )
        views = selectors.views(page.ids)
        webhooks = selectors.webhook_jobs(views)
        tasks = [bodies.status(view, webhooks.get(view.job.id)) for view in views]
        return Response({"tasks": tasks, "next": _next(request, page.next)})


def _given(request: Request) -> dict[str, Any]:
    """The query's parameters. Raises Problem for unknown ones: a filter that is misspelt must not list everything."""
    parameters = request.query_params
    unknown = sorted(set(parameters) - set(_query.fields))
    if unknown:
        known = ", ".join(_query.fields)
        errors = {name[:100]: [f"There is no such parameter. Known: {known}."] for name in unknown[:10]}
        raise Problem("invalid_request", "Some parameters are invalid; see errors.", errors=errors)
    given: dict[str, Any] = _query.run_validation(_flat(request))
    return given


def _flat(request: Request) -> dict[str, str]:
    """The parameters, each once: states may come as a list by commas, or one by one."""
    parameters = request.query_params
    return {name: ",".join(values) if name == "state" else values[-1] for name, values in parameters.lists() if values}


def _next(request: Request, position: listing.Position | None) -> str | None:
    if position is None:
        return None
    return f"{_PATH}?{urlencode({**_flat(request), 'cursor': position.encode()})}"
