"""The Dramatiq actors: interfaces of a few lines. What they do is in `pipeline`, `callbacks` and `retention`."""

from __future__ import annotations

from typing import Any

import dramatiq
from django.conf import settings
from queueadmin.context import current_job

from documents import pipeline


@dramatiq.actor(queue_name=settings.QUEUE_NAME)
def ingest_document(*, tenant: str, r2_key: str, file_name: str, content_type: str, file_size: int | None) -> Any:
    """Extract one document; the returned summary becomes the job's result. The job's id is the task's id."""
    document = pipeline.Document(
        tenant=tenant, key=r2_key, file_name=file_name, content_type=content_type, file_size=file_size
    )
    return pipeline.run(document, job=current_job())


@dramatiq.actor(queue_name="webhooks", max_attempts=27, min_backoff_seconds=10, max_backoff_seconds=21_600)
def deliver_webhook(task_id: str, state: str, run: int) -> Any:
    """Tell the task's `callback_url` how run number `run` of it ended. The ledger sends this with the outcome."""
    from documents.callbacks import delivery  # being written

    return delivery.deliver(task_id=task_id, state=state, run=run)


@dramatiq.actor(queue_name="maintenance", every_seconds=3600)
def cleanup() -> Any:
    """Remove what has outlived its retention. The dispatcher sends it once an hour."""
    from documents import retention  # being written

    return retention.clean().as_dict()
