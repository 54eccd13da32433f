"""Every state x every edge x every kind of token: a job moves exactly as the table says, once."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from queueadmin import counters, edges, lifecycle
from queueadmin.ids import new_token, uuid7
from queueadmin.jobs import Claim, ClaimedJob, Outcome, order_key_now
from queueadmin.models import FailureMinute, Job, JobEvent, JobMinute, QueueControl
from queueadmin.states import TERMINAL, State
from tests.queueadmin.factories import OTHER_WORKER, WORKER, claimed, job_in, new_job, state_of, submitted

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

EDGES = {edge.name: edge for edge in edges.EDGES}
LATER = datetime.now(UTC) + timedelta(hours=2)


def finish_with(make: Callable[[ClaimedJob], Outcome]) -> Callable[[uuid.UUID, ClaimedJob | None], None]:
    def act(job_id: uuid.UUID, claim: ClaimedJob | None) -> None:
        held = claim or phantom(job_id)
        lifecycle.finish([make(held)], worker_id=WORKER)

    return act


def phantom(job_id: uuid.UUID) -> ClaimedJob:
    """A claim that the ledger knows nothing of."""
    return ClaimedJob(
        id=job_id, token=new_token(), queue="q", actor="act", payload={}, attempt=1, run=1, failures=0, crashes=0,
        max_attempts=3,
    )  # fmt: skip


ACTS: dict[str, Callable[[uuid.UUID, ClaimedJob | None], object]] = {
    "promote": lambda job_id, _: lifecycle.promote(limit=10, order_key=order_key_now(), now=LATER),
    "claim": lambda job_id, _: lifecycle.claim(
        [Claim(id=job_id, token=new_token())], actors=["act"], worker_id=OTHER_WORKER
    ),
    "complete": finish_with(lambda job: lifecycle.complete(job, result={"pages": 1})),
    "retry_later": finish_with(lambda job: lifecycle.retry_later(job, delay=5, code="c", message="m")),
    "fail": finish_with(lambda job: lifecycle.fail(job, code="c", message="m")),
    "bury": finish_with(lambda job: lifecycle.bury(job, code="c", message="m")),
    "release": finish_with(lambda job: lifecycle.release(job, reason="r")),
    "stop": finish_with(lifecycle.stop),
    "rescue": lambda job_id, _: lifecycle.rescue([WORKER], worker_id=OTHER_WORKER, max_crashes=3),
    "cancel": lambda job_id, _: lifecycle.cancel([job_id], by="me"),
    "retry": lambda job_id, _: lifecycle.retry([job_id], by="me", order_key=order_key_now()),
    "retry_now": lambda job_id, _: lifecycle.retry_now([job_id], by="me", order_key=order_key_now()),
    "discard": lambda job_id, _: lifecycle.discard([job_id], by="me"),
}


def test_the_matrix_covers_every_edge() -> None:
    assert set(ACTS) == set(EDGES) - {"submit"}


@pytest.mark.parametrize("edge", sorted(ACTS))
@pytest.mark.parametrize("state", list(State))
def test_an_edge_leaves_only_its_own_states_and_takes_effect_once(state: State, edge: str) -> None:
    # Given a job in `state`, with the claim that brought it there
    job_id, claim = job_in(state)
    before = JobEvent.objects.filter(job_id=job_id).count()

    # When the edge is taken twice (a lost reply makes the caller repeat itself)
    ACTS[edge](job_id, claim)
    after = state_of(job_id)
    events = JobEvent.objects.filter(job_id=job_id).count() - before
    counted = totals()
    ACTS[edge](job_id, claim)

    # Then it moved if the table says so, left one event, and the repetition changed nothing
    if state in EDGES[edge].sources:
        assert after in EDGES[edge].targets
        assert events == 1
        assert JobEvent.objects.filter(job_id=job_id).latest("id").edge == edge
    else:
        assert after == state
        assert events == 0
    if edge != "rescue" or state != State.PROCESSING:
        assert state_of(job_id) == after
        assert JobEvent.objects.filter(job_id=job_id).count() == before + events
        assert totals() == counted


@pytest.mark.parametrize("edge", ["complete", "retry_later", "fail", "bury", "release", "stop"])
def test_a_stale_token_changes_nothing(edge: str) -> None:
    # Given a job that was rescued from one worker and claimed by another
    job_id, stale = job_in(State.PROCESSING)
    lifecycle.rescue([WORKER], worker_id=OTHER_WORKER, max_crashes=3)
    lifecycle.promote(limit=10, order_key=order_key_now(), now=LATER)
    fresh = claimed(job_id, worker_id=OTHER_WORKER)

    # When the first worker wakes up and reports
    ACTS[edge](job_id, stale)

    # Then the second one still holds the job
    job = Job.objects.get(pk=job_id)
    assert (job.state, job.token, job.worker_id) == (State.PROCESSING, fresh.token, OTHER_WORKER)


def test_a_job_is_submitted_once_however_often_it_is_sent() -> None:
    job = new_job()
    first, second = lifecycle.submit([job]), lifecycle.submit([job])
    assert (first.inserted, second.inserted) == ({job.id}, frozenset())
    assert JobEvent.objects.filter(job_id=job.id, edge="submit").count() == 1


def test_a_unique_key_is_held_while_the_job_lives_and_free_afterwards() -> None:
    # Given a live job with a key
    holder = submitted(unique_key="k")
    # When another one wants it, nothing is added
    assert not lifecycle.submit([new_job(unique_key="k")]).inserted
    # And when the first has ended, the key is free
    lifecycle.cancel([holder], by="me")
    assert lifecycle.submit([new_job(unique_key="k")]).inserted
    # And the first cannot come back while it is taken
    assert lifecycle.retry([holder], by="me", order_key=1) == []


def test_a_lost_claim_reply_is_recovered_by_its_token() -> None:
    # Given a claim whose reply was lost
    job_id = submitted()
    claim = Claim(id=job_id, token=new_token())
    lifecycle.claim([claim], actors=["act"], worker_id=WORKER)
    # When the worker asks again with the same token
    (job,) = lifecycle.recover_claims([claim])
    # Then it owns the job, at the same attempt
    assert (job.id, job.token, job.attempt) == (job_id, claim.token, 1)
    assert lifecycle.recover_claims([Claim(id=job_id, token=new_token())]) == []


def test_a_paused_queue_and_an_unknown_actor_are_not_claimed() -> None:
    paused, unknown = submitted(queue="p"), submitted(actor="elsewhere")
    QueueControl.objects.create(queue="p", paused_at=datetime.now(UTC))
    claims = [Claim(id=job, token=new_token()) for job in (paused, unknown)]
    assert lifecycle.claim(claims, actors=["act"], worker_id=WORKER) == []


def test_one_claim_batch_gives_a_job_to_one_token_only() -> None:
    job_ids = [submitted() for _ in range(20)]
    first = lifecycle.claim([Claim(id=i, token=new_token()) for i in job_ids[:15]], actors=["act"], worker_id=1)
    second = lifecycle.claim([Claim(id=i, token=new_token()) for i in job_ids[5:]], actors=["act"], worker_id=2)
    assert len(first) == 15
    assert {job.id for job in second} == set(job_ids[15:])


def test_a_failed_attempt_counts_and_a_released_one_does_not() -> None:
    job_id, job = job_in(State.PROCESSING)
    assert job is not None
    lifecycle.finish([lifecycle.release(job, reason="shutdown")], worker_id=WORKER)
    again = claimed(job_id)
    assert (again.attempt, again.failures) == (2, 0)
    lifecycle.finish([lifecycle.retry_later(again, delay=0, code="c", message="m")], worker_id=WORKER)
    assert Job.objects.get(pk=job_id).failures == 1


def test_a_retry_by_a_person_starts_afresh_and_never_resets_the_attempt() -> None:
    job_id, _ = job_in(State.DEAD_LETTER)
    (ready,) = lifecycle.retry([job_id], by="me", order_key=5)
    job = Job.objects.get(pk=job_id)
    assert ready.id == job_id
    assert (job.run, job.failures, job.crashes, job.attempt, job.error_code) == (2, 0, 0, 1, "")


def test_a_job_that_retention_emptied_cannot_run_again() -> None:
    job_id, _ = job_in(State.FAILED)
    Job.objects.filter(pk=job_id).update(cleaned_at=datetime.now(UTC))
    assert lifecycle.retry([job_id], by="me", order_key=5) == []


def test_a_job_that_takes_its_workers_down_becomes_a_dead_letter_at_the_third_crash() -> None:
    job_id = submitted()
    for crash in (1, 2, 3):
        claimed(job_id)
        lifecycle.rescue([WORKER], worker_id=OTHER_WORKER, max_crashes=3)
        job = Job.objects.get(pk=job_id)
        assert (job.crashes, job.failures) == (crash, 0)
        lifecycle.promote(limit=10, order_key=1, now=LATER)
    assert job.state == State.DEAD_LETTER
    assert job.error_code == "poison"


@pytest.mark.parametrize("edge", ["retry_later", "release", "rescue"])
def test_a_job_that_was_asked_to_stop_is_not_queued_again(edge: str) -> None:
    job_id, claim = job_in(State.PROCESSING)
    assert lifecycle.request_cancel([job_id], by="me") == [job_id]
    ACTS[edge](job_id, claim)
    job = Job.objects.get(pk=job_id)
    assert job.state == State.CANCELLED
    assert job.finished_at is not None


@pytest.mark.parametrize("ending", sorted(TERMINAL))
def test_the_follow_up_is_inserted_with_the_outcome_exactly_once(ending: State) -> None:
    # Given a job that wants to be followed up
    spec = {"actor": "after", "queue": "f", "priority": 0, "max_attempts": 2}
    payload = {"args": [], "kwargs": {}, "options": {"follow_up": spec}}
    # When it ends, by whichever edge
    job_id, job = job_in(ending, payload=payload)
    # Then its follow-up is there, knows what happened, and repeating the outcome adds no second one
    if job is not None:
        lifecycle.finish([lifecycle.complete(job)], worker_id=WORKER)
    follow_up = Job.objects.get(parent_id=job_id)
    assert (follow_up.actor, follow_up.queue, follow_up.state) == ("after", "f", State.PENDING)
    assert follow_up.payload["args"] == [str(job_id), ending.value, 1]


@pytest.mark.parametrize("end", ["cancel", "discard", "rescue"])
def test_people_and_the_dispatcher_announce_an_ending_too(end: str) -> None:
    spec = {"actor": "after", "queue": "f", "priority": 0, "max_attempts": 2}
    payload = {"args": [], "kwargs": {}, "options": {"follow_up": spec}}
    start = {"cancel": State.PENDING, "discard": State.DEAD_LETTER, "rescue": State.PROCESSING}[end]
    job_id, _ = job_in(start, payload=payload)
    before = Job.objects.filter(parent_id=job_id).count()
    if end == "rescue":
        lifecycle.rescue([WORKER], worker_id=OTHER_WORKER, max_crashes=1)
    else:
        ACTS[end](job_id, None)
    assert Job.objects.filter(parent_id=job_id).count() == before + 1


def test_only_the_due_are_promoted_oldest_first() -> None:
    soon, later = submitted(delay=10.0), submitted(delay=3600.0)
    now = datetime.now(UTC) + timedelta(seconds=60)
    assert [job.id for job in lifecycle.promote(limit=10, order_key=1, now=now)] == [soon]
    assert state_of(later) == State.SCHEDULED


def test_outcomes_are_counted_with_the_batch() -> None:
    # Given outcomes of every kind for two tenants
    for tenant in ("a", "b"):
        for state in (State.COMPLETED, State.COMPLETED, State.FAILED, State.DEAD_LETTER, State.RETRYING):
            job_in(state, partition_key=tenant)
    # Then the minutes know them, per tenant
    for tenant in ("a", "b"):
        rows = list(JobMinute.objects.filter(partition_key=tenant))
        assert sum(row.completed for row in rows) == 2
        assert sum(row.failed for row in rows) == 1
        assert sum(row.dead_letter for row in rows) == 1
        assert sum(row.retried for row in rows) == 1
        assert all(row.wait_ms >= 0 and row.run_ms >= 0 for row in rows)


def test_failures_are_counted_by_what_they_were_and_what_they_led_to() -> None:
    # Given two retries of one kind, a failure, a dead letter and a success
    jobs = [claimed(submitted(partition_key="acme")) for _ in range(5)]
    lifecycle.finish(
        [
            lifecycle.retry_later(jobs[0], delay=60, code="storage_unavailable", message="m", fingerprint="f1"),
            lifecycle.retry_later(jobs[1], delay=60, code="storage_unavailable", message="m", fingerprint="f1"),
            lifecycle.fail(jobs[2], code="encrypted", message="m", fingerprint="f2"),
            lifecycle.bury(jobs[3], code="storage_unavailable", message="m", fingerprint="f1"),
            lifecycle.complete(jobs[4]),
        ],
        worker_id=WORKER,
    )
    # Then each kind has one row with its count, and an example to look at
    rows = FailureMinute.objects.filter(partition_key="acme", source_id=WORKER)
    counted = {(row.state, row.error_code, row.fingerprint): row.count for row in rows}
    assert counted == {
        ("retrying", "storage_unavailable", "f1"): 2,
        ("failed", "encrypted", "f2"): 1,
        ("dead_letter", "storage_unavailable", "f1"): 1,
    }
    assert FailureMinute.objects.get(state="retrying").example_id in (jobs[0].id, jobs[1].id)


def test_a_rescue_is_a_failure_of_its_own_kind_and_ends_the_attempt() -> None:
    job_in(State.PROCESSING)
    lifecycle.rescue([WORKER], worker_id=OTHER_WORKER, max_crashes=3)
    row = FailureMinute.objects.get()
    assert (row.state, row.error_code, row.count) == ("retrying", "worker_lost", 1)
    assert JobMinute.objects.get().attempts == 1


def test_every_way_out_of_an_attempt_counts_one_attempt_and_what_never_ran_none() -> None:
    for state in State:
        job_in(state)  # five of the eight have ended an attempt
    waiting, _ = job_in(State.PENDING)
    lifecycle.cancel([waiting], by="me")
    _, job = job_in(State.PROCESSING)
    assert job is not None
    lifecycle.finish([lifecycle.release(job, reason="shutdown")], worker_id=WORKER)
    assert sum(JobMinute.objects.values_list("attempts", flat=True)) == 6


def test_a_batch_of_successes_writes_nothing_about_failures() -> None:
    with CaptureQueriesContext(connection) as queries:
        job_in(State.COMPLETED)
    assert not [query for query in queries.captured_queries if "failureminute" in query["sql"]]


def test_times_come_from_the_given_clock() -> None:
    at = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    job = new_job(delay=60.0)
    lifecycle.submit([job], now=at)
    stored = Job.objects.get(pk=job.id)
    assert (stored.created_at, stored.run_at) == (at, at + timedelta(seconds=60))
    assert JobEvent.objects.get(job_id=job.id).at == at


def test_ids_are_time_ordered_and_tokens_are_random() -> None:
    assert uuid7(1) < uuid7(2)
    assert uuid7().version == 7
    assert new_token() != new_token()


def totals() -> tuple[int, ...]:
    rows = list(JobMinute.objects.values_list(*counters.COUNTERS))
    return tuple(sum(column) for column in zip(*rows, strict=True)) if rows else ()


def test_a_claim_ends_once_even_within_one_batch() -> None:
    job_id, job = job_in(State.PROCESSING)
    assert job is not None
    lifecycle.finish([lifecycle.release(job, reason="shutdown"), lifecycle.complete(job)], worker_id=WORKER)
    assert state_of(job_id) == State.PENDING
    assert [event.edge for event in JobEvent.objects.filter(job_id=job_id).order_by("id")] == [
        "submit", "claim", "release",
    ]  # fmt: skip


def test_cancelling_a_waiting_job_counts_no_time() -> None:
    job_id, _ = job_in(State.RETRYING)
    lifecycle.cancel([job_id], by="me")
    assert [(row.wait_ms, row.run_ms) for row in JobMinute.objects.filter(source_id=0)] == [(0, 0)]


def test_a_job_that_crashed_a_worker_is_claimed_only_by_whoever_runs_it_alone() -> None:
    job_id, _ = job_in(State.PROCESSING)
    lifecycle.rescue([WORKER], worker_id=OTHER_WORKER, max_crashes=3)
    lifecycle.promote(limit=10, order_key=order_key_now(), now=LATER)
    wish = [Claim(id=job_id, token=new_token())]
    assert lifecycle.claim(wish, actors=["act"], worker_id=WORKER) == []
    assert len(lifecycle.claim(wish, actors=["act"], worker_id=WORKER, suspects=True)) == 1
