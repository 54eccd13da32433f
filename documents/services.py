"""What can be asked of the service: submit, retry, cancel, erase. Shared by API, admin and command line.

Who asks has been authenticated; what arrives has the right types. What a document may be, who may read it and
whether there is room is decided here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from dramatiq import Message

from documents import conf, idempotency, retention, selectors, tenants
from documents.selectors import INGEST_ACTOR, TaskNotFound
from queueadmin import operations, sql
from queueadmin.audit import audited
from queueadmin.broker import get_ledger_broker
from queueadmin.edges import ENDED
from queueadmin.exceptions import InvalidTransition
from queueadmin.ids import uuid7, uuid7s
from queueadmin.rollbacks import run_despite_rollbacks
from queueadmin.states import TERMINAL, State

WEBHOOK_ACTOR = "deliver_webhook"
BATCH_WEBHOOK_ACTOR = "deliver_batch_webhook"


@dataclass(frozen=True, kw_only=True)
class SubmitRequest:
    """One document to ingest.

    `file_size` is bytes, as declared; `callback_url` is empty for no webhook; `run_at` is when it is to run, None for
    now; `options` say how to read it (`languages`, `ocr`), None for the service's usual way.
    """

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
    run_at: datetime | None = None
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A stored task. From here on it cannot be lost. `is_replay`: it was stored by an earlier, equal submission."""

    task_id: UUID
    is_replay: bool = False


def submit(
    request: SubmitRequest, *, intent: idempotency.Intent | None = None, task_id: UUID | None = None
) -> Accepted:
    """Store a task and its job in one transaction; the job is published when that commits.

    With an `intent` that was carried out before, the answer is the task of that time. `task_id` is for who had to know
    it before. Raises InvalidKey, KeyNotAllowed, QueueFull, IdempotencyConflict, SubmissionInFlight. Then nothing is
    stored. Redis may be down: the dispatcher publishes the job later.
    """
    key = tenants.require_owned(request.tenant, request.r2_key)
    task_id = task_id or uuid7()
    # The id is fixed before the first try: repeating it changes nothing, even if only the reply to COMMIT was lost.
    if intent is not None:
        return run_despite_rollbacks(partial(_submit_once, request, key, task_id, intent), repeatable=True)
    get_ledger_broker().room.require(settings.QUEUE_NAME)
    run_despite_rollbacks(partial(_submit, request, key, task_id), repeatable=True)
    return Accepted(task_id=task_id)


def _submit(request: SubmitRequest, key: str, task_id: UUID) -> None:
    with transaction.atomic():
        _store(request, key, task_id)


def _submit_once(request: SubmitRequest, key: str, task_id: UUID, intent: idempotency.Intent) -> Accepted:
    with transaction.atomic():
        known = idempotency.recall(intent)
        if known is not None:
            get_ledger_broker().publish_again(known)  # whoever had no answer may have been cut off before the publish
            return Accepted(task_id=known, is_replay=known != task_id)
        get_ledger_broker().room.require(settings.QUEUE_NAME)
        _store(request, key, task_id)
        idempotency.remember(intent, task_id)
    return Accepted(task_id=task_id)


def _store(request: SubmitRequest, key: str, task_id: UUID) -> None:
    get_ledger_broker().enqueue(_message(request, key, task_id))
    _insert(_record(request, key, task_id))


def store_many(requests: Sequence[SubmitRequest], *, batch_id: UUID) -> list[UUID]:
    """Store tasks whose keys are known to be their tenant's, in the caller's transaction; returns their ids, ascending.

    A constant number of statements, whatever the number of tasks; one publish on commit.
    """
    ids = uuid7s(len(requests))
    stored = [(request, request.r2_key, task_id) for request, task_id in zip(requests, ids, strict=True)]
    get_ledger_broker().enqueue_many([_message(*item) for item in stored])
    _insert_many([_record(*item) for item in stored], batch_id=batch_id)
    return ids


