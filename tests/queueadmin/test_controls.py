"""What operators control: changed retries, timed pauses, drains, guarded purges, periodic jobs."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TypedDict

import dramatiq
import pytest
from django.utils import timezone

from queueadmin import lifecycle, lookup, operations, periodic
from queueadmin.broker import LedgerRedisBroker
from queueadmin.jobs import Changes
from queueadmin.models import Job, JobEvent, Lease, OperationLog, PeriodicControl, QueueControl
from queueadmin.states import State
from tests.queueadmin.factories import claimed, job_in, state_of, submitted

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


class _Who(TypedDict):
    by: str
    source: str


WHO: _Who = {"by": "Ada", "source": "cli"}


@pytest.fixture(autouse=True)
def current_broker(broker: LedgerRedisBroker) -> Iterator[None]:
    before = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    yield
    dramatiq.set_broker(before)


# -- changed retries -----------------------------------------------------------------------------


def test_a_job_runs_again_with_other_options(broker: LedgerRedisBroker) -> None:
    # Given
    payload = {"args": [1], "kwargs": {"ocr": "off"}, "options": {"labels": {"a": "b"}}}
    job_id, _ = job_in(State.DEAD_LETTER, payload=payload, priority=0)
    # When
    changes = Changes(priority=7, max_attempts=9, kwargs={"ocr": "force"})
    result = operations.retry_changed(job_id, changes, **WHO, reason="scans")
    # Then
    assert result.done == (job_id,)
    job = Job.objects.get(pk=job_id)
    assert (job.state, job.priority, job.max_attempts, job.run, job.failures) == ("pending", 7, 9, 2, 0)
    assert job.payload == payload | {"kwargs": {"ocr": "force"}}
    assert broker.ready_sets.depth("q")["high"] == 1
    changed = {"priority": 7, "max_attempts": 9, "arguments": "changed"}
    assert OperationLog.objects.get().detail["changes"] == changed
    event = JobEvent.objects.filter(job_id=job_id).latest("id")
    assert (event.edge, event.detail) == ("retry", {"by": "Ada", "operation": str(result.log_id), **changed})


def test_what_is_not_changed_stays_and_a_later_run_is_scheduled(broker: LedgerRedisBroker) -> None:
    job_id, _ = job_in(State.FAILED, priority=4, payload={"args": [], "kwargs": {"x": 1}, "options": {}})
    operations.retry_changed(job_id, Changes(delay=3600.0), **WHO)
    job = Job.objects.get(pk=job_id)
    assert (job.state, job.priority, job.max_attempts, job.payload["kwargs"]) == ("scheduled", 4, 3, {"x": 1})
    assert job.run_at is not None
    assert 3500 < (job.run_at - timezone.now()).total_seconds() < 3700
    assert sum(broker.ready_sets.depth("q").values()) == 0


@pytest.mark.parametrize("state", [State.PENDING, State.PROCESSING, State.COMPLETED, State.RETRYING])
def test_a_job_that_has_not_failed_takes_no_changed_retry(state: State) -> None:
    job_id, _ = job_in(state)
    assert operations.retry_changed(job_id, Changes(priority=1), **WHO).refused == {job_id: state}
    assert state_of(job_id) == state


def test_whoever_looked_at_an_earlier_run_changes_nothing() -> None:
    # Given a page that showed run 1, while somebody else retried the job and it failed again
    job_id, _ = job_in(State.CANCELLED)
    operations.retry([job_id], **WHO)
    operations.cancel([job_id], **WHO)
    # When / Then
    stale: dict[str, Any] = {"run": 1, "payload": {"args": []}, "by": "Ada", "order_key": 1}
    assert lifecycle.retry_changed(job_id, Changes(), **stale) is None
    assert lifecycle.retry_changed(job_id, Changes(), **stale | {"run": 2}) is not None


def test_a_unique_key_that_another_job_holds_is_respected() -> None:
    first, _ = job_in(State.CANCELLED, unique_key="k")
    submitted(unique_key="k")
    assert operations.retry_changed(first, Changes(priority=1), **WHO).refused == {first: "unique_key_held"}


@pytest.mark.parametrize(
    "changes",
    [Changes(priority=101), Changes(priority=-101), Changes(max_attempts=0), Changes(max_attempts=101),
     Changes(delay=-1.0), Changes(delay=1e12)],
)  # fmt: skip
def test_options_out_of_range_are_refused_before_anything_happens(changes: Changes) -> None:
    job_id, _ = job_in(State.FAILED)
    with pytest.raises(operations.InvalidChange):
        operations.retry_changed(job_id, changes, **WHO)
    assert not OperationLog.objects.exists()


def test_the_event_of_each_job_names_the_row_of_the_operations_log() -> None:
    waiting, (dead, _), (retrying, _), running = (
        submitted(), job_in(State.DEAD_LETTER), job_in(State.RETRYING), claimed(submitted()).id,
    )  # fmt: skip
    done = [
        (retrying, operations.retry([retrying], **WHO, now=True)), (dead, operations.discard([dead], **WHO)),
        (dead, operations.retry([dead], **WHO)), (waiting, operations.change_priority([waiting], priority=2, **WHO)),
        (waiting, operations.cancel([waiting], **WHO)), (running, operations.cancel([running], **WHO)),
    ]  # fmt: skip
    told = {(event.job_id, (event.detail or {}).get("operation")) for event in JobEvent.objects.all()}
    assert {(job_id, str(result.log_id)) for job_id, result in done} <= told


# -- pause, drain, resume --------------------------------------------------------------------------


def test_a_pause_ends_by_itself_and_the_audit_says_who_ended_it() -> None:
    # Given
    submitted()
    operations.pause("q", resume_at=timezone.now() + timedelta(hours=1), **WHO, reason="upgrade")
    assert operations.resume_due() == []
    # When its time has come
    QueueControl.objects.update(resume_at=timezone.now() - timedelta(seconds=1))
    # Then
    assert operations.resume_due() == ["q"]
    assert not lookup.paused_queues()
    assert operations.resume_due() == []
    log = OperationLog.objects.order_by("at").last()
    assert log is not None
    assert (log.operation, log.by, log.source, log.done) == ("resume", "dispatcher", "system", 1)
    assert "The pause by Ada" in log.reason
    assert QueueControl.objects.get().resume_at is None


def test_a_pause_of_its_own_length_stays_until_somebody_resumes_it() -> None:
    submitted()
    operations.pause("q", **WHO)
    assert operations.resume_due() == []
    assert lookup.paused_queues() == {"q"}


def test_the_end_of_a_pause_can_be_set_later_and_keeps_who_paused() -> None:
    submitted()
    operations.pause("q", **WHO, reason="upgrade")
    later = timezone.now() + timedelta(minutes=5)
    assert operations.pause("q", by="Bob", source="cli", resume_at=later).changed == 1
    control = QueueControl.objects.get()
    assert (control.paused_by, control.reason, control.resume_at) == ("Ada", "upgrade", later)


@pytest.mark.parametrize("offset", [timedelta(seconds=-1), timedelta(days=400)])
def test_a_pause_ends_in_the_future_within_a_year(offset: timedelta) -> None:
    submitted()
    with pytest.raises(operations.InvalidTime):
        operations.pause("q", resume_at=timezone.now() + offset, **WHO)
    assert not QueueControl.objects.exists()


def test_drain_pauses_and_waits_for_what_runs() -> None:
    # Given
    job = claimed(submitted())
    waiting = submitted()
    assert operations.drain("q", **WHO, reason="new release").changed == 1

    # When what runs ends while somebody waits
    def ends(seconds: float) -> None:
        lifecycle.finish([lifecycle.complete(job)], worker_id=1)

    assert operations.wait_until_drained("q", seconds=5, sleep=ends) == 0
    # Then nothing new was taken
    assert state_of(waiting) == State.PENDING
    assert lookup.paused_queues() == {"q"}
    assert OperationLog.objects.get().operation == "drain"


def test_drain_gives_up_waiting_and_says_how_many_still_run() -> None:
    claimed(submitted())
    operations.drain("q", **WHO)
    assert operations.wait_until_drained("q", seconds=0) == 1


# -- purge -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("expected", "refused"), [(30, False), (25, False), (12, True), (60, True)])
def test_a_purge_refuses_when_the_queue_is_not_what_was_shown(expected: int, refused: bool) -> None:
    jobs = [submitted() for _ in range(30)]
    if refused:
        with pytest.raises(operations.DepthChanged, match=f"held {expected} pending jobs .* holds 30 now"):
            operations.purge("q", expected=expected, **WHO)
        assert not OperationLog.objects.exists()
    else:
        assert operations.purge("q", expected=expected, **WHO).changed == 30
    assert {state_of(job_id) for job_id in jobs} == {State.PENDING if refused else State.CANCELLED}


# -- periodic jobs ---------------------------------------------------------------------------------


@pytest.fixture
def nightly(broker: LedgerRedisBroker) -> str:
    @dramatiq.actor(broker=broker, queue_name="q", every_seconds=3600)
    def nightly() -> None: ...

    return nightly.actor_name


def test_a_periodic_job_is_run_once_at_a_time(nightly: str) -> None:
    assert operations.run_periodic(nightly, **WHO).changed
    assert not operations.run_periodic(nightly, **WHO).changed
    assert Job.objects.get().unique_key == f"periodic:{nightly}"
    assert [log.outcome for log in OperationLog.objects.order_by("at")] == ["done", "refused"]


def test_a_paused_periodic_job_is_shown_and_comes_back(nightly: str) -> None:
    assert operations.pause_periodic(nightly, **WHO, reason="noisy").changed
    assert not operations.pause_periodic(nightly, by="Bob", source="cli").changed
    assert lookup.paused_periodic() == {nightly}
    (row,) = periodic.rows()
    assert (row.paused_by, row.reason, row.is_live) == ("Ada", "noisy", False)
    assert operations.resume_periodic(nightly, **WHO).changed
    assert not operations.resume_periodic(nightly, **WHO).changed
    assert not PeriodicControl.objects.exists()
    assert not Lease.objects.exists()


@pytest.mark.parametrize("act", [operations.run_periodic, operations.pause_periodic, operations.resume_periodic])
def test_an_unknown_periodic_job_is_refused_with_the_known_ones(nightly: str, act: Any) -> None:
    with pytest.raises(operations.UnknownPeriodic, match=r"no periodic job 'nope'.*nightly"):
        act("nope", **WHO)
    assert not OperationLog.objects.exists()
