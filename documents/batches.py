"""Batches: documents that are submitted together, each with a verdict of its own, and one announcement at the end.

A batch has no counters. Its progress is read from its tasks' jobs, and its end is found by looking for batches without
a live job: a counter would be one row that every outcome of the batch waits for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from documents import idempotency, selectors, services, tenants
from documents.exceptions import DocumentError
from documents.models import Batch, IngestionTask
from documents.services import SubmitRequest
from queueadmin import operations
from queueadmin.broker import get_ledger_broker
from queueadmin.ids import uuid7
from queueadmin.rollbacks import run_despite_rollbacks
from queueadmin.states import LIVE

logger = logging.getLogger(__name__)

MAX_DOCUMENTS = 1000


class BatchRefused(DocumentError):
    """No document of the batch could be accepted. Nothing was stored."""

    code = "batch_refused"

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        super().__init__()
        self.refusals = tuple(refusals)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why the document at `index` did not become a task. `errors`: field -> sentences."""

    index: int
    code: str
    detail: str
    errors: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """Documents to ingest: (place in the request, document). `refusals` are those whose form was wrong already."""

    tenant: str
    documents: Sequence[tuple[int, SubmitRequest]]
    refusals: Sequence[Refusal] = ()
    callback_url: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AcceptedBatch:
    """A stored batch: the task of each accepted document by its place in the request, and why the others are none."""

    batch_id: UUID
    tasks: Mapping[int, UUID]
    refusals: Sequence[Refusal]
    is_replay: bool = False


def submit(request: BatchRequest, *, intent: idempotency.Intent | None = None) -> AcceptedBatch:
    """Store all documents that can be accepted in one transaction, and publish them together when it commits.

    Raises BatchRefused when there is none, QueueFull when there is no room for all of them, IdempotencyConflict,
    SubmissionInFlight. Then nothing is stored.
    """
    # With an intent, repeating it finds what the first try stored, even if only the reply to COMMIT was lost.
    return run_despite_rollbacks(partial(_submit, request, intent), repeatable=intent is not None)


def _submit(request: BatchRequest, intent: idempotency.Intent | None) -> AcceptedBatch:
    owned, refusals = _judged(request)
    with transaction.atomic():
        if intent is not None and (known := idempotency.recall(intent)) is not None:
            return _replay(known)
        if not owned:
            raise BatchRefused(refusals)
        get_ledger_broker().room.require(settings.QUEUE_NAME, len(owned))
        batch_id = uuid7()
        ids = services.store_many([document for _, document in owned], batch_id=batch_id)
        Batch.objects.create(
            id=batch_id, tenant=request.tenant, accepted=len(ids), refusals=[_stored(item) for item in refusals],
            callback_url=request.callback_url, metadata=dict(request.metadata),
        )  # fmt: skip
        if intent is not None:
            idempotency.remember(intent, batch_id)
    tasks = {index: task_id for (index, _), task_id in zip(owned, ids, strict=True)}
    return AcceptedBatch(batch_id=batch_id, tasks=tasks, refusals=refusals)


def _judged(request: BatchRequest) -> tuple[list[tuple[int, SubmitRequest]], list[Refusal]]:
    owned, refusals = [], list(request.refusals)
    for index, document in request.documents:
        try:
            tenants.require_owned(request.tenant, document.r2_key)
        except DocumentError as error:
            errors = {"r2_key": [error.message]} if error.code == "invalid_key" else {}
            code = "invalid_request" if errors else error.code
            refusals.append(Refusal(index=index, code=code, detail=error.message, errors=errors))
        else:
            owned.append((index, document))
    return owned, sorted(refusals, key=lambda refusal: refusal.index)


def _stored(refusal: Refusal) -> dict[str, Any]:
    errors = {name: list(sentences) for name, sentences in refusal.errors.items()}
    return {"index": refusal.index, "code": refusal.code, "detail": refusal.detail, "errors": errors}


def refusals_of(batch: Batch) -> list[Refusal]:
    """The documents of a batch that did not become tasks."""
    return [Refusal(**refusal) for refusal in batch.refusals]


def _replay(batch_id: UUID) -> AcceptedBatch:
    """What was answered then. Ids ascend in the order of the request, so that the places need not be stored."""
    batch = Batch.objects.get(pk=batch_id)
    refusals = refusals_of(batch)
    refused = {refusal.index for refusal in refusals}
    places = (index for index in range(batch.accepted + len(refused)) if index not in refused)
    ids = IngestionTask.objects.filter(batch_id=batch_id).order_by("pk").values_list("pk", flat=True)
    tasks = dict(zip(places, ids, strict=True))
    return AcceptedBatch(batch_id=batch_id, tasks=tasks, refusals=refusals, is_replay=True)


def cancel(batch_id: UUID, *, tenant: str, by: str, source: str = "api") -> int:
    """Stop every task of the batch that has not ended; returns how many that concerned. Raises BatchNotFound."""
    selectors.find_batch(batch_id, tenant=tenant)
    live = IngestionTask.objects.filter(batch_id=batch_id, job__state__in=LIVE).values_list("pk", flat=True)
    ids = list(live)
    operations.cancel(ids, by=by, source=source)
    return len(ids)


# -- the end -------------------------------------------------------------------------------------

_PAGE = 50
"""Open batches that one look goes through: each costs an index lookup, at the worst one for each of its tasks."""


_FIRST = UUID(int=0)


class Finisher:
    """Finds batches of which no task is live any more, page by page, going round. For the leading dispatcher."""

    def __init__(self, *, page: int = _PAGE) -> None:
        self._page, self._after = page, _FIRST

    def look(self) -> int:
        """Complete the batches of the next page that have ended; returns how many."""
        page = selectors.open_batches(after=self._after, count=self._page)
        self._after = page[-1][0] if len(page) == self._page else _FIRST
        return sum(complete(batch_id) for batch_id, has_live_task in page if not has_live_task)


def complete(batch_id: UUID) -> bool:
    """Mark the batch as completed and enqueue its webhook, together; False when somebody else has done so."""
    with transaction.atomic():
        open_batch = Batch.objects.filter(pk=batch_id, completed_at__isnull=True)
        if not open_batch.update(completed_at=timezone.now()):
            return False
        batch = Batch.objects.get(pk=batch_id)
        if batch.callback_url or tenants.webhook_url(batch.tenant):
            _announce(batch)
    logger.info("a batch is completed", extra={"batch": str(batch_id)})
    return True


def _announce(batch: Batch) -> None:
    actor = get_ledger_broker().get_actor(services.BATCH_WEBHOOK_ACTOR)
    actor.send_with_options(args=(str(batch.pk),), partition_key=batch.tenant, parent_id=batch.pk)
