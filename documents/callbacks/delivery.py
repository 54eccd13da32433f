"""Delivering one webhook: read how the task ended, send it signed, log the attempt, decide whether to try again.

2xx ends it. 410 ends it for good and disables the address: the receiver says that it is gone. Everything else is tried
again for about three days, also redirects and other 4xx: they mean a receiver that is set up wrongly, which a person
puts right.
"""

from __future__ import annotations

import email.utils
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from documents import tenants
from documents.callbacks import client, endpoints, events, secrets, signing
from documents.callbacks.addresses import Resolver, system_resolver
from documents.callbacks.events import Event
from documents.conf import WebhookPolicy
from documents.exceptions import DocumentError
from documents.models import WebhookAttempt
from queueadmin import tracing
from queueadmin.context import JobContext
from queueadmin.exceptions import JobCancelled, JobError, PermanentJobError

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 27
"""With the settings' backoff: 12 waits that double from 10 s to 6 h and 14 of 6 h, each three quarters of that on
average, are three days."""

LONGEST_RETRY_AFTER_SECONDS = 24 * 3600
"""A receiver may slow us down, but not put an event off for ever."""


class WebhookRejected(JobError):
    """The receiver did not accept the webhook."""

    code = "webhook_rejected"


class ReceiverGone(PermanentJobError):
    """The receiver answered 410 Gone: it wants no more webhooks."""

    code = "receiver_gone"


class EndpointDisabled(PermanentJobError):
    """The receiver answered 410 Gone before: nothing is sent there until staff enable it again."""

    code = "endpoint_disabled"


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
    """Send once how a run of a task ended. Returns what is kept of it; raises an error that says whether to try again.

    Every attempt becomes a WebhookAttempt; the task itself is never changed.
    """
    _stop_if_asked(job)
    event = events.of_task(UUID(task_id), state=state, run=run, public_url=policy.public_url)
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
    _stop_if_asked(job)
    event = events.of_batch(UUID(batch_id), public_url=policy.public_url)
    return _send(event, job=job, policy=policy, resolver=resolver, now=now)


def deliver_test(
    *,
    tenant: str,
    url: str,
    job: JobContext,
    policy: WebhookPolicy,
    resolver: Resolver = system_resolver,
    now: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """Send a test to `url`, or to the tenant's endpoint, once. What goes wrong is returned: it was asked for."""
    _stop_if_asked(job)
    at = datetime.fromtimestamp(now(), UTC)
    event = events.of_test(job.id, tenant=tenant, url=url or tenants.webhook_url(tenant), at=at)
    try:
        return {"delivered": True, **_send(event, job=job, policy=policy, resolver=resolver, now=now)}
    except (DocumentError, JobError) as error:
        return {"delivered": False, "event": event.type, "webhook_id": event.message_id, "code": error.code,
                "message": str(error)}  # fmt: skip


def _stop_if_asked(job: JobContext) -> None:
    if job.cancel.is_set():
        raise JobCancelled()


def _send(
    event: Event, *, job: JobContext, policy: WebhookPolicy, resolver: Resolver, now: Callable[[], float]
) -> dict[str, Any]:
    if not event.url:
        return {"skipped": "there is no callback_url, and the tenant has no endpoint"}
    try:
        if endpoints.find_disabled(event.tenant, event.url):
            raise EndpointDisabled()
        answer = _attempt(event, job=job, policy=policy, resolver=resolver, now=now)
        _judge(answer, now=now)
    except (DocumentError, JobError) as error:
        if isinstance(error, ReceiverGone):
            endpoints.disable(event.tenant, event.url)
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


def _attempt(
    event: Event, *, job: JobContext, policy: WebhookPolicy, resolver: Resolver, now: Callable[[], float]
) -> client.Answer:
    """POST once and log it, however it ends."""
    signing_secrets = secrets.signing(event.tenant, shared=policy.secrets)
    headers = {
        "content-type": "application/json",
        "user-agent": "document-ingestion/1.0 (Standard Webhooks)",
        **signing.signed_headers(signing_secrets, message_id=event.message_id, timestamp=int(now()), body=event.body),
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
        log.detail = getattr(error, "detail", "")[:500]
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
