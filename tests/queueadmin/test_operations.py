"""Operations: each acts once, says why it refused, and leaves its audit row."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from uuid import UUID

import dramatiq
import pytest
from django.contrib.auth import get_user_model

from queueadmin import operations
from queueadmin.broker import LedgerRedisBroker
from queueadmin.conf import QueueSettings
from queueadmin.exceptions import BrokerUnavailable
from queueadmin.ids import uuid7
from queueadmin.models import Job, JobEvent, OperationLog, QueueControl
from queueadmin.states import State
from tests.queueadmin.factories import claimed, job_in, state_of, submitted
from tests.servers import free_port

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

WHO = {"by": "Ada", "source": "admin"}


@pytest.fixture(autouse=True)
def current_broker(broker: LedgerRedisBroker) -> Iterator[LedgerRedisBroker]:
    """Operations use Dramatiq's current broker: here the test's own."""
    before = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    yield broker
    dramatiq.set_broker(before)


@pytest.fixture
def without_redis(settings_of_queue: QueueSettings) -> Iterator[None]:
    before = dramatiq.get_broker()
    nowhere = replace(settings_of_queue, redis_url=f"redis://127.0.0.1:{free_port()}/0")
    away = LedgerRedisBroker(settings=nowhere)
    dramatiq.set_broker(away)
    yield
    dramatiq.set_broker(before)
    away.close()


def log_of(result: operations.OperationResult | operations.QueueResult) -> OperationLog:
    return OperationLog.objects.get(pk=result.log_id)


# -- retry ---------------------------------------------------------------------------------------


def test_retry_queues_ended_jobs_again_and_says_why_it_refused_the_rest(broker: LedgerRedisBroker) -> None:
    # Given a job in every state, and an id that nobody knows
    jobs = {state: job_in(state)[0] for state in State if state != State.PROCESSING}
    unknown = uuid7()
    # When
    result = operations.retry([*jobs.values(), unknown], **WHO, reason="the store is back")
    # Then
    again = [jobs[state] for state in State if state in (State.FAILED, State.DEAD_LETTER, State.CANCELLED)]
    assert set(result.done) == set(again)
    assert {state_of(job_id) for job_id in again} == {State.PENDING}
    assert result.refused == {
        jobs[State.PENDING]: "pending", jobs[State.SCHEDULED]: "scheduled", jobs[State.RETRYING]: "retrying",
        jobs[State.COMPLETED]: "completed", unknown: "not_found",
    }  # fmt: skip
    assert {job_id for job_id, _ in broker.ready_sets.members("q", "normal", start=0, count=99)} >= set(again)
    log = log_of(result)
    assert (log.operation, log.by, log.source, log.reason) == ("retry", "Ada", "admin", "the store is back")
    assert (log.requested, log.done, log.outcome) == (8, 3, "partly")
    assert log.detail["refused"]["not_found"] == 1


def test_waiting_jobs_become_due_only_when_that_was_asked_for() -> None:
    # Given
    retrying, _ = job_in(State.RETRYING)
    scheduled, _ = job_in(State.SCHEDULED)
    # When / Then
    assert operations.retry([retrying, scheduled], **WHO).done == ()
    assert operations.retry([retrying, scheduled], **WHO, now=True).done == (retrying, scheduled)
    assert state_of(retrying) == state_of(scheduled) == State.PENDING


def test_two_jobs_of_one_unique_key_cannot_both_be_retried_and_the_batch_goes_on() -> None:
    # Given two ended jobs that used the same key one after the other, and an innocent one
    first, _ = job_in(State.FAILED, unique_key="k")
    second, _ = job_in(State.FAILED, unique_key="k")
    innocent, _ = job_in(State.DEAD_LETTER)
    # When both are retried in one statement, whose guard cannot see the other
    result = operations.retry([first, second, innocent], **WHO)
    # Then
    assert result.done == (first, innocent)
    assert result.refused == {second: "unique_key_held"}


def test_an_emptied_job_is_not_run_again() -> None:
    # Given
    job_id, _ = job_in(State.FAILED)
    Job.objects.filter(pk=job_id).update(cleaned_at="2026-01-01T00:00:00Z")
    # When / Then
    assert operations.retry([job_id], **WHO).refused == {job_id: "cleaned_up"}


def test_more_jobs_than_one_batch_holds() -> None:
    # Given
    jobs = [submitted() for _ in range(3)] + [job_in(State.FAILED)[0] for _ in range(2)]
    many = [*jobs, *(uuid7() for _ in range(1200))]
    # When
    result = operations.cancel(many, **WHO)
    # Then
    assert result.done == tuple(jobs[:3])
    assert len(result.refused) == 1202
    assert log_of(result).requested == 1205


# -- cancel and discard ----------------------------------------------------------------------------


def test_cancel_stops_waiting_jobs_at_once_and_asks_the_workers_of_running_ones(broker: LedgerRedisBroker) -> None:
    # Given
    waiting = [job_in(state)[0] for state in (State.PENDING, State.SCHEDULED, State.RETRYING)]
    running, _ = job_in(State.PROCESSING)
    ended, _ = job_in(State.COMPLETED)
    # When
    result = operations.cancel([*waiting, running, ended], **WHO)
    # Then
    assert result.done == (*waiting, running)
    assert result.refused == {ended: "completed"}
    assert {state_of(job_id) for job_id in waiting} == {State.CANCELLED}
    assert Job.objects.get(pk=running).cancel_requested_at is not None
    assert operations.cancel([running], **WHO).refused == {running: "cancel_requested"}


def test_a_cancelled_job_leaves_the_ready_set(broker: LedgerRedisBroker) -> None:
    # Given a published job
    job_id, _ = job_in(State.FAILED)
    operations.retry([job_id], **WHO)
    assert broker.ready_sets.depth("q")["normal"] == 1
    # When
    operations.cancel([job_id], **WHO)
    # Then
    assert broker.ready_sets.depth("q")["normal"] == 0


def test_cancelling_starts_the_follow_up(broker: LedgerRedisBroker) -> None:
    # Given
    spec = {"actor": "tell", "queue": "webhooks", "priority": 0, "max_attempts": 3}
    job_id = submitted(payload={"args": [], "kwargs": {}, "options": {"follow_up": spec}})
    # When
    operations.cancel([job_id], **WHO)
    # Then
    follow_up = Job.objects.get(parent_id=job_id)
    assert follow_up.payload["args"] == [str(job_id), "cancelled", 1]
    assert broker.ready_sets.members("webhooks", "normal", start=0, count=9)[0][0] == follow_up.id


def test_discard_gives_up_dead_letters_only() -> None:
    # Given
    dead, _ = job_in(State.DEAD_LETTER)
    failed, _ = job_in(State.FAILED)
    # When
    result = operations.discard([dead, failed], **WHO)
    # Then
    assert (result.done, result.refused) == ((dead,), {failed: "failed"})
    assert JobEvent.objects.filter(job_id=dead).latest("id").detail == {"by": "Ada", "operation": str(result.log_id)}


# -- queues --------------------------------------------------------------------------------------


def test_purge_cancels_what_waits_in_one_queue_and_nothing_else(broker: LedgerRedisBroker) -> None:
    # Given
    here = [submitted() for _ in range(7)]
    elsewhere = submitted(queue="other")
    running, _ = job_in(State.PROCESSING)
    later, _ = job_in(State.SCHEDULED)
    # When
    result = operations.purge("q", **WHO, reason="a bad batch")
    # Then
    assert (result.requested, result.changed) == (7, 7)
    assert {state_of(job_id) for job_id in here} == {State.CANCELLED}
    assert state_of(elsewhere) == State.PENDING
    assert state_of(running) == State.PROCESSING
    assert state_of(later) == State.SCHEDULED
    assert log_of(result).target == "q"


def test_a_paused_queue_is_not_claimed_from_until_it_is_resumed(broker: LedgerRedisBroker) -> None:
    # Given
    job_id = submitted()
    # When
    assert operations.pause("q", **WHO, reason="maintenance").changed == 1
    # Then
    control = QueueControl.objects.get(pk="q")
    assert (control.paused_by, control.reason) == ("Ada", "maintenance")
    with pytest.raises(ValueError, match="not enough values"):
        claimed(job_id)
    # When
    assert operations.resume("q", **WHO).changed == 1
    # Then its job is published at once, and can be claimed
    assert broker.ready_sets.members("q", "normal", start=0, count=9)[0][0] == job_id
    assert claimed(job_id).id == job_id


def test_pausing_twice_keeps_the_first_reason_and_says_so() -> None:
    submitted()
    operations.pause("q", **WHO, reason="first")
    again = operations.pause("q", by="Bob", source="cli", reason="second")
    assert again.changed == 0
    assert log_of(again).outcome == "refused"
    assert QueueControl.objects.get(pk="q").reason == "first"


@pytest.mark.parametrize("operation", [operations.pause, operations.resume, operations.purge])
def test_a_misspelt_queue_is_an_error_that_names_the_real_ones(
    operation: Callable[..., operations.QueueResult],
) -> None:
    submitted()
    with pytest.raises(operations.UnknownQueue, match=r"no queue 'ingst'.*\bq\b"):
        operation("ingst", **WHO)
    assert not OperationLog.objects.exists()


def test_repair_publishes_what_the_broker_lost(broker: LedgerRedisBroker) -> None:
    # Given a job that is old enough not to be under way
    submitted(order_key=1)
    # When
    swept = operations.repair(**WHO)
    # Then
    assert (swept.pending, swept.republished) == (1, 1)
    assert broker.ready_sets.depth("q")["normal"] == 1


# -- whatever happens ------------------------------------------------------------------------------


def test_operations_work_from_the_ledger_while_redis_is_down(without_redis: None) -> None:
    # Given
    waiting, (failed, _) = submitted(), job_in(State.FAILED)
    # When / Then
    assert operations.cancel([waiting], **WHO).done == (waiting,)
    assert operations.retry([failed], **WHO).done == (failed,)
    assert operations.pause("q", **WHO).changed == 1
    assert operations.resume("q", **WHO).changed == 1
    assert operations.purge("q", **WHO).changed == 1


def test_an_operation_that_dies_leaves_a_row_that_says_so(without_redis: None) -> None:
    with pytest.raises(BrokerUnavailable):
        operations.repair(**WHO)
    log = OperationLog.objects.get()
    assert (log.outcome, log.detail) == ("failed", {"error": "BrokerUnavailable"})


def test_hostile_names_and_reasons_are_stored_harmlessly() -> None:
    job_id = submitted()
    user = get_user_model().objects.create_user("eve")
    result = operations.cancel([job_id], by="e\x00ve" * 200, source="admin", user=user, reason="\ud800\x00<script>")
    log = log_of(result)
    assert log.user == user
    assert len(log.by) == 200
    assert "\x00" not in log.by + log.reason
    assert state_of(job_id) == State.CANCELLED


def test_a_job_named_twice_counts_once() -> None:
    job_id: UUID = submitted()
    assert operations.cancel([job_id, job_id], **WHO).done == (job_id,)
