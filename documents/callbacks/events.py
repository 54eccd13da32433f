"""What there is to announce: how a run of a task ended, that a batch has ended, or nothing but a test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count

from documents import tenants
from documents.callbacks import payload
from documents.models import Batch, IngestionTask
from queueadmin.exceptions import PermanentJobError
from queueadmin.models import Job, JobEvent


class TaskForgotten(PermanentJobError):
    """The task that this webhook is about has been cleaned up."""

    code = "task_forgotten"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing to announce: what it is about (a task, a batch, a test's job), whose it is, and where to.

    `url` is empty when there is nowhere to send it. `message_id` is the same for every attempt, and for every
    redelivery.
    """

    about: UUID
    tenant: str
    type: str
    message_id: str
    url: str
    body: bytes


def of_task(task_id: UUID, *, state: str, run: int, public_url: str) -> Event:
    """How run number `run` ended, in `state`. Raises TaskForgotten."""
    task = IngestionTask.objects.filter(pk=task_id).first()
    if task is None:
        raise TaskForgotten()
    ending = how_it_ended(task_id, state=state, run=run)
    subject = payload.Subject(
        document_id=task.document_id, user_id=task.user_id, file_name=task.file_name, metadata=task.metadata
    )
    return Event(
        about=task_id, tenant=task.tenant, type=ending.event, message_id=ending.message_id,
        url=task.callback_url or tenants.webhook_url(task.tenant),
        body=payload.encode(ending, subject, public_url=public_url),
    )  # fmt: skip


def of_batch(batch_id: UUID, *, public_url: str) -> Event:
    """That no task of the batch is live any more. Raises TaskForgotten."""
    batch = Batch.objects.filter(pk=batch_id).first()
    if batch is None or batch.completed_at is None:
        raise TaskForgotten("The batch that this webhook is about has been cleaned up.")
    states = IngestionTask.objects.filter(batch_id=batch_id).values_list("job__state").annotate(n=Count("pk"))
    ending = payload.BatchEnding(
        batch_id=batch_id, at=batch.completed_at, accepted=batch.accepted, refused=len(batch.refusals),
        counts=dict(states.order_by()), metadata=batch.metadata,
    )  # fmt: skip
    return Event(
        about=batch_id, tenant=batch.tenant, type=ending.event, message_id=ending.message_id,
        url=batch.callback_url or tenants.webhook_url(batch.tenant),
        body=payload.encode_batch(ending, public_url=public_url),
    )  # fmt: skip


def of_test(job_id: UUID, *, tenant: str, url: str, at: datetime) -> Event:
    """A test that somebody asked for."""
    return Event(
        about=job_id, tenant=tenant, type=payload.TEST_EVENT, message_id=payload.test_message_id(job_id), url=url,
        body=payload.encode_test(tenant, at),
    )  # fmt: skip


def how_it_ended(task_id: UUID, *, state: str, run: int) -> payload.Ending:
    """The ending of one run: from the job's row, or from its history once it was queued again.

    Raises TaskForgotten.
    """
    job = Job.objects.filter(pk=task_id).first()
    if job is None:
        raise TaskForgotten()
    if job.run == run and job.state == state and job.finished_at is not None:
        return payload.Ending(
            task_id=task_id, state=state, run=run, at=job.finished_at, attempt=job.attempt, result=job.result,
            error_code=job.error_code, error_message=job.error_message,
        )  # fmt: skip
    event = payload.ending_event(_history(task_id), state=state, run=run)
    if event is None:
        raise TaskForgotten()
    return payload.Ending(
        task_id=task_id, state=state, run=run, at=event.at, attempt=event.attempt,
        error_code=str(event.detail.get("code", "")), error_message=str(event.detail.get("message", "")),
    )  # fmt: skip


def _history(task_id: UUID) -> list[payload.PastEvent]:
    rows = JobEvent.objects.filter(job_id=task_id).order_by("id")
    return [payload.PastEvent(edge=row.edge, attempt=row.attempt, at=row.at, detail=row.detail or {}) for row in rows]
