"""Tasks in any state, with the request row beside the job, made by walking the ledger's edges."""

from __future__ import annotations

import uuid
from typing import Any

from documents.models import IngestionTask
from queueadmin import lifecycle
from queueadmin.ids import new_token, uuid7
from queueadmin.jobs import Claim, ClaimedJob, FollowUp, NewJob

WORKER = 4242
INGEST = "ingest_document"
WEBHOOK = FollowUp(actor="deliver_webhook", queue="webhooks", priority=0, max_attempts=3)
SUMMARY = {
    "characters": 12, "pages": 1, "content_type": "text/plain", "engine": "text", "sha256": "ab" * 32, "key": "k/1",
    "warnings": [],
}  # fmt: skip


def task(*, callback_url: str = "", follow_up: bool = False, **fields: Any) -> uuid.UUID:
    """A pending task."""
    options: dict[str, Any] = {}
    if follow_up:
        options["follow_up"] = {
            "actor": WEBHOOK.actor, "queue": WEBHOOK.queue, "priority": 0, "max_attempts": WEBHOOK.max_attempts,
        }  # fmt: skip
    job = NewJob(
        id=uuid7(), queue="q", actor=INGEST, max_attempts=3,
        payload={"args": [], "kwargs": {"r2_key": "a.txt"}, "options": options},
    )  # fmt: skip
    lifecycle.submit([job])
    given: dict[str, Any] = {
        "tenant": "default", "document_id": "doc-1", "user_id": "user-1", "file_name": "a.txt", "r2_key": "a.txt",
        "content_type": "text/plain", "metadata": {"case": "7"}, "callback_url": callback_url,
    }  # fmt: skip
    IngestionTask.objects.create(job_id=job.id, **(given | fields))
    return job.id


def claimed(job_id: uuid.UUID, actor: str = INGEST) -> ClaimedJob:
    (job,) = lifecycle.claim([Claim(id=job_id, token=new_token())], actors=[actor], worker_id=WORKER)
    return job


def end(job_id: uuid.UUID, state: str, *, actor: str = INGEST) -> None:
    """Take the claim and the edge that lead from pending to `state`."""
    job = claimed(job_id, actor)
    outcomes = {
        "completed": lambda: lifecycle.complete(job, result=SUMMARY),
        "failed": lambda: lifecycle.fail(
            job, code="damaged", message="It is damaged.", detail={"code": "damaged", "message": "It is damaged."}
        ),
        "dead_letter": lambda: lifecycle.bury(job, code="storage_unavailable", message="The store is away."),
        "cancelled": lambda: lifecycle.stop(job),
    }
    lifecycle.finish([outcomes[state]()], worker_id=WORKER)
