"""Batches: submitting many documents at once, and following them together."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from documents import batches, idempotency, selectors
from documents.api import bodies, schema, throttles
from documents.api.auth import caller_of
from documents.api.base import ApiView, BatchEndpoint, batch_id_of
from documents.api.body import BatchJSONParser
from documents.api.problem import Problem, field_errors
from documents.api.serializers import (
    AcceptedBatch,
    BatchEnvelope,
    BatchStatus,
    BatchSubmission,
    CancelledBatch,
    Submission,
)
from documents.api.submission import request_of
from documents.batches import MAX_DOCUMENTS, BatchRequest, Refusal
from documents.models import Scope

_submission, _envelope = Submission(), BatchEnvelope()
"""Made once: building their fields for every document would cost more than checking them."""


class Batch(ApiView):
    """Submit many documents."""

    scopes = frozenset({Scope.SUBMIT})
    parser_classes = [BatchJSONParser]

    @extend_schema(
        operation_id="process_batch",
        summary="Submit up to 1,000 documents",
        request=BatchSubmission,
        responses={202: AcceptedBatch, **schema.problems(400, 401, 403, 405, 409, 413, 415, 422, 500, 503)},
        parameters=[schema.BATCH_LOCATION, schema.IDEMPOTENCY_KEY, schema.IDEMPOTENCY_REPLAYED],
        examples=[schema.BATCH_EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Store all that can be accepted, at once or not at all, and say of each document what became of it."""
        tenant, header = caller_of(request).tenant, request.META.get("HTTP_IDEMPOTENCY_KEY")
        envelope: dict[str, Any] = _envelope.run_validation(request.data)
        valid, refusals = _judged(_documents(request.data))
        throttles.spend(request, documents=len(valid))
        wanted = BatchRequest(
            tenant=tenant,
            documents=[(index, request_of(given, tenant=tenant)) for index, given in valid],
            refusals=refusals,
            callback_url=envelope.get("callback_url") or "",
            metadata=envelope.get("metadata") or {},
        )
        said = {**envelope, "documents": valid, "refused": [bodies.refusal(item) for item in refusals]}
        batch = batches.submit(wanted, intent=None if header is None else idempotency.intent(tenant, header, said))
        headers = {"Location": bodies.batch_url(batch.batch_id)}
        if batch.is_replay:
            headers["Idempotency-Replayed"] = "true"
        return Response(bodies.accepted_batch(batch), status=202, headers=headers)


def _documents(body: Any) -> list[Any]:
    """The list of documents in a batch's body. Raises Problem for anything else, and for too few or too many."""
    documents = body.get("documents")
    if not isinstance(documents, list):
        sentence = "This must be a list of documents."
    elif not documents:
        sentence = "This must hold at least one document."
    elif len(documents) > MAX_DOCUMENTS:
        sentence = f"This holds {len(documents):,} documents; at most {MAX_DOCUMENTS:,} are taken at once."
    else:
        return documents
    raise Problem("invalid_request", "Some fields are invalid; see errors.", errors={"documents": [sentence]})


def _judged(documents: list[Any]) -> tuple[list[tuple[int, dict[str, Any]]], list[Refusal]]:
    """The documents whose form is right, and why the others' is not."""
    valid, refusals = [], []
    for index, document in enumerate(documents):
        try:
            valid.append((index, _submission.run_validation(document)))
        except serializers.ValidationError as error:
            detail, errors = "Some fields are invalid; see errors.", field_errors(error.detail)
            refusals.append(Refusal(index=index, code="invalid_request", detail=detail, errors=errors))
    return valid, refusals


class BatchState(BatchEndpoint):
    """Where a batch stands."""

    scopes = frozenset({Scope.READ})

    @extend_schema(
        operation_id="read_batch",
        summary="Read a batch's status",
        responses={200: BatchStatus, **schema.problems(401, 403, 404, 405, 500, 503)},
    )
    def get(self, request: Request, batch_id: str) -> Response:
        """How many of its tasks are in which state, and which documents were refused."""
        view = selectors.view_batch(batch_id_of(batch_id), tenant=caller_of(request).tenant)
        return Response(bodies.batch(view))


class BatchCancel(BatchEndpoint):
    """Stop a batch."""

    scopes = frozenset({Scope.SUBMIT, Scope.OPERATE})

    @extend_schema(
        operation_id="cancel_batch",
        summary="Cancel a batch",
        request=None,
        responses={202: CancelledBatch, **schema.problems(401, 403, 404, 405, 500, 503)},
    )
    def post(self, request: Request, batch_id: str) -> Response:
        """Stop every task of the batch that has not ended. Repeating it is harmless."""
        wanted, caller = batch_id_of(batch_id), caller_of(request)
        cancelled = batches.cancel(wanted, tenant=caller.tenant, by=str(caller))
        body = {"batch_id": str(wanted), "cancelled": cancelled, "batch_url": bodies.batch_url(wanted)}
        return Response(body, status=202)
