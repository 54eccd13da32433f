"""Operations on all jobs that a search finds: planned as a dry run, then carried out by a durable job.

What is acted on is frozen by the dry run that a person says yes to: the search, the moment that its relative times
count from, and the newest job that existed then. The job walks the primary key in pages, keeps its place in its row,
and goes on from there after a crash; each page is done by the same `operations` as a click on one job. A page that a
crash repeats changes nothing, because the jobs of it that took the operation are no longer in a state that takes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Unpack
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from dramatiq import get_broker

from queueadmin import audit, operations
from queueadmin.context import JobContext
from queueadmin.exceptions import JobCancelled, QueueAdminError
from queueadmin.ids import uuid7
from queueadmin.models import BulkOperation, Job, OperationLog
from queueadmin.sanitize import clean_text
from queueadmin.search.query import everything
from queueadmin.states import TERMINAL

ACTOR = "run_bulk_operation"
"""In `tasks`, which imports this module: found by its name."""
OPERATIONS = ("retry", "retry_now", "cancel", "discard", "purge", "priority")
COUNTED = 100_000
"""Jobs that a dry run counts; more are "more than that"."""
REASON_FROM = 100
"""From this many jobs on, a reason is required."""


class ReasonRequired(QueueAdminError):
    """An operation on more than 100 jobs needs a reason."""

    code = "reason_required"
    retryable = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an operation would do now. `is_more`: there are more jobs than were counted."""

    operation: str
    search: str
    partition_key: str
    as_of: datetime
    newest_id: UUID | None
    matched: int
    eligible: int
    refused: dict[str, int]
    """State (or `cleaned_up`) -> jobs that the operation leaves alone."""
    is_more: bool
    ids: tuple[UUID, ...] | None = None
    """The jobs of a selection, in the place of a search."""


def plan(
    operation: str, search: str, *, now: datetime, partition_key: str = "", up_to: UUID | None = None
) -> Plan:  # fmt: skip
    """A dry run: count by state what the search finds, up to `COUNTED` jobs. Changes nothing. Raises SearchError.

    `now` and `up_to` of an earlier one (its `as_of` and `newest_id`) look at the same jobs once more.
    """
    newest = Job.objects.order_by("-pk").values_list("pk", flat=True).first()
    newest = min(newest, up_to) if newest is not None and up_to is not None else newest
    found = _frozen(search, newest=newest, now=now, partition_key=partition_key)
    takes = operations.takes(operation)
    eligible, refused = 0, Counter[str]()
    for state, is_whole, n in _counted(found):
        if state in takes and (is_whole or state not in TERMINAL):
            eligible += n
        else:
            refused[state if is_whole or state not in TERMINAL else operations.CLEANED_UP] += n
    matched = eligible + refused.total()
    return Plan(
        operation=operation, search=search, partition_key=partition_key, as_of=now, newest_id=newest,
        matched=min(matched, COUNTED), eligible=min(eligible, COUNTED),
        refused=dict(refused.most_common()), is_more=matched > COUNTED,
    )  # fmt: skip


def plan_selected(operation: str, ids: Sequence[UUID], *, now: datetime) -> Plan:
    """A dry run on jobs that were selected one by one. Changes nothing.

    Without a newest job: to a worker of a release that knows only searches, it is about no jobs, not about all.
    """
    found = operations.eligible(operation, ids)
    return Plan(
        operation=operation, search="", partition_key="", as_of=now, newest_id=None,
        matched=len(ids), eligible=len(found.eligible), refused=dict(Counter(found.refused.values()).most_common()),
        is_more=False, ids=tuple(ids),
    )  # fmt: skip


def _counted(found: QuerySet[Job]) -> list[tuple[str, bool, int]]:
    """(state, whether retention has left it whole, jobs) over the first jobs that are found, in whatever order.

    Django groups no slice: as `pk IN (slice)` the same took five times as long.
    """
    whole = found.annotate(is_whole=Q(cleaned_at__isnull=True)).order_by()
    slice_sql, parameters = whole.values("state", "is_whole")[: COUNTED + 1].query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT state, is_whole, count(*) FROM ({slice_sql}) found GROUP BY state, is_whole", parameters
        )
        return [(state, bool(is_whole), int(n)) for state, is_whole, n in cursor.fetchall()]


