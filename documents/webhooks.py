"""What can be asked about webhooks: where they go, what signs them, how they went, and to send one again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from dramatiq import Actor

from documents import conf, selectors, tenants
from documents.callbacks import addresses, endpoints, payload, secrets
from documents.callbacks.secrets import NewSecret
from documents.exceptions import DocumentError
from documents.models import Batch, IngestionTask, Tenant, WebhookAttempt, WebhookSecret
from documents.services import BATCH_WEBHOOK_ACTOR, WEBHOOK_ACTOR
from queueadmin import operations
from queueadmin.audit import audited
from queueadmin.broker import get_ledger_broker
from queueadmin.edges import ENDED, WAITING
from queueadmin.models import Job
from queueadmin.states import TERMINAL, State

TEST_ACTOR = "deliver_test_webhook"
ACTORS = (WEBHOOK_ACTOR, BATCH_WEBHOOK_ACTOR, TEST_ACTOR)
DEFAULT_OVERLAP = timedelta(hours=24)
MAX_OVERLAP = timedelta(days=30)
_MAX_DELIVERIES, _MAX_ATTEMPTS = 20, 200


class NoWebhook(DocumentError):
    """There is no webhook to deliver: no callback_url and no endpoint of the tenant, or nothing has ended yet."""

    code = "no_webhook"


class DeliveryNotFound(DocumentError):
    """There is no such delivery. Deliveries are forgotten some time after they ended, and belong to one tenant."""

    code = "delivery_not_found"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a tenant's events go that name no callback URL, and its own secrets, newest first."""

    url: str
    disabled_at: datetime | None = None
    """When it answered 410 Gone; nothing is sent there since."""
    secrets: tuple[WebhookSecret, ...] = ()
    """Without any, the installation's secret signs."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One event's way to its receiver: the job that delivers it, and its attempts, oldest first."""

    job: Job
    event: str
    webhook_id: str
    attempts: tuple[WebhookAttempt, ...] = field(default=())


# -- the tenant's endpoint -----------------------------------------------------------------------


def endpoint(tenant: str) -> Endpoint:
    """The tenant's endpoint; with an empty URL when it has none."""
    url = Tenant.objects.filter(pk=tenant).values_list("webhook_url", flat=True).first() or ""
    disabled = endpoints.find_disabled(tenant, url) if url else None
    return Endpoint(
        url=url, disabled_at=disabled.disabled_at if disabled else None, secrets=tuple(secrets.active(tenant))
    )


def set_endpoint(tenant: str, url: str, *, by: str, source: str, user: Any = None) -> Endpoint:
    """Send the tenant's events to `url`, or with an empty one nowhere. A disabled URL is enabled.

    Raises CallbackRefused for a URL to which no webhook may go.
    """
    if url:
        addresses.parse(url, allow_private=conf.webhook_policy().allow_private)
    with audited("set_webhook", tenant, 1, by=by, source=source, user=user, reason="") as log:
        with transaction.atomic():
            log.done = Tenant.objects.filter(pk=tenant).update(webhook_url=url)
            endpoints.enable(tenant, url)
        log.detail = {"origin": endpoints.origin(url) if url else None}
    tenants.forget()
    return endpoint(tenant)


def rotate_secret(
    tenant: str, *, overlap: timedelta = DEFAULT_OVERLAP, by: str, source: str, user: Any = None
) -> NewSecret:
    """A new secret, shown once; the one before keeps signing for `overlap`, at most 30 days."""
    record = Tenant.objects.get(pk=tenant)
    with audited("rotate_webhook_secret", tenant, 1, by=by, source=source, user=user, reason="") as log:
        made = secrets.rotate(record, overlap=min(overlap, MAX_OVERLAP), shared=conf.webhook_policy().secrets)
        log.done, log.detail = 1, {"secret": made.secret_id, "previous_until": made.previous_until.isoformat()}
    return made


def send_test(tenant: str, url: str = "") -> UUID:
    """Send a test event to `url`, or to the tenant's endpoint; returns the delivery's id.

    While one to the same URL is under way there is no second. Raises NoWebhook, CallbackRefused.
    """
    if url:
        addresses.parse(url, allow_private=conf.webhook_policy().allow_private)
    elif not endpoint(tenant).url:
        raise NoWebhook("Name a url, or set the tenant's endpoint first.")
    digest = hashlib.sha256(url.encode()).hexdigest()[:32]
    sent = _actor(TEST_ACTOR).send_with_options(
        args=(tenant, url), partition_key=tenant, unique_key=f"webhook-test:{tenant}:{digest}"
    )
    return UUID(sent.message_id)


# -- deliveries ----------------------------------------------------------------------------------


def delivery(delivery_id: UUID, *, tenant: str) -> Delivery:
    """Raises DeliveryNotFound, also for a delivery of another tenant."""
    job = Job.objects.filter(pk=delivery_id, partition_key=tenant, actor__in=ACTORS).first()
    if job is None:
        raise DeliveryNotFound()
    return _with_attempts([job], about=job.parent_id or job.pk)[0]


def of_task(task_id: UUID, *, tenant: str) -> list[Delivery]:
    """The deliveries of a task's events, newest first. Raises TaskNotFound."""
    selectors.find_task(task_id, tenant=tenant)
    return _about(task_id)


