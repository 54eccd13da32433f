"""Bulk operations do to all that a search found what a click does to one, once, whatever dies meanwhile."""

from uuid import UUID

import pytest
from django.utils import timezone

from queueadmin import audit, bulk, operations
from queueadmin.broker import get_ledger_broker
from queueadmin.context import CancelToken, JobContext
from queueadmin.exceptions import JobCancelled
from queueadmin.models import BulkOperation, Job, JobEvent, OperationLog
from queueadmin.search.language import SearchError
from queueadmin.states import State
from tests.queueadmin.factories import job_in, submitted

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]


def context(cancel: CancelToken | None = None) -> JobContext:
    return JobContext(
        id=UUID(int=1), queue="control", actor="run_bulk_operation", attempt=1, run=1, failures=0, max_attempts=20,
        cancel=cancel or CancelToken(),
    )  # fmt: skip


def started(operation: str, search: str, *, reason: str = "", partition_key: str = "", **options: int) -> BulkOperation:
    planned = bulk.plan(operation, search, now=timezone.now(), partition_key=partition_key)
    return bulk.start(planned, by="ada", source="admin", reason=reason, options=options)


def states(ids: list[UUID]) -> set[str]:
    return set(Job.objects.filter(pk__in=ids).values_list("state", flat=True))


def test_a_dry_run_counts_what_is_eligible_and_why_the_others_are_not_and_changes_nothing() -> None:
    dead = [job_in(State.DEAD_LETTER)[0] for _ in range(3)]
    job_in(State.COMPLETED)
    submitted()
    planned = bulk.plan("retry", "", now=timezone.now())
    assert (planned.matched, planned.eligible, planned.is_more) == (5, 3, False)
    assert planned.refused == {State.COMPLETED: 1, State.PENDING: 1}
    assert states(dead) == {State.DEAD_LETTER}


def test_a_purge_cancels_what_is_pending_and_nothing_else() -> None:
    pending, others = submitted(), [job_in(state)[0] for state in (State.SCHEDULED, State.RETRYING, State.PROCESSING)]
    before = [Job.objects.get(pk=job_id).state for job_id in others]
    planned = bulk.plan("purge", "", now=timezone.now())
    assert (planned.eligible, planned.matched) == (1, 4)
    operation = started("purge", "queue:q")
    assert bulk.run(operation.pk, context())["done"] == 1
    assert states([pending]) == {State.CANCELLED}
    assert [Job.objects.get(pk=job_id).state for job_id in others] == before


def test_it_is_carried_out_by_a_durable_job_and_leaves_one_row_in_the_audit() -> None:
    # Given dead letters, and a bulk operation that a person started
    dead = [job_in(State.DEAD_LETTER)[0] for _ in range(7)]
    started_now = started("retry", "state:dead_letter")
    assert states(dead) == {State.DEAD_LETTER}
    assert Job.objects.get(pk=started_now.job_id).actor == "run_bulk_operation"

    # When its job runs
    summary = bulk.run(started_now.pk, context())

    # Then all of them wait again, published, and the audit says who did it
    assert summary == {"state": "done", "seen": 7, "done": 7, "refused": {}}
    assert states(dead) == {State.PENDING}
    assert {job_id for job_id, _ in get_ledger_broker().ready_sets.members("q", "normal", start=0, count=99)} == {*dead}
    log = OperationLog.objects.get()
    assert (log.operation, log.by, log.done, log.outcome) == ("bulk retry", "ada", 7, "done")
    assert audit.verify().problems == ()


def test_what_is_submitted_after_the_yes_is_left_alone() -> None:
    early = submitted()
    operation = started("cancel", "state:pending queue:q")
    late = submitted()
    bulk.run(operation.pk, context())
    assert states([early]) == {State.CANCELLED}
    assert states([late]) == {State.PENDING}


def test_a_crash_between_pages_repeats_nothing() -> None:
    # Given more jobs than a page, and a worker that dies after the first page
    jobs = [submitted() for _ in range(operations.BATCH + 20)]
    operation = started("cancel", "", reason="a wrong import")

    class Died(BaseException):
        pass

    class DiesAfterOnePage(JobContext):
        def report(self, *args: object, **kwargs: object) -> None:
            raise Died

    dying = DiesAfterOnePage(
        id=UUID(int=1), queue="control", actor="a", attempt=1, run=1, failures=0, max_attempts=1
    )  # fmt: skip
    with pytest.raises(Died):
        bulk.run(operation.pk, dying)
    assert BulkOperation.objects.get().done == operations.BATCH

    # When another worker goes on, and a third is handed the job by mistake
    bulk.run(operation.pk, context())
    summary = bulk.run(operation.pk, context())

    # Then each job was cancelled once
    assert (summary["done"], summary["state"]) == (len(jobs), "done")
    assert JobEvent.objects.filter(edge="cancel", job_id__in=jobs).count() == len(jobs)


def test_a_person_can_stop_it_and_what_is_done_stays_done() -> None:
    jobs = [submitted() for _ in range(3)]
    operation = started("cancel", "")
    assert bulk.abort(operation.pk, by="bob", source="admin")
    assert bulk.run(operation.pk, context())["state"] == "aborted"
    assert states(jobs) == {State.PENDING}
    assert not bulk.abort(operation.pk, by="bob", source="admin")
    logs = OperationLog.objects.order_by("at").values_list("operation", "by", "outcome")
    assert list(logs) == [
        ("bulk cancel", "ada", "aborted"), ("abort bulk", "bob", "done"), ("abort bulk", "bob", "refused"),
    ]  # fmt: skip


def test_a_worker_that_shuts_down_gives_it_back() -> None:
    submitted()
    operation = started("cancel", "")
    stopping = CancelToken()
    stopping.set("shutdown")
    with pytest.raises(JobCancelled):
        bulk.run(operation.pk, context(stopping))
    assert BulkOperation.objects.get().finished_at is None


def test_a_tenant_bounds_it_and_refusals_are_counted() -> None:
    mine, other = submitted(partition_key="acme"), submitted(partition_key="globex")
    done, _ = job_in(State.COMPLETED, partition_key="acme")
    operation = started("cancel", "", partition_key="acme")
    summary = bulk.run(operation.pk, context())
    assert (states([mine]), states([other]), states([done])) == ({"cancelled"}, {"pending"}, {"completed"})
    assert summary["refused"] == {"completed": 1}


def test_priority_moves_waiting_jobs_to_the_other_band() -> None:
    job_id = submitted()
    get_ledger_broker().publish([])
    bulk.run(started("priority", "", priority=9).pk, context())
    sets = get_ledger_broker().ready_sets
    assert Job.objects.get(pk=job_id).priority == 9
    assert [found for found, _ in sets.members("q", "high", start=0, count=9)] == [job_id]
    assert sets.members("q", "normal", start=0, count=9) == []


def test_more_than_a_hundred_jobs_need_a_reason() -> None:
    for _ in range(101):
        submitted()
    with pytest.raises(bulk.ReasonRequired):
        started("cancel", "")
    assert started("cancel", "", reason="a wrong import").expected == 101


def test_a_search_that_cannot_be_read_starts_nothing() -> None:
    with pytest.raises(SearchError):
        started("cancel", "colour:red")
    assert not BulkOperation.objects.exists()
