"""The Dramatiq actors: interfaces of a few lines. What they do is in `pipeline`, `callbacks` and `retention`."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

import dramatiq
from django.conf import settings
from dramatiq.middleware import Middleware

from documents import conf, metering, orphans, pipeline, retention
from documents.batches import Finisher
from documents.callbacks import delivery
from documents.exceptions import DocumentError
from documents.extraction.base import Options
from documents.workspace import Workspace
from queueadmin.broker import get_ledger_broker
from queueadmin.conf import queue_settings
from queueadmin.context import current_job
from queueadmin.metering import register as register_meter


# `throws`: what documents and receivers do wrong is expected. Dramatiq logs one line for it, not a traceback; the
# error itself is in the job's history.
@dramatiq.actor(queue_name=settings.QUEUE_NAME, throws=(DocumentError,), announced=True)
def ingest_document(
    *,
    tenant: str,
    r2_key: str,
    file_name: str,
    content_type: str,
    file_size: int | None,
    options: dict[str, Any] | None = None,
) -> Any:
    """Extract one document; the returned summary becomes the job's result. The job's id is the task's id."""
    document = pipeline.Document(
        tenant=tenant, key=r2_key, file_name=file_name, content_type=content_type, file_size=file_size,
        options=extraction_options(options or {}),
    )  # fmt: skip
    return pipeline.run(document, job=current_job(), tools=tools())


register_meter(ingest_document.actor_name, metering.measure_extraction)


@dramatiq.actor(
    queue_name="webhooks",
    max_attempts=delivery.MAX_ATTEMPTS,
    min_backoff_seconds=settings.WEBHOOK_MIN_BACKOFF_SECONDS,
    max_backoff_seconds=settings.WEBHOOK_MAX_BACKOFF_SECONDS,
    throws=(DocumentError,),
)
def deliver_webhook(task_id: str, state: str, run: int) -> Any:
    """Tell the task's `callback_url` how run number `run` of it ended. The ledger sends this with the outcome."""
    return delivery.deliver(task_id=task_id, state=state, run=run, job=current_job(), policy=conf.webhook_policy())


@dramatiq.actor(
    queue_name="webhooks",
    max_attempts=delivery.MAX_ATTEMPTS,
    min_backoff_seconds=settings.WEBHOOK_MIN_BACKOFF_SECONDS,
    max_backoff_seconds=settings.WEBHOOK_MAX_BACKOFF_SECONDS,
    throws=(DocumentError,),
)
def deliver_batch_webhook(batch_id: str) -> Any:
    """Tell the batch's `callback_url` that none of its tasks is live any more."""
    return delivery.deliver_batch(batch_id=batch_id, job=current_job(), policy=conf.webhook_policy())


@dramatiq.actor(queue_name="webhooks", max_attempts=3, throws=(DocumentError,))
def deliver_test_webhook(tenant: str, url: str) -> Any:
    """Send a test event to `url`, or to the tenant's endpoint. The result says how that went."""
    return delivery.deliver_test(tenant=tenant, url=url, job=current_job(), policy=conf.webhook_policy())


@dramatiq.actor(queue_name="maintenance", every_seconds=3600)
def cleanup() -> Any:
    """Remove what has outlived its retention. The dispatcher sends it once an hour."""
    job = current_job()
    report = retention.clean(
        conf.retention_policy(),
        results=conf.result_store(),
        documents=conf.document_store(),
        stopped=job.cancel.is_set,
    )
    return report.as_dict()


@dramatiq.actor(queue_name="maintenance", every_seconds=86_400, throws=(DocumentError,))
def sweep_orphans() -> Any:
    """Remove stored objects that no task knows. The dispatcher sends it once a day."""
    cancel = current_job().cancel
    report = orphans.sweep(
        results=conf.result_store(), documents=conf.document_store(), stopped=cancel.is_set, rest=cancel.wait
    )
    return report.as_dict()


def extraction_options(given: dict[str, Any]) -> Options:
    """A submission's `options` as extraction takes them."""
    return Options(languages=tuple(given.get("languages") or ()), ocr=given.get("ocr") or "auto")


_workspace = Workspace(conf.work_directory())


def tools() -> pipeline.Tools:
    """What this process ingests with; what is not there yet is made at the first document."""
    return pipeline.Tools(
        store=conf.document_store(),
        results=conf.result_store(),
        sandbox=conf.sandbox(),
        workspace=_workspace,
        max_bytes=settings.MAX_DOCUMENT_BYTES,
    )


class ExtractionLife(Middleware):
    """Begins and ends the extraction children with their worker process, which takes jobs of `queues` (none: all)."""

    def __init__(self, queues: Collection[str]) -> None:
        self._queues = queues

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        """Start the first child, which says what the kernel grants; beside the boot, so that nobody waits for it."""
        if not self._queues or settings.QUEUE_NAME in self._queues:
            threading.Thread(target=conf.warm_sandbox, name="extraction-start", daemon=True).start()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """End them when the worker has drained: multiprocessing runs no atexit handlers."""
        conf.close_sandbox()
        _workspace.close()


dramatiq.get_broker().add_middleware(ExtractionLife(queue_settings().queues))
# No periodic actor: a job every second that mostly finds nothing to do would fill the ledger.
get_ledger_broker().add_chore("batches", every_seconds=1.0, run=Finisher().look)
