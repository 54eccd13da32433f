"""Delivering one webhook: read how the task ended, send it signed, log the attempt, decide whether to try again.

2xx ends it. 410 ends it for good: the receiver says that it is gone. Everything else is tried again for about three
days, also redirects and other 4xx: they mean a receiver that is set up wrongly, which a person puts right.
"""

from __future__ import annotations

import email.utils
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import Count

from documents.callbacks import client, payload, signing
from documents.callbacks.addresses import Resolver, system_resolver
from documents.conf import WebhookPolicy
from documents.exceptions import DocumentError
from documents.models import Batch, IngestionTask, WebhookAttempt
from queueadmin import tracing
from queueadmin.context import JobContext
from queueadmin.exceptions import JobCancelled, JobError, PermanentJobError
from queueadmin.models import Job, JobEvent

logger = logging.getLogger(__name__)

MIN_BACKOFF_SECONDS = 10
MAX_BACKOFF_SECONDS = 6 * 3600
MAX_ATTEMPTS = 27
"""12 waits that double from 10 s to 6 h and 14 of 6 h, each three quarters of that on average: three days."""

LONGEST_RETRY_AFTER_SECONDS = 24 * 3600
"""A receiver may slow us down, but not put an event off for ever."""


class WebhookRejected(JobError):
    """The receiver did not accept the webhook."""

    code = "webhook_rejected"


class ReceiverGone(PermanentJobError):
    """The receiver answered 410 Gone: it wants no more webhooks."""

    code = "receiver_gone"


class TaskForgotten(PermanentJobError):
    """The task that this webhook is about has been cleaned up."""

    code = "task_forgotten"


