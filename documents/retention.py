"""Retention of tasks: what their rows carried goes first, then stored results and uploads, in time the rows themselves.

In that order, because from the moment a row is emptied nobody can queue its task again: the other way round a person
could, between the two, and the task would run without its document. Dying in between leaves objects of an emptied task,
which the sweep of orphans removes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from documents import idempotency
from documents.conf import RetentionPolicy
from documents.models import Batch, IngestionTask, WebhookAttempt
from documents.storage import DocumentStore, ResultStore
from documents.storage.keys import uploaded_for
from queueadmin import retention as ledger
from queueadmin.models import Job

logger = logging.getLogger(__name__)


_STATES = ("completed", "cancelled", "failed", "dead_letter")


@dataclass(kw_only=True)
class Report:
    """What a clean-up removed, or would remove. Counts rows, but `results`: tasks that had a stored result."""

    tasks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_STATES, 0))
    """Ingestion tasks that were emptied, by state."""

    other_jobs: int = 0
    """Emptied jobs that are no ingestion task: webhooks, clean-ups."""

    events: int = 0
    audit_rows: int = 0
    """Slim rows of tasks and other jobs that were deleted."""

    @property
    def results(self) -> int:
        return self.tasks["completed"]

    @property
    def is_empty(self) -> bool:
        """Whether nothing had outlived its retention."""
        return not (any(self.tasks.values()) or self.other_jobs or self.audit_rows)

    def as_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {
            "tasks": dict(self.tasks),
            "results": self.results,
            "other_jobs": self.other_jobs,
            "events": self.events,
            "audit_rows": self.audit_rows,
        }


def ages(policy: RetentionPolicy, *, include_dead_letters: bool) -> ledger.Ages:
    """When the policy empties what, by state. Failed tasks stay at least as long as completed ones."""
    return ledger.Ages(
        completed=policy.hours,
        cancelled=policy.hours,
        failed=policy.failed(),
        dead_letter=policy.hours if include_dead_letters else None,
    )


def clean(
    policy: RetentionPolicy,
    *,
    results: ResultStore,
    documents: DocumentStore,
    include_dead_letters: bool = False,
    dry_run: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int], None] = lambda jobs: None,
    now: datetime | None = None,
) -> Report:
    """Remove what has outlived the policy; with `dry_run` only count it. Repeating it is harmless.

    Ends early, between two batches, once `stopped()`. `on_progress` is told how many jobs were looked at so far.
    Raises StorageUnavailable (retryable) when objects cannot be removed; those of that batch are left to
    `orphans.sweep`.
    """
    report = Report()
    looked_at = 0
    if not dry_run:
        idempotency.forget(now=now)
        _tidy_batches(policy, now=now or timezone.now())
    for forgotten in ledger.forget(older_than_days=policy.audit_days, within=_forget, dry_run=dry_run, now=now):
        report.audit_rows += len(forgotten)
        if stopped():
            return report
    for emptied in ledger.clean(
        ages(policy, include_dead_letters=include_dead_letters),
        within=_slim_down,
        dry_run=dry_run,
        now=now,
    ):
        if not dry_run:
            _remove_objects(emptied.ids, results=results, documents=documents)
        _count(report, emptied)
        looked_at += len(emptied.ids)
        on_progress(looked_at)
        if stopped():
            break
    logger.info("expired tasks would be cleaned" if dry_run else "expired tasks were cleaned", extra=report.as_dict())
    return report


def _tidy_batches(policy: RetentionPolicy, *, now: datetime) -> None:
    """Batches lose what the client added when the last of their tasks do, and in time they go: they are few and small.

    Not before their webhook has had its days.
    """
    emptied = now - timedelta(hours=policy.failed())
    Batch.objects.filter(completed_at__lt=emptied).exclude(metadata={}, callback_url="", refusals=[]).update(
        metadata={}, callback_url="", refusals=[]
    )
    Batch.objects.filter(created_at__lt=now - timedelta(days=policy.audit_days), completed_at__isnull=False).delete()


def erase(task_id: UUID, *, results: ResultStore, documents: DocumentStore) -> bool:
    """Remove at once what retention would remove in time; false, and nothing is touched, when the task is live.

    That is asked under its row's lock: a task that somebody has queued again a moment ago needs its document. Objects
    that are left when this process dies are removed by asking again, or by the sweep of orphans.
    """
    if not ledger.empty(task_id, within=_slim_down) and not _is_slim(task_id):
        return False
    _remove_objects([task_id], results=results, documents=documents)
    return True


def _is_slim(task_id: UUID) -> bool:
    """Emptied rows stay so: nobody can queue their task again."""
    return Job.objects.filter(pk=task_id, cleaned_at__isnull=False).exists()


def _remove_objects(ids: Sequence[UUID], *, results: ResultStore, documents: DocumentStore) -> None:
    """Remove the results of all attempts, and the document if it was uploaded to us: any other is the client's.

    Jobs that are no ingestion task have neither.
    """
    for task_id, key in IngestionTask.objects.filter(pk__in=ids).values_list("pk", "r2_key"):
        results.delete(task_id)
        if uploaded_for(key) == task_id:
            documents.delete(key)


def _slim_down(ids: Sequence[UUID]) -> None:
    """Keep who asked for which document, and that a webhook was sent, to which host, with which status.

    What the client added for itself, the rest of the URL (a path or query may be a secret) and the answer go: nobody
    needs them for the year of an audit. By querysets, because the model refuses changes; this is a removal.
    """
    IngestionTask.objects.filter(pk__in=ids).update(metadata={}, callback_url="")
    attempts = WebhookAttempt.objects.filter(task_id__in=ids)
    attempts.exclude(response_excerpt="").update(response_excerpt="")
    for url in attempts.order_by().values_list("url", flat=True).distinct():
        attempts.filter(url=url).update(url=_origin(url))


def _origin(url: str) -> str:
    """`https://example.org:8443` of a URL."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0]}"


def _forget(ids: Sequence[UUID]) -> None:
    WebhookAttempt.objects.filter(task_id__in=ids).delete()
    IngestionTask.objects.filter(pk__in=ids).delete()


def _count(report: Report, emptied: ledger.Emptied) -> None:
    tasks = IngestionTask.objects.filter(pk__in=emptied.ids).count()
    report.tasks[emptied.state] += tasks
    report.other_jobs += len(emptied.ids) - tasks
    report.events += emptied.events
