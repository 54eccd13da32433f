"""The API's paths, below /api/documents/. Each works with a trailing slash, too; without is the documented form."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, path, re_path
from django.views.decorators.common import no_append_slash

from documents.api import (
    base,
    batching,
    following,
    lists,
    openapi,  # noqa: F401  (registers what the OpenAPI document says of fields and keys)
    operating,
    results,
    submission,
    uploading,
    webhooks,
)


def _endpoint(route: str, view: Any, name: str) -> list[URLPattern]:
    return [
        path(route, view.as_view(), name=name),
        path(route + "/", view.as_view(schema=None)),  # left out of the OpenAPI document
    ]


urlpatterns = [
    *_endpoint("process", submission.Process, "process"),
    *_endpoint("upload", uploading.UploadDocument, "upload"),
    *_endpoint("batch", batching.Batch, "batch"),
    *_endpoint("batch/<str:batch_id>", batching.BatchState, "batch-status"),
    *_endpoint("batch/<str:batch_id>/cancel", batching.BatchCancel, "batch-cancel"),
    *_endpoint("queue/stats", following.Stats, "queue-stats"),
    *_endpoint("task/<str:task_id>/status", following.Status, "task-status"),
    *_endpoint("task/<str:task_id>/result", results.Result, "task-result"),
    *_endpoint("task/<str:task_id>/retry", operating.Retry, "task-retry"),
    *_endpoint("task/<str:task_id>/cancel", operating.Cancel, "task-cancel"),
    *_endpoint("task/<str:task_id>/events", following.Events, "task-events"),
    *_endpoint("task/<str:task_id>", operating.Erase, "task"),
    *_endpoint("tasks", lists.Tasks, "tasks"),
    *_endpoint("task/<str:task_id>/webhook", webhooks.TaskWebhook, "task-webhook"),
    *_endpoint("task/<str:task_id>/webhook/redeliver", webhooks.TaskRedeliver, "task-redeliver"),
    *_endpoint("batch/<str:batch_id>/webhook", webhooks.BatchWebhook, "batch-webhook"),
    *_endpoint("batch/<str:batch_id>/webhook/redeliver", webhooks.BatchRedeliver, "batch-redeliver"),
    *_endpoint("webhook", webhooks.EndpointSettings, "webhook"),
    *_endpoint("webhook/secret", webhooks.RotateSecret, "webhook-secret"),
    *_endpoint("webhook/test", webhooks.Test, "webhook-test"),
    *_endpoint("webhook/deliveries/<str:delivery_id>", webhooks.DeliveryState, "webhook-delivery"),
    # Not worth a redirect to itself with a slash.
    re_path("", no_append_slash(base.Nothing.as_view())),
]