def _message(request: SubmitRequest, key: str, task_id: UUID) -> Message[Any]:
    broker = get_ledger_broker()
    arguments: dict[str, Any] = {
        "tenant": request.tenant,
        "r2_key": key,
        "file_name": request.file_name,
        "content_type": request.content_type,
        "file_size": request.file_size,
    }
    if request.options:
        arguments["options"] = dict(request.options)
    options: dict[str, Any] = {
        "priority": request.priority,
        "partition_key": request.tenant,
        "max_attempts": request.max_attempts,
        "follow_up": broker.get_actor(WEBHOOK_ACTOR) if _is_announced(request) else None,
        "labels": {"document_id": request.document_id},
        "delay": _milliseconds_until(request.run_at),
    }
    actor = broker.get_actor(INGEST_ACTOR)
    return Message(
        queue_name=actor.queue_name, actor_name=actor.actor_name, args=(), kwargs=arguments, options=options,
        message_id=str(task_id),
    )  # fmt: skip


def _is_announced(request: SubmitRequest) -> bool:
    """Whether the task's end goes to a webhook: its own, or its tenant's."""
    return bool(request.callback_url or tenants.webhook_url(request.tenant))


def _milliseconds_until(moment: datetime | None) -> int | None:
    return None if moment is None else max(0, round((moment - timezone.now()).total_seconds() * 1000))


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
        "metadata": dict(request.metadata),
        "options": dict(request.options) if request.options else None,
    }


_TASK = "documents_ingestiontask"
_JSON_COLUMNS = ("metadata", "options")


def _insert(record: dict[str, Any]) -> None:
    """By hand: building a model instance and its INSERT took the ORM longer than the database took to run it."""
    values = {
        name: json.dumps(value, allow_nan=False) if name in _JSON_COLUMNS and value is not None else value
        for name, value in record.items()
    }
    values["created_at"] = _now()
    columns, places = ", ".join(values), ", ".join(f"%({name})s" for name in values)
    sql.execute(f"INSERT INTO {_TASK} ({columns}) VALUES ({places}) ON CONFLICT DO NOTHING", values)  # noqa: S608  # our names


_COLUMNS = {
    "id": "uuid", "tenant": "text", "document_id": "text", "user_id": "text", "file_name": "text", "r2_key": "text",
    "content_type": "text", "file_size": "integer", "callback_url": "text", "priority": "integer", "metadata": "json",
    "options": "json",
}  # fmt: skip


def _insert_many(records: Sequence[dict[str, Any]], *, batch_id: UUID) -> None:
    columns = ", ".join(_COLUMNS)
    sql.execute(
        f"INSERT INTO {_TASK} ({columns}, batch_id, created_at) "  # noqa: S608  # our names
        f"SELECT {columns}, %(batch_id)s, %(created_at)s FROM {sql.dialect().rows(_COLUMNS)} w",
        {"rows": sql.encode(records), "batch_id": batch_id.hex, "created_at": _now()},
    )


def _now() -> Any:
    return connection.ops.adapt_datetimefield_value(timezone.now())


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


def cancel(task_id: UUID, *, tenant: str, by: str, source: str = "api") -> bool:
    """Stop a task: at once when it waits, within a second or two when it runs. Repeating it is harmless.

    Returns whether it is cancelled already. Raises TaskNotFound, InvalidTransition (it has ended in another way).
    """
    if selectors.find_task(task_id, tenant=tenant).job.state == State.CANCELLED:
        return True
    result = operations.cancel([task_id], by=by, source=source)
    if result.refused.get(task_id) == State.CANCELLED:
        return True
    _require_done(task_id, result, "cancel")
    return bool(selectors.find_task(task_id, tenant=tenant).job.state == State.CANCELLED)


def _require_done(task_id: UUID, result: operations.OperationResult, operation: str) -> None:
    reason = result.refused.get(task_id)
    if reason == operations.NOT_FOUND:
        raise TaskNotFound()
    if reason is not None and reason != operations.CANCEL_REQUESTED:
        raise InvalidTransition(task_id, reason, operation)


def erase(task_id: UUID, *, tenant: str, by: str, source: str = "api") -> None:
    """Remove what a task carries: its result, its document if that was uploaded to us, its text and its history.

    What stays is the slim row of the audit. Repeating it is harmless. Raises TaskNotFound, InvalidTransition (it has
    not ended: cancel it first), StorageUnavailable.
    """
    job = selectors.find_task(task_id, tenant=tenant).job
    if job.state not in TERMINAL:
        raise InvalidTransition(task_id, job.state, "erase")
    with audited("erase", str(task_id), 1, by=by, source=source, user=None, reason="") as log:
        if not retention.erase(task_id, results=conf.result_store(), documents=conf.document_store()):
            raise InvalidTransition(task_id, selectors.find_task(task_id, tenant=tenant).job.state, "erase")
        log.done = 1
