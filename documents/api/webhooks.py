"""Webhooks: the tenant's endpoint and secret, a test, how deliveries went, and sending one again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from documents import webhooks
from documents.api import schema
from documents.api import webhook_shapes as shapes
from documents.api.auth import caller_of
from documents.api.base import ApiView, BatchEndpoint, TaskEndpoint, batch_id_of, delivery_id_of, task_id_of
from documents.models import Scope

_endpoint, _test, _secret = shapes.EndpointRequest(), shapes.TestRequest(), shapes.SecretRequest()
_OPERATE = frozenset({Scope.OPERATE})
_SEND = frozenset({Scope.SUBMIT, Scope.OPERATE})


class EndpointSettings(ApiView):
    """The tenant's endpoint."""

    scopes = _OPERATE

    @extend_schema(
        operation_id="read_webhook",
        summary="Read the tenant's webhook endpoint",
        responses={200: shapes.WebhookSettings, **schema.problems(401, 403, 405, 429, 500, 503)},
    )
    def get(self, request: Request) -> Response:
        """Where events go that name no callback URL, and which secrets sign."""
        return Response(shapes.settings(webhooks.endpoint(caller_of(request).tenant)))

    @extend_schema(
        operation_id="set_webhook",
        summary="Set the tenant's webhook endpoint",
        request=shapes.EndpointRequest,
        examples=[schema.ENDPOINT_EXAMPLE],
        responses={200: shapes.WebhookSettings, **schema.problems(400, 401, 403, 405, 413, 415, 429, 500, 503)},
    )
    def put(self, request: Request) -> Response:
        """From now on, events of new tasks without a callback URL go there. One that is disabled is enabled again."""
        given: dict[str, Any] = _endpoint.run_validation(request.data)
        return self._set(request, given["url"])

    @extend_schema(
        operation_id="remove_webhook",
        summary="Remove the tenant's webhook endpoint",
        responses={200: shapes.WebhookSettings, **schema.problems(401, 403, 405, 429, 500, 503)},
    )
    def delete(self, request: Request) -> Response:
        """Events that name no callback URL are announced no more. Repeating it is harmless."""
        return self._set(request, "")

    def _set(self, request: Request, url: str) -> Response:
        caller = caller_of(request)
        return Response(shapes.settings(webhooks.set_endpoint(caller.tenant, url, by=str(caller), source="api")))


class RotateSecret(ApiView):
    """The tenant's secret."""

    scopes = _OPERATE

    @extend_schema(
        operation_id="rotate_webhook_secret",
        summary="Make a new webhook secret",
        request=shapes.SecretRequest,
        examples=[schema.SECRET_EXAMPLE],
        responses={201: shapes.RotatedSecret, **schema.problems(400, 401, 403, 405, 413, 415, 429, 500, 503)},
    )
    def post(self, request: Request) -> Response:
        """The new secret signs at once; the one before signs as well for a while, so that no event is lost."""
        given: dict[str, Any] = _secret.run_validation(request.data)
        caller, overlap = caller_of(request), timedelta(hours=given["overlap_hours"])
        made = webhooks.rotate_secret(caller.tenant, overlap=overlap, by=str(caller), source="api")
        return Response(shapes.rotated(made), status=201)


class Test(ApiView):
    """A test event."""

    scopes = _SEND

    @extend_schema(
        operation_id="test_webhook",
        summary="Send a test event",
        request=shapes.TestRequest,
        examples=[schema.TEST_EXAMPLE],
        responses={202: shapes.AcceptedDelivery, **schema.problems(400, 401, 403, 405, 409, 413, 415, 429, 500, 503)},
        parameters=[schema.DELIVERY_LOCATION],
    )
    def post(self, request: Request) -> Response:
        """Send `webhook.test` to a URL, or to the tenant's endpoint: once, signed as every event is."""
        given: dict[str, Any] = _test.run_validation(request.data)
        return _accepted(webhooks.send_test(caller_of(request).tenant, given.get("url") or ""))


@extend_schema(parameters=[OpenApiParameter("delivery_id", OpenApiTypes.UUID, OpenApiParameter.PATH)])
class DeliveryState(ApiView):
    """One delivery."""

    scopes = frozenset({Scope.READ})

    @extend_schema(
        operation_id="read_webhook_delivery",
        summary="Read how a delivery went",
        responses={200: shapes.WebhookDelivery, **schema.problems(401, 403, 404, 405, 429, 500, 503)},
    )
    def get(self, request: Request, delivery_id: str) -> Response:
        """Where it stands, and each attempt with what the receiver answered."""
        found = webhooks.delivery(delivery_id_of(delivery_id), tenant=caller_of(request).tenant)
        return Response(shapes.delivery(found))


class TaskWebhook(TaskEndpoint):
    """The deliveries of a task's events."""

    scopes = frozenset({Scope.READ})

    @extend_schema(
        operation_id="list_task_webhooks",
        summary="Read how a task's webhooks went",
        responses={200: shapes.WebhookDeliveries, **schema.problems(401, 403, 404, 405, 429, 500, 503)},
    )
    def get(self, request: Request, task_id: str) -> Response:
        """The deliveries of its events, newest first."""
        return _listed(webhooks.of_task(task_id_of(task_id), tenant=caller_of(request).tenant))


class TaskRedeliver(TaskEndpoint):
    """Send a task's event again."""

    scopes = _SEND

    @extend_schema(
        operation_id="redeliver_task_webhook",
        summary="Send a task's webhook again",
        request=None,
        responses={202: shapes.AcceptedDelivery, **schema.problems(401, 403, 404, 405, 409, 410, 429, 500, 503)},
        parameters=[schema.DELIVERY_LOCATION],
    )
    def post(self, request: Request, task_id: str) -> Response:
        """The event about its last end, at once and with the same webhook-id, whether it had been delivered or not."""
        caller = caller_of(request)
        return _accepted(webhooks.redeliver_task(task_id_of(task_id), tenant=caller.tenant, by=str(caller)).job.pk)


class BatchWebhook(BatchEndpoint):
    """The deliveries of a batch's event."""

    scopes = frozenset({Scope.READ})

    @extend_schema(
        operation_id="list_batch_webhooks",
        summary="Read how a batch's webhook went",
        responses={200: shapes.WebhookDeliveries, **schema.problems(401, 403, 404, 405, 429, 500, 503)},
    )
    def get(self, request: Request, batch_id: str) -> Response:
        """The deliveries of its event, newest first."""
        return _listed(webhooks.of_batch(batch_id_of(batch_id), tenant=caller_of(request).tenant))


class BatchRedeliver(BatchEndpoint):
    """Send a batch's event again."""

    scopes = _SEND

    @extend_schema(
        operation_id="redeliver_batch_webhook",
        summary="Send a batch's webhook again",
        request=None,
        responses={202: shapes.AcceptedDelivery, **schema.problems(401, 403, 404, 405, 409, 429, 500, 503)},
        parameters=[schema.DELIVERY_LOCATION],
    )
    def post(self, request: Request, batch_id: str) -> Response:
        """The event that it has ended, at once and with the same webhook-id."""
        caller = caller_of(request)
        return _accepted(webhooks.redeliver_batch(batch_id_of(batch_id), tenant=caller.tenant, by=str(caller)).job.pk)


def _listed(deliveries: list[webhooks.Delivery]) -> Response:
    return Response({"deliveries": [shapes.delivery(one) for one in deliveries]})


def _accepted(delivery_id: Any) -> Response:
    return Response(shapes.accepted(delivery_id), status=202, headers={"Location": shapes.delivery_url(delivery_id)})
