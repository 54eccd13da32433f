"""The shapes of what is asked and answered about webhooks: serializers describe them, functions write them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from documents import conf
from documents.api.fields import CallbackURL, StateName, StrictInteger
from documents.api.serializers import TaskError
from documents.callbacks.secrets import NewSecret
from documents.models import WebhookAttempt
from documents.webhooks import DEFAULT_OVERLAP, MAX_OVERLAP, Delivery, Endpoint
from queueadmin.states import State

_HOUR = 3600
_WAITS = (State.RETRYING, State.SCHEDULED)
_FAILED = {State.RETRYING: True, State.DEAD_LETTER: True, State.FAILED: False}


@extend_schema_serializer(component_name="WebhookEndpoint")
class EndpointRequest(serializers.Serializer[Any]):
    """Where events go that name no callback URL."""

    url = CallbackURL(max_length=2048, help_text="http or https, a public address, no user name.")


@extend_schema_serializer(component_name="WebhookTest")
class TestRequest(serializers.Serializer[Any]):
    """Where to send a test."""

    url = CallbackURL(
        max_length=2048, required=False, allow_null=True, allow_blank=True, help_text="Default: the tenant's endpoint."
    )


@extend_schema_serializer(component_name="WebhookSecret")
class SecretRequest(serializers.Serializer[Any]):
    """How to change over to a new secret."""

    overlap_hours = StrictInteger(
        min_value=0,
        max_value=int(MAX_OVERLAP.total_seconds()) // _HOUR,
        default=int(DEFAULT_OVERLAP.total_seconds()) // _HOUR,
        help_text="For so long the secret before signs as well.",
    )


class SecretState(serializers.Serializer[Any]):
    """A secret that signs now. The secret itself is not shown again."""

    secret_id = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True, help_text="When it stops signing; null for the newest.")


class WebhookSettings(serializers.Serializer[Any]):
    """Where the tenant's events go, and what signs them."""

    url = serializers.CharField(allow_null=True, help_text="Null without an endpoint.")
    disabled_at = serializers.DateTimeField(
        allow_null=True, help_text="When it answered 410 Gone; nothing is sent there since. Set it again to enable it."
    )
    secrets = SecretState(many=True, help_text="Newest first. Empty: the installation's secret signs.")


class RotatedSecret(serializers.Serializer[Any]):
    """A new secret: this is the only time that it is shown."""

    secret_id = serializers.IntegerField()
    secret = serializers.CharField(help_text="whsec_ and base64, as the libraries of Standard Webhooks take it.")
    previous_until = serializers.DateTimeField(help_text="Until then the secret before signs as well.")


class WebhookAttemptState(serializers.Serializer[Any]):
    """One try."""

    at = serializers.DateTimeField()
    attempt = serializers.IntegerField()
    status_code = serializers.IntegerField(allow_null=True, help_text="Null when there was no answer.")
    duration_ms = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(allow_null=True, help_text="Why there was no answer.")
    response = serializers.CharField(
        allow_null=True, help_text="The start of the answer's body; null where webhooks may go to private addresses."
    )


class WebhookDelivery(serializers.Serializer[Any]):
    """One event's way to its receiver."""

    delivery_id = serializers.UUIDField()
    event = serializers.CharField(help_text="task.completed, batch.completed, webhook.test …")
    webhook_id = serializers.CharField(help_text="The header webhook-id: the same at every attempt and redelivery.")
    state = StateName()
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    error = TaskError(allow_null=True, help_text="Why the last attempt failed.")
    attempts = WebhookAttemptState(many=True, help_text="Oldest first.")


class WebhookDeliveries(serializers.Serializer[Any]):
    """The deliveries of a task's or a batch's events, newest first."""

    deliveries = WebhookDelivery(many=True)


class AcceptedDelivery(serializers.Serializer[Any]):
    """A delivery under way."""

    delivery_id = serializers.UUIDField()
    delivery_url = serializers.CharField(help_text="Where to follow it.")


def settings(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "url": endpoint.url or None,
        "disabled_at": endpoint.disabled_at,
        "secrets": [
            {"secret_id": secret.pk, "created_at": secret.created_at, "expires_at": secret.expires_at}
            for secret in endpoint.secrets
        ],
    }


def rotated(made: NewSecret) -> dict[str, Any]:
    return {"secret_id": made.secret_id, "secret": made.secret, "previous_until": made.previous_until}


def delivery_url(delivery_id: Any) -> str:
    return f"/api/documents/webhook/deliveries/{delivery_id}"


def accepted(delivery_id: Any) -> dict[str, Any]:
    return {"delivery_id": str(delivery_id), "delivery_url": delivery_url(delivery_id)}


def delivery(one: Delivery) -> dict[str, Any]:
    job = one.job
    return {
        "delivery_id": str(job.pk),
        "event": one.event,
        "webhook_id": one.webhook_id,
        "state": job.state,
        "next_attempt_at": job.run_at if job.state in _WAITS else None,
        "error": _error(one),
        "attempts": [_attempt(attempt) for attempt in one.attempts],
    }


def _error(one: Delivery) -> dict[str, Any] | None:
    """A test has always ended well for its job; what became of the request is its result."""
    job = one.job
    if isinstance(job.result, dict) and job.result.get("delivered") is False:
        return {"code": job.result.get("code"), "message": job.result.get("message"), "retryable": False}
    if job.state not in _FAILED:
        return None
    return {"code": job.error_code, "message": job.error_message, "retryable": _FAILED[State(job.state)]}


def _attempt(attempt: WebhookAttempt) -> dict[str, Any]:
    """What the tenant may know. How long a name took that led nowhere could tell where it leads."""
    is_silent = conf.webhook_policy().allow_private  # a receiver inside must not become readable from outside
    return {
        "at": attempt.at,
        "attempt": attempt.attempt,
        "status_code": attempt.status_code,
        "duration_ms": None if attempt.detail else attempt.duration_ms,
        "error": attempt.error or None,
        "response": None if is_silent or attempt.status_code is None else attempt.response_excerpt,
    }
