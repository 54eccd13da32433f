"""What can be asked of the service: submit, retry, cancel. Shared by API, admin and command line.

Who asks has been authenticated; what arrives has the right types. What a document may be, who may read it and
whether there is room is decided here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from documents import idempotency, selectors, tenants
from documents.selectors import INGEST_ACTOR, TaskNotFound
from queueadmin import operations, sql
from queueadmin.broker import get_ledger_broker
from queueadmin.edges import ENDED
from queueadmin.exceptions import InvalidTransition

WEBHOOK_ACTOR = "deliver_webhook"


@dataclass(frozen=True, kw_only=True)
class SubmitRequest:
    """One document to ingest. `file_size` is bytes, as declared; `callback_url` is empty for no webhook."""

    tenant: str
    document_id: str
    user_id: str
    file_name: str
    r2_key: str
    content_type: str
    file_size: int | None = None
    callback_url: str = ""
    priority: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    max_attempts: int | None = None


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A stored task. From here on it cannot be lost. `is_replay`: it was stored by an earlier, equal submission."""

    task_id: UUID
    is_replay: bool = False


def submit(request: SubmitRequest, *, intent: idempotency.Intent | None = None) -> Accepted:
    """Store a task and its job in one transaction; the job is published when that commits.

    With an `intent` that was carried out before, the answer is the task of that time. Raises InvalidKey,
    KeyNotAllowed, QueueFull, IdempotencyConflict, SubmissionInFlight. Then nothing is stored. Redis may be down: the
    dispatcher publishes the job later.
    """
    key = tenants.require_owned(request.tenant, request.r2_key)
    if intent is not None:
        return _submit_once(request, key, intent)
    get_ledger_broker().room.require(settings.QUEUE_NAME)
    with transaction.atomic():
        task_id = _store(request, key)
    return Accepted(task_id=task_id)


def _submit_once(request: SubmitRequest, key: str, intent: idempotency.Intent) -> Accepted:
    with transaction.atomic():
        known = idempotency.recall(intent)
        if known is not None:
            return Accepted(task_id=known, is_replay=True)
        get_ledger_broker().room.require(settings.QUEUE_NAME)
        task_id = _store(request, key)
        idempotency.remember(intent, task_id)
    return Accepted(task_id=task_id)


def _store(request: SubmitRequest, key: str) -> UUID:
    task_id = _send(request, key)
    _insert(_record(request, key, task_id))
    return task_id


def _send(request: SubmitRequest, key: str) -> UUID:
    broker = get_ledger_broker()
    sent = broker.get_actor(INGEST_ACTOR).send_with_options(
        kwargs={
            "tenant": request.tenant,
            "r2_key": key,
            "file_name": request.file_name,
            "content_type": request.content_type,
            "file_size": request.file_size,
        },
        priority=request.priority,
        partition_key=request.tenant,
        max_attempts=request.max_attempts,
        follow_up=broker.get_actor(WEBHOOK_ACTOR) if request.callback_url else None,
        labels={"document_id": request.document_id},
    )
    return UUID(sent.message_id)


def _record(request: SubmitRequest, key: str, task_id: UUID) -> dict[str, Any]:
    return {
        "id": task_id.hex,
        "tenant": request.tenant,
        "document_id": request.document_id,
        "user_id": request.user_id,
        "file_name": request.file_name,
        "r2_key": key,
        "content_type": request.content_type,
        "file_size": request.file_size,
        "callback_url": request.callback_url,
        "priority": request.priority,
        "metadata": json.dumps(request.metadata, allow_nan=False),
        "created_at": connection.ops.adapt_datetimefield_value(timezone.now()),
    }


def _insert(record: dict[str, Any]) -> None:
    """By hand: building a model instance and its INSERT took the ORM longer than the database took to run it."""
    columns, values = ", ".join(record), ", ".join(f"%({name})s" for name in record)
    sql.execute(f"INSERT INTO documents_ingestiontask ({columns}) VALUES ({values})", record)  # noqa: S608  # our names


def retry(task_id: UUID, *, tenant: str, by: str, source: str = "api") -> None:
    """Queue a failed, dead-lettered or cancelled task again, with fresh attempts and the same id.

    Raises TaskNotFound, InvalidTransition (it is in another state), ResultExpired (retention emptied it).
    """
    job = selectors.find_task(task_id, tenant=tenant).job
    # Both asked before acting, so that the audit log holds no operation that could not have worked.
    if job.state not in ENDED:
        raise InvalidTransition(task_id, job.state, "retry")
    if job.cleaned_at is not None:
        raise selectors.ResultExpired(
            "The task's arguments were removed when its time was over. Submit the document again.", state=job.state
        )
    _require_done(task_id, operations.retry([task_id], by=by, source=source), "retry")


def cancel(task_id: UUID, *, tenant: str, by: str, source: str = "api") -> None:
    """Stop a task: at once when it waits, within a second or two when it runs.

    Raises TaskNotFound, InvalidTransition (it has ended).
    """
    selectors.find_task(task_id, tenant=tenant)
    _require_done(task_id, operations.cancel([task_id], by=by, source=source), "cancel")


def _require_done(task_id: UUID, result: operations.OperationResult, operation: str) -> None:
    reason = result.refused.get(task_id)
    if reason == operations.NOT_FOUND:
        raise TaskNotFound()
    if reason is not None and reason != operations.CANCEL_REQUESTED:
        raise InvalidTransition(task_id, reason, operation)
