"""Reads for the API, the admin and the command line. Every read of a task names the tenant that asks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, OuterRef, Subquery

from documents import conf
from documents.counts import JobCounts
from documents.exceptions import DocumentError
from documents.models import Batch, IngestionTask
from queueadmin import selectors as ledger
from queueadmin.jobs import FollowUp
from queueadmin.models import Job, JobProgress
from queueadmin.states import LIVE, TERMINAL, State

INGEST_ACTOR = "ingest_document"
_MAX_EVENTS = 1000


class TaskNotFound(DocumentError):
    """There is no such task. Tasks are forgotten some time after they ended, and belong to one tenant."""

    code = "task_not_found"


class BatchNotFound(DocumentError):
    """There is no such batch. Batches are forgotten some time after they ended, and belong to one tenant."""

    code = "batch_not_found"


class ResultUnavailable(DocumentError):
    """The task has no result to give. `state` is where it stands."""

    def __init__(self, message: str, *, state: str) -> None:
        super().__init__(message)
        self.state = state


class NotFinished(ResultUnavailable):
    """The task is not finished yet."""

    code = "not_finished"
    retryable = True


class NoResult(ResultUnavailable):
    """The task ended without a result."""

    code = "no_result"


class ResultExpired(ResultUnavailable):
    """The result has been removed."""

    code = "result_expired"


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """A task, its job, and the latest report of the attempt that runs now, if there is one."""

    task: IngestionTask
    job: Job
    progress: JobProgress | None


@dataclass(frozen=True, kw_only=True)
class QueueStats:
    """Ingestion tasks of one tenant, or of all: `counts` by state now, totals since the ledger began."""

    counts: dict[str, int]
    total_completed: int
    total_failed: int
    oldest_pending_seconds: float | None
    queues: dict[str, dict[str, int]]


def find_task(task_id: UUID, *, tenant: str) -> TaskView:
    """Raises TaskNotFound, also for a task of another tenant."""
    task = IngestionTask.objects.filter(pk=task_id, tenant=tenant).select_related("job").first()
    if task is None:
        raise TaskNotFound()
    progress = ledger.progress([task_id]).get(task_id) if task.job.state == State.PROCESSING else None
    return _view(task, progress)


def views(ids: Sequence[UUID]) -> list[TaskView]:
    """Tasks in the order of their ids, with their progress, in two queries. Ids without a task are left out."""
    tasks = IngestionTask.objects.select_related("job").in_bulk(list(ids))
    running = [task.job.id for task in tasks.values() if task.job.state == State.PROCESSING]
    reports = ledger.progress(running) if running else {}
    return [_view(tasks[task_id], reports.get(task_id)) for task_id in ids if task_id in tasks]


def _view(task: IngestionTask, progress: JobProgress | None) -> TaskView:
    """A report of an earlier attempt tells nothing about this one."""
    current = progress if progress is not None and progress.attempt == task.job.attempt else None
    return TaskView(task=task, job=task.job, progress=current)


def _was_announced(view: TaskView) -> bool:
    """Whether the end of the task has gone, or goes, to a webhook: its own or its tenant's."""
    job = view.job
    return job.state in TERMINAL and bool(view.task.callback_url or FollowUp.of(job.payload))


@dataclass(frozen=True, kw_only=True)
class Followed:
    """A task as its status tells of it: where it stands, and the job that delivers its webhook, if there is one."""

    view: TaskView
    webhook: Job | None


def follow(task_id: UUID, *, tenant: str) -> Followed:
    """Raises TaskNotFound, also for a task of another tenant."""
    view = find_task(task_id, tenant=tenant)
    return Followed(view=view, webhook=webhook_job(view))


def followed(ids: Collection[UUID]) -> dict[UUID, Followed]:
    """What `follow` tells, for many tasks in at most three queries, whosever they are. Unknown ids are left out."""
    found = views(list(ids))
    webhooks = webhook_jobs(found)
    return {view.job.id: Followed(view=view, webhook=webhooks.get(view.job.id)) for view in found}


def webhook_jobs(views: Iterable[TaskView]) -> dict[UUID, Job]:
    """What `webhook_job` tells, for many tasks in one query."""
    ids = [view.job.id for view in views if _was_announced(view)]
    if not ids:
        return {}
    jobs = Job.objects.filter(parent_id__in=ids).defer("payload", "result").order_by("created_at", "pk")
    return {job.parent_id: job for job in jobs if job.parent_id is not None}


def version(job: Job) -> str:
    """Differs from one state of a job to the next, also when it is back in the same one."""
    return f"{job.state}/{job.run}/{job.attempt}"


def versions(ids: Collection[UUID]) -> dict[UUID, str]:
    """The version of each of these jobs; unknown ids are left out."""
    rows = Job.objects.filter(pk__in=ids).values_list("pk", "state", "run", "attempt")
    return {job_id: f"{state}/{run}/{attempt}" for job_id, state, run, attempt in rows}