def deliver(
    *,
    task_id: str,
    state: str,
    run: int,
    job: JobContext,
    policy: WebhookPolicy,
    resolver: Resolver = system_resolver,
    now: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """Send the event once. Returns what is kept of the delivery; raises an error that says whether to try again.

    Every attempt becomes a WebhookAttempt; the task itself is never changed.
    """
    if job.cancel.is_set():
        raise JobCancelled()
    task = IngestionTask.objects.filter(pk=UUID(task_id)).first()
    if task is None:
        raise TaskForgotten()
    if not task.callback_url:
        return {"skipped": "the task has no callback_url"}
    ending = how_it_ended(UUID(task_id), state=state, run=run)
    event = Event(
        about=ending.task_id, type=ending.event, message_id=ending.message_id, url=task.callback_url,
        body=payload.encode(ending, _subject(task), public_url=policy.public_url),
    )  # fmt: skip
    return _send(event, job=job, policy=policy, resolver=resolver, now=now)


def deliver_batch(
    *,
    batch_id: str,
    job: JobContext,
    policy: WebhookPolicy,
    resolver: Resolver = system_resolver,
    now: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """Send once that a batch has ended; otherwise like `deliver`."""
    if job.cancel.is_set():
        raise JobCancelled()
    ending, url = how_batch_ended(UUID(batch_id))
    if not url:
        return {"skipped": "the batch has no callback_url"}
    body = payload.encode_batch(ending, public_url=policy.public_url)
    event = Event(about=ending.batch_id, type=ending.event, message_id=ending.message_id, url=url, body=body)
    return _send(event, job=job, policy=policy, resolver=resolver, now=now)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing to announce: the task or batch it is about, and where to."""

    about: UUID
    type: str
    message_id: str
    url: str
    body: bytes


def _send(
    event: Event, *, job: JobContext, policy: WebhookPolicy, resolver: Resolver, now: Callable[[], float]
) -> dict[str, Any]:
    try:
        answer = _attempt(event, job=job, policy=policy, resolver=resolver, now=now)
        _judge(answer, now=now)
    except (DocumentError, JobError) as error:
        detail = getattr(error, "detail", "")
        if detail:
            job.note(reason=detail)  # in the job's history, which staff alone read
        # The URL stays out of the log: its path may be a secret of the receiver's.
        logger.warning(
            "a webhook was not delivered",
            extra={"about": str(event.about), "attempt": job.attempt, "of": job.max_attempts, "code": error.code,
                   "error": f"{error} {detail}".strip()},
        )  # fmt: skip
        raise
    logger.info("callback delivered", extra={"status_code": answer.status, "event_type": event.type})
    return {"event": event.type, "webhook_id": event.message_id, "status_code": answer.status}


def how_batch_ended(batch_id: UUID) -> tuple[payload.BatchEnding, str]:
    """The ending of a batch, and where to announce it. Raises TaskForgotten."""
    batch = Batch.objects.filter(pk=batch_id).first()
    if batch is None or batch.completed_at is None:
        raise TaskForgotten("The batch that this webhook is about has been cleaned up.")
    states = IngestionTask.objects.filter(batch_id=batch_id).values_list("job__state").annotate(n=Count("pk"))
    ending = payload.BatchEnding(
        batch_id=batch_id, at=batch.completed_at, accepted=batch.accepted, refused=len(batch.refusals),
        counts=dict(states.order_by()), metadata=batch.metadata,
    )  # fmt: skip
    return ending, batch.callback_url


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


def _subject(task: IngestionTask) -> payload.Subject:
    return payload.Subject(
        document_id=task.document_id, user_id=task.user_id, file_name=task.file_name, metadata=task.metadata
    )


def _attempt(
    event: Event, *, job: JobContext, policy: WebhookPolicy, resolver: Resolver, now: Callable[[], float]
) -> client.Answer:
    """POST once and log it, however it ends."""
    headers = {
        "content-type": "application/json",
        "user-agent": "document-ingestion/1.0 (Standard Webhooks)",
        **signing.signed_headers(policy.secrets, message_id=event.message_id, timestamp=int(now()), body=event.body),
    }
    log = WebhookAttempt(
        task_id=event.about, job_id=job.id, event=event.type, attempt=job.attempt, url=event.url,
        at=datetime.now(UTC),
    )  # fmt: skip
    started = time.monotonic()
    try:
        with tracing.span("POST callback", kind="client"):
            answer = client.post(
                event.url,
                body=event.body,
                headers=headers | _origin_headers(job),
                seconds=policy.deadline_seconds,
                response_bytes=policy.response_bytes,
                allow_private=policy.allow_private,
                resolver=resolver,
            )
        log.status_code, log.response_excerpt = answer.status, answer.excerpt
        return answer
    except DocumentError as error:
        log.error = f"{error.code}: {error}"[:500]
        raise
    finally:
        log.duration_ms = round((time.monotonic() - started) * 1000)
        log.save()


def _origin_headers(job: JobContext) -> dict[str, str]:
    """What ties the webhook to the request that led to it: its id, and the trace where there is one."""
    found = {"x-request-id": job.origin.request_id, tracing.TRACEPARENT: tracing.current()}
    return {name: value for name, value in found.items() if value}


def _judge(answer: client.Answer, *, now: Callable[[], float]) -> None:
    """Raise unless the webhook was accepted."""
    if 200 <= answer.status < 300:
        return
    if answer.status == 410:
        raise ReceiverGone()
    redirected = " Redirects are not followed: give the final URL as callback_url." if answer.status < 400 else ""
    raise WebhookRejected(
        f"The receiver answered {answer.status}.{redirected}",
        retry_after=retry_after_seconds(answer.retry_after, now()),
    )


def retry_after_seconds(header: str, now: float) -> float | None:
    """The seconds that a Retry-After header asks for, at most a day; None when it asks for nothing.

    RFC 9110, section 10.2.3: whole seconds or an HTTP date. `now` is seconds since 1970.
    """
    header = header.strip()
    if header.isascii() and header.isdigit():
        seconds = float(header)
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(seconds, LONGEST_RETRY_AFTER_SECONDS) if seconds > 0 else None
