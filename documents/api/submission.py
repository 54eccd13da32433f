"""Submitting documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from documents import idempotency, services
from documents.api import schema
from documents.api.auth import caller_of
from documents.api.base import ApiView, accepted
from documents.api.serializers import AcceptedTask, Submission
from documents.models import Scope
from queueadmin import origin

_submission = Submission()
"""Made once: building its fields for every request would cost more than checking them."""


def request_of(given: Mapping[str, Any], *, tenant: str) -> services.SubmitRequest:
    """A validated submission as the services take it."""
    return services.SubmitRequest(
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
        max_attempts=given.get("max_attempts"),
        run_at=given.get("run_at"),
        options=given.get("options") or None,
    )


class Process(ApiView):
    """Submit a document."""

    scopes = frozenset({Scope.SUBMIT})
    documents = 1

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
            request_of(given, tenant=tenant),
            intent=None if header is None else idempotency.intent(tenant, header, given),
        )
        origin.of_request().labels.update(task_id=str(task.task_id), document_id=given["document_id"])
        answer = accepted(task.task_id)
        if task.is_replay:
            answer.headers["Idempotency-Replayed"] = "true"
        return answer
