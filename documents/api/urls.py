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


def endpoint(route: str, view: Any, name: str) -> list[URLPattern]:
    return [
        path(route, view.as_view(), name=name),
        path(route + "/", view.as_view(schema=None)),  # left out of the OpenAPI document
    ]


urlpatterns = [
    *endpoint("process", submission.Process, "process"),
    *endpoint("upload", uploading.UploadDocument, "upload"),
    *endpoint("batch", batching.Batch, "batch"),
    *endpoint("batch/<str:batch_id>", batching.BatchState, "batch-status"),
    *endpoint("batch/<str:batch_id>/cancel", batching.BatchCancel, "batch-cancel"),
    *endpoint("queue/stats", following.Stats, "queue-stats"),
    *endpoint("task/<str:task_id>/status", following.Status, "task-status"),
    *endpoint("task/<str:task_id>/result", results.Result, "task-result"),
    *endpoint("task/<str:task_id>/retry", operating.Retry, "task-retry"),
    *endpoint("task/<str:task_id>/cancel", operating.Cancel, "task-cancel"),
    *endpoint("task/<str:task_id>/events", following.Events, "task-events"),
    *endpoint("task/<str:task_id>", operating.Erase, "task"),
    *endpoint("tasks", lists.Tasks, "tasks"),
    *endpoint("task/<str:task_id>/webhook", webhooks.TaskWebhook, "task-webhook"),
    *endpoint("task/<str:task_id>/webhook/redeliver", webhooks.TaskRedeliver, "task-redeliver"),
    *endpoint("batch/<str:batch_id>/webhook", webhooks.BatchWebhook, "batch-webhook"),
    *endpoint("batch/<str:batch_id>/webhook/redeliver", webhooks.BatchRedeliver, "batch-redeliver"),
    *endpoint("webhook", webhooks.EndpointSettings, "webhook"),
    *endpoint("webhook/secret", webhooks.RotateSecret, "webhook-secret"),
    *endpoint("webhook/test", webhooks.Test, "webhook-test"),
    *endpoint("webhook/deliveries/<str:delivery_id>", webhooks.DeliveryState, "webhook-delivery"),
    # Not worth a redirect to itself with a slash.
    re_path("", no_append_slash(base.Nothing.as_view())),
]
