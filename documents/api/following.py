"""Following tasks: where one stands, and how many stand where."""

from __future__ import annotations

import contextlib

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from documents import selectors
from documents.api import bodies, schema
from documents.api.auth import caller_of
from documents.api.base import ApiView, TaskEndpoint, task_id_of
from documents.api.query import known_of
from documents.api.serializers import QueueStatistics, StatusQuery, TaskEvents, TaskStatus
from documents.api.waiting import NoPlace, waiters
from documents.models import Scope
from queueadmin.states import TERMINAL

_query = StatusQuery()


class Status(TaskEndpoint):
    """Where a task stands."""

    scopes = frozenset({Scope.READ})

    @extend_schema(
        operation_id="read_task_status",
        summary="Read a task's status",
        parameters=[StatusQuery, schema.RETRY_AFTER],
        responses={200: TaskStatus, **schema.problems(400, 401, 403, 404, 405, 500, 503)},
    )
    def get(self, request: Request, task_id: str) -> Response:
        """Where the task stands, what it is doing, and how it ended.

        With `wait`, the answer comes when the state has changed, or after so many seconds if it has not. Beyond a
        number of waiting requests, the answer comes at once; then wait for `Retry-After` before asking again.
        """
        seconds = known_of(request, _query).get("wait", 0)
        wanted, tenant = task_id_of(task_id), caller_of(request).tenant
        now = selectors.follow(wanted, tenant=tenant)
        if seconds and now.view.job.state not in TERMINAL:
            with contextlib.suppress(NoPlace):
                version = selectors.version(now.view.job)
                waited = waiters.wait(wanted, version, tenant=tenant, seconds=seconds)
                now = waited.found or selectors.follow(wanted, tenant=tenant)
        wait = bodies.retry_after(now.view.job)
        headers = {} if wait is None else {"Retry-After": str(wait)}
        return Response(bodies.status(now.view, now.webhook), headers=headers)


class Events(TaskEndpoint):
    """What happened to a task."""

    scopes = frozenset({Scope.READ})

    @extend_schema(
        operation_id="list_task_events",
        summary="Read a task's history",
        responses={200: TaskEvents, **schema.problems(401, 403, 404, 405, 500, 503)},
    )
    def get(self, request: Request, task_id: str) -> Response:
        """Every step of its life with its time, oldest first."""
        wanted = task_id_of(task_id)
        entries = selectors.events(wanted, tenant=caller_of(request).tenant)
        return Response({"task_id": str(wanted), "events": [bodies.event(entry) for entry in entries]})


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
