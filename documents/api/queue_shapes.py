"""The shapes of what is asked and answered about queues: serializers describe them, functions write them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from documents.api.fields import Cursor, Id, Moment, PlainText, QueryInteger, StrictInteger
from documents.api.serializers import TaskError
from queueadmin.models import Job
from queueadmin.operations import OperationResult
from queueadmin.selectors import QueueSummary, Worker

MAX_IDS = 500
MAX_PAGE = 200
MAX_REASON = 500
_MAX_DEPTH = 2**31 - 1


@extend_schema_serializer(component_name="QueueOperation")
class OperationRequest(serializers.Serializer[Any]):
    """Why."""

    reason = PlainText(max_length=MAX_REASON, required=False, help_text="For the audit.")


@extend_schema_serializer(component_name="QueuePause")
class PauseRequest(OperationRequest):
    """Why, and for how long."""

    resume_at = Moment(required=False, allow_null=True, help_text="When it resumes by itself; in the future.")


@extend_schema_serializer(component_name="QueuePurge")
class PurgeRequest(OperationRequest):
    """What the caller believes to purge."""

    depth = StrictInteger(
        min_value=0,
        max_value=_MAX_DEPTH,
        help_text="The queue's `pending` as it was read: when it holds much more or less by now, nothing is purged.",
    )


@extend_schema_serializer(component_name="DeadLetterChoice")
class DeadLetterRequest(OperationRequest):
    """Which dead letters."""

    ids = serializers.ListField(child=Id(), min_length=1, max_length=MAX_IDS)


class DeadLetterQuery(serializers.Serializer[Any]):
    """Which dead letters to list. What is left out does not narrow."""

    queue = PlainText(max_length=64, required=False)
    actor = PlainText(max_length=200, required=False)
    error_code = PlainText(max_length=64, required=False)
    limit = QueryInteger(min_value=1, max_value=MAX_PAGE, required=False, help_text="Dead letters in a page (50).")
    cursor = Cursor(required=False, help_text="From `next`.")


class QueueState(serializers.Serializer[Any]):
    """A queue: what waits and runs in it, as far as the key reaches, and what operators set."""

    name = serializers.CharField()
    pending = serializers.IntegerField()
    scheduled = serializers.IntegerField()
    retrying = serializers.IntegerField()
    processing = serializers.IntegerField()
    failed = serializers.IntegerField()
    dead_letter = serializers.IntegerField()
    oldest_pending_seconds = serializers.FloatField(allow_null=True, help_text="How long the first in line waits.")
    is_paused = serializers.BooleanField()
    paused_at = serializers.DateTimeField(allow_null=True)
    resume_at = serializers.DateTimeField(allow_null=True, help_text="When it resumes by itself.")
    reason = serializers.CharField(allow_blank=True, help_text="Why it is paused; for keys for all tenants.")
    workers = serializers.IntegerField(help_text="Live worker processes that take jobs from it.")
    concurrency_limit = serializers.IntegerField(allow_null=True, help_text="Most of its jobs that run at once.")


class QueueStates(serializers.Serializer[Any]):
    """The queues, by name."""

    queues = QueueState(many=True)


class PurgedQueue(serializers.Serializer[Any]):
    """What a purge did."""

    queue = serializers.CharField()
    pending = serializers.IntegerField(help_text="Jobs that were pending when it began.")
    cancelled = serializers.IntegerField(help_text="Those of them that are cancelled; the others had begun meanwhile.")
    operation_id = serializers.UUIDField(help_text="Its row in the audit.")


class DeadLetter(serializers.Serializer[Any]):
    """A job that has used up its attempts, or killed its worker too often."""

    job_id = serializers.UUIDField(help_text="Of an ingestion: the task's id.")
    queue = serializers.CharField()
    actor = serializers.CharField(help_text="What the job does.")
    tenant = serializers.CharField(allow_blank=True, help_text="Whose job it is; empty: nobody's in particular.")
    attempt = serializers.IntegerField(help_text="Attempts begun so far, over all runs.")
    created_at = serializers.DateTimeField()
    dead_since = serializers.DateTimeField()
    fingerprint = serializers.CharField(allow_blank=True, help_text="The same for failures of the same kind.")
    error = TaskError()


class DeadLetterPage(serializers.Serializer[Any]):
    """Some dead letters, the newest first."""

    dead_letters = DeadLetter(many=True)
    next = serializers.CharField(allow_null=True, help_text="Path of the next page; null when there is none.")


class DeadLetterOutcome(serializers.Serializer[Any]):
    """What became of each."""

    done = serializers.ListField(child=serializers.UUIDField())
    refused = serializers.DictField(
        child=serializers.CharField(),
        help_text="Id -> why not: not_found, the state that it is in, unique_key_held or cleaned_up.",
    )
    operation_id = serializers.UUIDField(allow_null=True, help_text="The row in the audit; null: nothing was done.")


class WorkerState(serializers.Serializer[Any]):
    """A worker process."""

    worker_id = serializers.IntegerField()
    name = serializers.CharField()
    host = serializers.CharField()
    pid = serializers.IntegerField()
    state = serializers.ChoiceField(choices=["alive", "silent", "buried"], help_text="buried: its jobs were rescued.")
    queues = serializers.ListField(child=serializers.CharField())
    threads = serializers.IntegerField()
    busy = serializers.IntegerField(help_text="Threads that run a job.")
    started_at = serializers.DateTimeField()
    beat_at = serializers.DateTimeField(help_text="Its last sign of life.")
    silent_seconds = serializers.FloatField()
    peak_memory_bytes = serializers.IntegerField(allow_null=True, help_text="With its children, as far as seen.")


class WorkerStates(serializers.Serializer[Any]):
    """The workers, silent ones first."""

    workers = WorkerState(many=True)


def queue(found: QueueSummary, *, reasons: bool) -> dict[str, Any]:
    """Without who paused it: operators are the service's own affair."""
    return {
        "name": found.name,
        **{name: found.counts[name] for name in _COUNTS},
        "oldest_pending_seconds": found.oldest_pending_seconds,
        "is_paused": found.is_paused,
        "paused_at": found.paused_at,
        "resume_at": found.resume_at,
        "reason": found.reason if reasons else "",
        "workers": found.workers,
        "concurrency_limit": found.concurrency_limit,
    }