def start(planned: Plan, *, options: dict[str, Any] | None = None, **who: Unpack[audit.Who]) -> BulkOperation:
    """Freeze what was planned and hand it to a worker. Raises ReasonRequired."""
    reason = who.get("reason", "")
    if (planned.is_more or planned.eligible > REASON_FROM) and not reason.strip():
        raise ReasonRequired
    with transaction.atomic():
        log = audit.begin(f"bulk {planned.operation}", _target(planned), planned.eligible, **who)
        bulk = BulkOperation.objects.create(
            id=uuid7(), operation=planned.operation, search=planned.search,
            partition_key=planned.partition_key, as_of=planned.as_of, newest_id=planned.newest_id,
            ids=None if planned.ids is None else [job_id.hex for job_id in planned.ids],
            options=options or {}, by=clean_text(who["by"], 200), source=who["source"],
            reason=clean_text(reason), log_id=log.pk, created_at=timezone.now(), expected=planned.eligible,
        )  # fmt: skip
        bulk.job_id = UUID(get_broker().get_actor(ACTOR).send(str(bulk.pk)).message_id)
        bulk.save(update_fields=["job_id"])
    return bulk


def _target(planned: Plan) -> str:
    return planned.search or ("all jobs" if planned.ids is None else f"{len(planned.ids)} jobs")


def abort(bulk_id: UUID, **who: Unpack[audit.Who]) -> bool:
    """Ask a bulk operation to stop after its current page; what is done stays done."""
    with audit.audited("abort bulk", str(bulk_id), 1, **who) as log:
        asked = BulkOperation.objects.filter(pk=bulk_id, state__in=["waiting", "running"], abort_requested_at=None)
        log.done = asked.update(abort_requested_at=timezone.now())
    return bool(log.done)


def run(bulk_id: UUID, job: JobContext) -> dict[str, Any]:
    """Carry a bulk operation out, page by page, from where it stands. Returns what it did."""
    bulk = BulkOperation.objects.get(pk=bulk_id)
    if bulk.finished_at is not None:
        return _summary(bulk)
    bulk.state, bulk.started_at = "running", bulk.started_at or timezone.now()
    bulk.save(update_fields=["state", "started_at"])
    matching = _matching(bulk)
    while not _is_to_stop(bulk, job) and (ids := _page(matching, bulk.cursor)):
        _do_page(bulk, ids)
        job.report(bulk.operation, bulk.seen, max(bulk.expected, bulk.seen))
    return _finish(bulk, "aborted" if bulk.abort_requested_at else "done")


def _matching(bulk: BulkOperation) -> QuerySet[Job]:
    if bulk.ids is not None:
        return Job.objects.filter(pk__in=bulk.ids)
    return _frozen(bulk.search, newest=bulk.newest_id, now=bulk.as_of, partition_key=bulk.partition_key)


def _is_to_stop(bulk: BulkOperation, job: JobContext) -> bool:
    """Asked by a person; or the worker shuts down, and the job goes on elsewhere."""
    if job.cancel.reason == "shutdown":
        raise JobCancelled
    bulk.refresh_from_db(fields=["abort_requested_at"])
    if job.cancel.is_set() and bulk.abort_requested_at is None:
        bulk.abort_requested_at = timezone.now()
        bulk.save(update_fields=["abort_requested_at"])
    return bulk.abort_requested_at is not None


def _page(matching: QuerySet[Job], cursor: UUID | None) -> list[UUID]:
    rows = matching if cursor is None else matching.filter(pk__gt=cursor)
    return list(rows.order_by("pk").values_list("pk", flat=True)[: operations.BATCH])


def _do_page(bulk: BulkOperation, ids: list[UUID]) -> None:
    done = operations.carry_out(bulk.operation, ids, operations.Author(by=bulk.by, log_id=bulk.log_id), **bulk.options)
    left = operations.why_not([job_id for job_id in ids if job_id not in done], bulk.operation.removesuffix("_now"))
    bulk.refused = dict(Counter(bulk.refused) + Counter(left.values()))
    bulk.cursor, bulk.seen, bulk.done = ids[-1], bulk.seen + len(ids), bulk.done + len(done)
    bulk.save(update_fields=["refused", "cursor", "seen", "done"])


def _finish(bulk: BulkOperation, state: str) -> dict[str, Any]:
    with transaction.atomic():
        bulk.state, bulk.finished_at = state, timezone.now()
        bulk.save(update_fields=["state", "finished_at"])
        log = OperationLog.objects.get(pk=bulk.log_id)
        log.requested, log.done = max(log.requested, bulk.done), bulk.done
        log.detail = {"bulk_operation": str(bulk.pk), "seen": bulk.seen, "refused": bulk.refused}
        audit.finish(log, outcome=state if state != "done" else "")
    return _summary(bulk)


def _summary(bulk: BulkOperation) -> dict[str, Any]:
    return {"state": bulk.state, "seen": bulk.seen, "done": bulk.done, "refused": bulk.refused}


def _frozen(search: str, *, newest: UUID | None, now: datetime, partition_key: str) -> QuerySet[Job]:
    """What a search finds among the jobs that existed when `newest` was the newest."""
    jobs = Job.objects.filter(pk__lte=newest) if newest else Job.objects.none()
    if partition_key:
        jobs = jobs.filter(partition_key=partition_key)
    return everything(search, now=now, within=jobs)
