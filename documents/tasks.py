"""The Dramatiq actors: interfaces of a few lines. What they do is in `pipeline`, `callbacks` and `retention`."""

from __future__ import annotations

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
    """What this process ingests with; the parts are made at the first document."""
    return pipeline.Tools(
        store=conf.document_store(),
        results=conf.result_store(),
        sandbox=conf.sandbox(),
        workspace=_workspace,
        max_bytes=settings.MAX_DOCUMENT_BYTES,
    )


class CloseTools(Middleware):
    """Ends the extraction children when the worker has drained: multiprocessing runs no atexit handlers."""

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        conf.close_sandbox()
        _workspace.close()


dramatiq.get_broker().add_middleware(CloseTools())
# No periodic actor: a job every second that mostly finds nothing to do would fill the ledger.
get_ledger_broker().add_chore("batches", every_seconds=1.0, run=Finisher().look)