def expires_at(job: Job) -> datetime | None:
    """When what the task carries is removed, or was due to be; None while it goes on, and for a dead letter."""
    policy = conf.retention_policy()
    hours = {State.COMPLETED: policy.hours, State.CANCELLED: policy.hours, State.FAILED: policy.failed()}
    kept = hours.get(State(job.state))
    return None if kept is None or job.finished_at is None else job.finished_at + timedelta(hours=kept)


def events(task_id: UUID, *, tenant: str) -> list[ledger.TimelineEntry]:
    """The task's history, oldest first, at most the last thousand events. Raises TaskNotFound."""
    find_task(task_id, tenant=tenant)
    return ledger.timeline(task_id)[-_MAX_EVENTS:]


def webhook_job(view: TaskView) -> Job | None:
    """The job that delivers the webhook about how the task last ended; None without one, or while the task goes on.

    One indexed read, and only for a task that has ended and names a callback URL.
    """
    if not _was_announced(view):
        return None
    return Job.objects.filter(parent_id=view.job.id).defer("payload", "result").order_by("-created_at", "-pk").first()


@dataclass(frozen=True, kw_only=True)
class BatchView:
    """A batch, how many of its tasks are in which state, and the job that delivers its webhook, if there is one."""

    batch: Batch
    counts: dict[str, int]
    webhook: Job | None

    @property
    def live(self) -> int:
        """Tasks that still have work to do."""
        return sum(self.counts[state] for state in LIVE)


def find_batch(batch_id: UUID, *, tenant: str) -> Batch:
    """Raises BatchNotFound, also for a batch of another tenant."""
    batch = Batch.objects.filter(pk=batch_id, tenant=tenant).first()
    if batch is None:
        raise BatchNotFound()
    return batch


def view_batch(batch_id: UUID, *, tenant: str) -> BatchView:
    """How a batch stands, counted now. Raises BatchNotFound."""
    batch = find_batch(batch_id, tenant=tenant)
    states = IngestionTask.objects.filter(batch_id=batch_id).values_list("job__state").annotate(n=Count("pk"))
    counts = dict.fromkeys((state.value for state in State), 0) | dict(states.order_by())
    webhook = None
    if batch.completed_at:
        webhook = Job.objects.filter(parent_id=batch_id).defer("payload", "result").order_by("-pk").first()
    return BatchView(batch=batch, counts=counts, webhook=webhook)


def open_batches(*, after: UUID, count: int) -> list[tuple[UUID, bool]]:
    """The next `count` batches that are not completed, each with whether a task of it still has work to do.

    Looks at the newest task first: those are the last to run. A subquery with a limit, so that each batch costs a
    lookup in an index and not a join with everything that waits.
    """
    live = IngestionTask.objects.filter(batch_id=OuterRef("pk"), job__state__in=LIVE).order_by("-pk").values("pk")
    batches = Batch.objects.filter(completed_at__isnull=True, pk__gt=after).order_by("pk")
    rows = batches.annotate(live=Subquery(live[:1])).values_list("pk", "live")[:count]
    return [(batch_id, task is not None) for batch_id, task in rows]


def result_key(task_id: UUID, *, tenant: str) -> str:
    """The key of a task's result in the result store.

    Raises TaskNotFound, NotFinished, NoResult (it failed or was cancelled), ResultExpired.
    """
    job = find_task(task_id, tenant=tenant).job
    if job.cleaned_at is not None:
        raise ResultExpired(
            "The result was removed when its time was over. Submit the document again.", state=job.state
        )
    if job.state not in (State.COMPLETED, State.FAILED, State.DEAD_LETTER, State.CANCELLED):
        raise NotFinished(f"The task is {job.state}; its result is here when it is completed.", state=job.state)
    key = job.result.get("key") if isinstance(job.result, dict) else None
    if job.state != State.COMPLETED or not isinstance(key, str):
        raise NoResult(f"The task is {job.state} and has no result; its status says why.", state=job.state)
    return key


_counts = JobCounts(INGEST_ACTOR)
"""This process's."""


def queue_stats(*, tenant: str | None) -> QueueStats:
    """The ingestion tasks of one tenant, or of all for None. Webhooks and upkeep do not count."""
    totals = ledger.totals(INGEST_ACTOR, tenant)
    depths = _counts.of(tenant)
    return QueueStats(
        # Added up here: a second count would read every completed task once more.
        counts={state.value: sum(counts[state] for counts in depths.values()) for state in State},
        total_completed=totals.completed,
        total_failed=totals.failed,
        oldest_pending_seconds=ledger.oldest_pending_seconds(actor=INGEST_ACTOR, partition_key=tenant),
        queues=depths,
    )