def of_batch(batch_id: UUID, *, tenant: str) -> list[Delivery]:
    """The deliveries of a batch's event. Raises BatchNotFound."""
    selectors.find_batch(batch_id, tenant=tenant)
    return _about(batch_id)


def redeliver_task(task_id: UUID, *, tenant: str, by: str, source: str = "api", user: Any = None) -> Delivery:
    """Send the event about the task's last end again, with its own webhook-id.

    Raises TaskNotFound, NoWebhook, ResultExpired (retention has removed where it went).
    """
    view = selectors.find_task(task_id, tenant=tenant)
    job = view.job
    if job.cleaned_at is not None:
        raise selectors.ResultExpired("What the webhook said has been removed: its time was over.", state=job.state)
    if job.state not in TERMINAL or not (view.task.callback_url or endpoint(tenant).url):
        raise NoWebhook()
    return _redeliver(WEBHOOK_ACTOR, (str(task_id), str(job.state), job.run), task_id, tenant, by, source, user)


def redeliver_batch(batch_id: UUID, *, tenant: str, by: str, source: str = "api", user: Any = None) -> Delivery:
    """Send the event about the batch's end again. Raises BatchNotFound, NoWebhook."""
    batch: Batch = selectors.find_batch(batch_id, tenant=tenant)
    if batch.completed_at is None or not (batch.callback_url or endpoint(tenant).url):
        raise NoWebhook()
    return _redeliver(BATCH_WEBHOOK_ACTOR, (str(batch_id),), batch_id, tenant, by, source, user)


def redeliver(about: UUID, *, by: str, source: str, user: Any = None) -> Delivery:
    """Send the event about a task or a batch of any tenant again: for staff. Raises as the two above."""
    batch = Batch.objects.filter(pk=about).first()
    if batch is not None:
        return redeliver_batch(about, tenant=batch.tenant, by=by, source=source, user=user)
    tenant = IngestionTask.objects.filter(pk=about).values_list("tenant", flat=True).first()
    if tenant is None:
        raise NoWebhook("Only events about a task or a batch that is still there can be delivered again.")
    return redeliver_task(about, tenant=tenant, by=by, source=source, user=user)


def _redeliver(
    actor: str, args: tuple[Any, ...], about: UUID, tenant: str, by: str, source: str, user: Any
) -> Delivery:
    """Have the latest delivery of this very event tried again, at once; if it has succeeded, make another one."""
    known = [job for job in _jobs(about) if job.actor == actor and tuple(job.payload.get("args", ())) == args]
    latest = known[0] if known else None
    if latest is not None and latest.state == State.PROCESSING:
        pass  # it is being sent
    elif latest is not None and latest.state in (*ENDED, *WAITING) and latest.cleaned_at is None:
        operations.retry([latest.pk], by=by, source=source, user=user, now=True)
    else:
        with audited("redeliver", str(about), 1, by=by, source=source, user=user, reason="") as log:
            sent = _actor(actor).send_with_options(
                args=args, partition_key=tenant, parent_id=about, unique_key=f"redeliver:{':'.join(map(str, args))}"
            )
            log.done, log.detail = 1, {"job": sent.message_id}
        return _with_attempts([Job.objects.get(pk=sent.message_id)], about=about)[0]
    return _with_attempts([Job.objects.get(pk=latest.pk)], about=about)[0]


def _about(about: UUID) -> list[Delivery]:
    return _with_attempts(_jobs(about), about=about)


def _jobs(about: UUID) -> list[Job]:
    return list(Job.objects.filter(parent_id=about, actor__in=ACTORS).order_by("-created_at", "-pk")[:_MAX_DELIVERIES])


def _with_attempts(jobs: Sequence[Job], *, about: UUID) -> list[Delivery]:
    attempts: dict[UUID, list[WebhookAttempt]] = {}
    found = WebhookAttempt.objects.filter(task_id=about, job_id__in=[job.pk for job in jobs]).order_by("-pk")
    for attempt in reversed(found[:_MAX_ATTEMPTS]):
        attempts.setdefault(attempt.job_id, []).append(attempt)
    return [_delivery(job, tuple(attempts.get(job.pk, ()))) for job in jobs]


def _delivery(job: Job, attempts: tuple[WebhookAttempt, ...]) -> Delivery:
    event, webhook_id = _named(job)
    return Delivery(job=job, event=event or (attempts[-1].event if attempts else ""), webhook_id=webhook_id,
                    attempts=attempts)  # fmt: skip


def _named(job: Job) -> tuple[str, str]:
    """The event's type and webhook-id, from the job's arguments; empty once retention has emptied them."""
    match job.actor, job.payload.get("args", ()):
        case "deliver_webhook", [task_id, state, run]:
            return f"task.{state}", payload.task_message_id(UUID(task_id), run=run, state=state)
        case "deliver_batch_webhook", [batch_id]:
            return payload.BatchEnding.event, payload.batch_message_id(UUID(batch_id))
        case "deliver_test_webhook", [_, _]:
            return payload.TEST_EVENT, payload.test_message_id(job.pk)
    return "", ""


def _actor(name: str) -> Actor[Any, Any]:
    return get_ledger_broker().get_actor(name)
