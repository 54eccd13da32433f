"""What the API answers, as plain dictionaries. `serializers` describes the same shapes."""

from __future__ import annotations

import math
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.utils import timezone

from documents import selectors
from documents.batches import AcceptedBatch, Refusal, refusals_of
from documents.selectors import BatchView, QueueStats, TaskView
from queueadmin.models import Job, JobProgress
from queueadmin.selectors import TimelineEntry
from queueadmin.states import TERMINAL, State

_WAITS = (State.RETRYING, State.SCHEDULED)
_SUMMARY = ("characters", "pages", "content_type", "engine", "sha256")
_SOON_SECONDS, _LATE_SECONDS = 2, 3600
_PUBLIC_DETAIL = ("code", "message", "reason", "content_type", "bytes", "engine", "ms")
_RETRYABLE = {State.RETRYING: True, State.DEAD_LETTER: True, State.FAILED: False}
"""Whether the same document may succeed later, for the states that have an error to tell."""


def status_url(task_id: UUID) -> str:
    """The path of a task's status. Written out instead of reversed: it is part of the API, and hot."""
    return f"/api/documents/task/{task_id}/status"


def result_url(task_id: UUID) -> str:
    return f"/api/documents/task/{task_id}/result"


def accepted(task_id: UUID) -> dict[str, Any]:
    return {"task_id": str(task_id), "status": "queued", "status_url": status_url(task_id)}


def batch_url(batch_id: UUID) -> str:
    return f"/api/documents/batch/{batch_id}"


def accepted_batch(batch: AcceptedBatch) -> dict[str, Any]:
    verdicts = [{"index": index, **accepted(task_id)} for index, task_id in batch.tasks.items()]
    verdicts += [refusal(item) for item in batch.refusals]
    return {
        "batch_id": str(batch.batch_id),
        "status": "queued",
        "batch_url": batch_url(batch.batch_id),
        "accepted": len(batch.tasks),
        "refused": len(batch.refusals),
        "documents": sorted(verdicts, key=itemgetter("index")),
    }


def refusal(item: Refusal) -> dict[str, Any]:
    verdict = {"index": item.index, "status": "refused", "code": item.code, "detail": item.detail}
    return verdict | ({"errors": dict(item.errors)} if item.errors else {})


def batch(view: BatchView) -> dict[str, Any]:
    found = view.batch
    total = sum(view.counts.values())
    return {
        "batch_id": str(found.pk),
        "status": "completed" if found.completed_at else "processing",
        "accepted": found.accepted,
        "refused": len(found.refusals),
        "progress": round(1 - view.live / total, 4) if total else 1.0,
        "counts": view.counts,
        "refusals": [refusal(item) for item in refusals_of(found)],
        "tasks_url": f"/api/documents/tasks?batch_id={found.pk}",
        "metadata": found.metadata,
        "created_at": found.created_at,
        "completed_at": found.completed_at,
        "webhook": _webhook(view.webhook),
    }


def _webhook(job: Job | None) -> dict[str, Any] | None:
    return {"state": job.state, "error": _error(job)} if job else None


def status(view: TaskView, webhook: Job | None = None) -> dict[str, Any]:
    """`webhook` is the job that delivers it, if there is one."""
    task, job = view.task, view.job
    return {
        "task_id": str(job.id),
        "status": job.state,
        "document_id": task.document_id,
        "user_id": task.user_id,
        "file_name": task.file_name,
        "priority": task.priority,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "stage": view.progress.stage if view.progress else None,
        "progress": 1.0 if job.state == State.COMPLETED else _fraction(view.progress),
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "next_attempt_at": job.run_at if job.state in _WAITS else None,
        "expires_at": selectors.expires_at(job),
        "batch_id": str(task.batch_id) if task.batch_id else None,
        "error": _error(job),
        "result": _result(job),
        "webhook": _webhook(webhook),
    }


def retry_after(job: Job) -> int | None:
    """Seconds after which asking again makes sense; None for a task that has ended."""
    if job.state in TERMINAL:
        return None
    if job.state not in _WAITS or job.run_at is None:
        return _SOON_SECONDS
    left = math.ceil((job.run_at - timezone.now()).total_seconds())
    return min(max(_SOON_SECONDS, left), _LATE_SECONDS)


def event(entry: TimelineEntry) -> dict[str, Any]:
    """An event as its client may see it: workers and operators are the service's own affair."""
    detail = {name: entry.detail[name] for name in _PUBLIC_DETAIL if name in entry.detail}
    after = None if entry.after is None else round(entry.after, 3)
    return {"event": entry.edge, "attempt": entry.attempt, "at": entry.at, "seconds_since": after, "detail": detail}


def _fraction(progress: JobProgress | None) -> float | None:
    if progress is None or progress.done is None or not progress.total:
        return None
    return round(min(1.0, max(0.0, progress.done / progress.total)), 4)


def _error(job: Job) -> dict[str, Any] | None:
    if job.state not in _RETRYABLE:
        return None
    return {"code": job.error_code, "message": job.error_message, "retryable": _RETRYABLE[State(job.state)]}


def _result(job: Job) -> dict[str, Any] | None:
    if job.state != State.COMPLETED or not isinstance(job.result, dict):
        return None
    return {name: job.result.get(name) for name in _SUMMARY} | {"result_url": result_url(job.id)}


def stats(found: QueueStats) -> dict[str, Any]:
    counts = found.counts
    return {
        "pending_tasks": counts[State.PENDING],
        "processing_tasks": counts[State.PROCESSING],
        "total_completed": found.total_completed,
        "total_failed": found.total_failed,
        "dead_letter_tasks": counts[State.DEAD_LETTER],
        "retrying_tasks": counts[State.RETRYING],
        "scheduled_tasks": counts[State.SCHEDULED],
        "cancelled_tasks": counts[State.CANCELLED],
        "oldest_pending_seconds": found.oldest_pending_seconds,
        "queues": found.queues,
    }
