"""What processes measure: kept cheaply, written with the beat, never counted twice, never without bounds."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import dramatiq
import pytest
from django.utils import timezone

from queueadmin import lifecycle, measure_rows, metering, presence
from queueadmin.broker import LedgerRedisBroker
from queueadmin.context import current_job
from queueadmin.ids import new_token, uuid7
from queueadmin.jobs import Claim, ClaimedJob, Outcome
from queueadmin.measures import (
    BOUNDS,
    JOB_RUN,
    JOB_STAGE,
    JOB_WAIT,
    MAX_SERIES,
    OTHER,
    REPUBLISHED,
    Measures,
    Reading,
)
from queueadmin.models import Job, JobEvent, Measure, WorkerProcess
from tests.queueadmin.factories import WORKER, claimed, submitted
from tests.servers import wait_until

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


def worker(worker_id: int) -> int:
    me = presence.Identity(id=worker_id, name=f"w{worker_id}", host="h", pid=worker_id, pid_started="1")
    presence.register(me, queues=["q"], actors=["act"], threads=1)
    return worker_id


def measured(measures: Measures, name: str) -> dict[tuple[str, ...], Reading]:
    return {reading.labels: reading for reading in measures.unwritten() if reading.name == name}


def an_outcome(*, edge: str = "complete", waited_ms: int = 30, **detail: object) -> Outcome:
    job = ClaimedJob(
        id=uuid7(), token=new_token(), queue="q", actor="act", payload={}, attempt=1, run=1, failures=0, crashes=0,
        max_attempts=3, waited_ms=waited_ms,
    )  # fmt: skip
    made = {"complete": lifecycle.complete(job, detail=detail), "release": lifecycle.release(job, reason="r")}
    return made[edge]


def test_a_histogram_counts_each_observation_in_one_bucket() -> None:
    measures = Measures()
    for value in (0.0, BOUNDS[0], 0.02, 1e9):
        measures.observe("h", ("a",), value)
    measures.observe("h", ("a",), 0.001, 0.3)
    (reading,) = measures.unwritten()
    assert (reading.count, sum(reading.buckets)) == (6, 6)
    assert (reading.buckets[0], reading.buckets[-1]) == (3, 1)
    assert reading.total == pytest.approx(1e9 + 0.02 + BOUNDS[0] + 0.301)


def test_only_what_has_changed_is_written_again() -> None:
    measures = Measures()
    measures.add("c", ("a",))
    measures.add("c", ("b",))
    measures.mark_written(measures.unwritten())
    measures.add("c", ("b",), 2)
    assert [(reading.labels, reading.total) for reading in measures.unwritten()] == [(("b",), 3.0)]


def test_what_is_measured_while_rows_are_written_is_written_next_time() -> None:
    measures = Measures()
    measures.add("c")
    readings = measures.unwritten()
    measures.add("c")
    measures.mark_written(readings)
    assert [reading.total for reading in measures.unwritten()] == [2.0]


def test_labels_that_anybody_can_fill_do_not_fill_the_memory() -> None:
    measures = Measures()
    for number in range(MAX_SERIES + 50):
        measures.add("c", (str(number), "x"))
    found = measured(measures, "c")
    assert len(found) == MAX_SERIES + 1
    assert found[OTHER, OTHER].total == 50


def test_an_outcome_is_measured_by_its_wait_its_run_and_its_stages() -> None:
    measures = Measures()
    metering.OutcomeMeter(measures)([
        an_outcome(seconds=0.2, ms={"fetch": 20.0, "extract": 150.0}),
        an_outcome(edge="release"),
    ])  # fmt: skip
    assert measured(measures, JOB_WAIT)["q", "act"].count == 1
    assert measured(measures, JOB_WAIT)["q", "act"].total == pytest.approx(0.03)
    assert measured(measures, JOB_RUN)["q", "act"].total == pytest.approx(0.2)
    assert measured(measures, JOB_STAGE)["act", "extract"].total == pytest.approx(0.15)


def test_a_meter_that_fails_does_not_reach_the_writer(caplog: pytest.LogCaptureFixture) -> None:
    measures = Measures()
    metering.OutcomeMeter(measures)([an_outcome(seconds=1.0, ms={"fetch": "soon"}), an_outcome(ms={"fetch": 1.0})])
    assert "an outcome could not be measured" in caplog.text
    assert measured(measures, JOB_STAGE)["act", "fetch"].count == 1


def test_times_that_are_none_do_not_reach_the_writer(caplog: pytest.LogCaptureFixture) -> None:
    metering.OutcomeMeter(Measures())([an_outcome(seconds="soon")])
    assert "times could not be measured" in caplog.text


def test_rows_of_several_processes_add_up_and_stay_when_the_processes_go() -> None:
    # Given three processes that measured the same series, each written twice
    for number in (1, 2, 3):
        worker(number)
        measures = Measures()
        for value in (0.01, 0.2):
            measures.observe("h", ("a",), value)
            measure_rows.write(number, measures.unwritten())
    # When two of them end, long ago, and their rows are folded, twice
    ended = timezone.now() - timedelta(minutes=5)
    WorkerProcess.objects.filter(pk=1).update(stopped_at=ended)
    WorkerProcess.objects.filter(pk=2).update(buried_at=ended)
    before = measure_rows.read()
    assert measure_rows.fold() == 2
    assert measure_rows.fold() == 0
    # Then the sums are the same, in fewer rows
    assert measure_rows.read() == before
    assert before[0].count == 6
    assert before[0].total == pytest.approx(0.63)
    assert set(Measure.objects.values_list("source_id", flat=True)) == {0, 3}


def test_later_processes_are_folded_onto_earlier_ones() -> None:
    for number in (1, 2):
        measures = Measures()
        measures.add("c", amount=number)
        worker(number)
        measure_rows.write(number, measures.unwritten())
        WorkerProcess.objects.all().delete()
        measure_rows.fold()
    assert [reading.total for reading in measure_rows.read()] == [3.0]


def test_a_process_that_has_just_stopped_is_left_alone() -> None:
    measures = Measures()
    measures.add("c")
    measure_rows.write(worker(1), measures.unwritten())
    presence.mark_stopped(1)
    assert measure_rows.fold() == 0


def test_a_buried_process_writes_no_more() -> None:
    measures = Measures()
    measures.add("c")
    presence.bury(worker(1), silent_for=0)
    measure_rows.write(1, measures.unwritten())
    assert not Measure.objects.exists()


def test_a_claim_says_how_long_the_job_was_due() -> None:
    at = timezone.now() - timedelta(seconds=40)
    job_id = submitted()
    Job.objects.filter(pk=job_id).update(created_at=at)
    job = claimed(job_id)
    assert job.waited_ms == pytest.approx(40_000, abs=5_000)
    (found,) = lifecycle.recover_claims([Claim(id=job.id, token=job.token)])
    assert found.waited_ms == job.waited_ms


def test_a_real_worker_writes_what_it_measured(
    broker: LedgerRedisBroker, run_worker: Callable[..., dramatiq.Worker]
) -> None:
    # Given an actor that notes its stages, and a meter of its application
    seen: list[uuid.UUID] = []
    metering.register("staged", lambda outcome, measures: seen.append(outcome.job.id))

    def staged() -> None:
        current_job().note(ms={"look": 5.0})

    actor = dramatiq.actor(staged, actor_name="staged", queue_name="q", broker=broker)
    # When a worker runs it three times and stops
    running = run_worker()
    for _ in range(3):
        actor.send()
    wait_until(lambda: len(seen) == 3, what="three outcomes")
    running.stop(timeout=5000)
    # Then its rows say so
    found = {(reading.name, reading.labels): reading.count for reading in measure_rows.read()}
    assert found == {(JOB_WAIT, ("q", "staged")): 3, (JOB_RUN, ("q", "staged")): 3, (JOB_STAGE, ("staged", "look")): 3}


def test_how_long_an_attempt_ran_is_not_for_its_actor_to_say(
    broker: LedgerRedisBroker, run_worker: Callable[..., dramatiq.Worker]
) -> None:
    # Given an actor that notes what the ledger notes itself
    actor = dramatiq.actor(
        lambda: current_job().note(seconds="three", pages=3), actor_name="act", queue_name="q", broker=broker
    )
    # When a worker runs it
    run_worker()
    actor.send()
    wait_until(lambda: Job.objects.filter(state="completed").exists(), what="the job")
    # Then the event has the number, and the other note
    detail = JobEvent.objects.get(edge="complete").detail
    assert (type(detail["seconds"]), detail["pages"]) == (float, 3)


def test_what_the_sweep_had_to_publish_is_counted(
    broker: LedgerRedisBroker, run_worker: Callable[..., dramatiq.Worker]
) -> None:
    # Given a job whose id never reached the broker
    dramatiq.actor(lambda: None, actor_name="act", queue_name="q", broker=broker)
    job_id = submitted()
    # When a worker has found and run it
    running = run_worker()
    wait_until(lambda: Job.objects.filter(pk=job_id, state="completed").exists(), what="the job")
    running.stop(timeout=5000)
    # Then
    assert {reading.total for reading in measure_rows.read() if reading.name == REPUBLISHED} == {1.0}


def test_a_beat_says_how_far_the_writer_is_behind() -> None:
    presence.beat(worker(WORKER), busy=1, unwritten=2, writer_lag=1.5)
    assert WorkerProcess.objects.get(pk=WORKER).writer_lag == 1.5