_COUNTS = ("pending", "scheduled", "retrying", "processing", "failed", "dead_letter")


def dead_letter(job: Job) -> dict[str, Any]:
    return {
        "job_id": str(job.pk),
        "queue": job.queue,
        "actor": job.actor,
        "tenant": job.partition_key,
        "attempt": job.attempt,
        "created_at": job.created_at,
        "dead_since": job.finished_at,
        "fingerprint": job.fingerprint,
        "error": {"code": job.error_code, "message": job.error_message, "retryable": True},
    }


def outcome(result: OperationResult, strangers: dict[Any, str]) -> dict[str, Any]:
    """`strangers` are refused without having been asked for: another tenant's, unknown, or no dead letters."""
    refused = {**strangers, **result.refused}
    return {
        "done": [str(job_id) for job_id in result.done],
        "refused": {str(job_id): reason for job_id, reason in refused.items()},
        "operation_id": result.log_id,
    }


def worker(found: Worker) -> dict[str, Any]:
    return {
        "worker_id": found.id,
        "name": found.name,
        "host": found.host,
        "pid": found.pid,
        "state": found.state,
        "queues": list(found.queues),
        "threads": found.threads,
        "busy": found.busy,
        "started_at": found.started_at,
        "beat_at": found.beat_at,
        "silent_seconds": round(found.silent_for, 3),
        "peak_memory_bytes": found.peak_memory,
    }
