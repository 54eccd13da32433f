"""The writer: what it is handed is committed, once, whatever the database does meanwhile."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from queueadmin import lifecycle
from queueadmin.hand import Hand
from queueadmin.jobs import Claim, ClaimedJob, Outcome, Ready
from queueadmin.ledger import Claimer, Writer
from queueadmin.models import Job, JobEvent
from queueadmin.states import State
from tests.queueadmin.factories import OTHER_WORKER, WORKER, claimed, state_of, submitted
from tests.servers import wait_until

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


class Published:
    """Stands where the publisher stands, at the edge to Redis."""

    def __init__(self) -> None:
        self.jobs: list[Ready] = []

    def publish(self, jobs: Sequence[Ready]) -> bool:
        self.jobs += jobs
        return True


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def start_writer(published: Published) -> Iterator[Callable[..., Writer]]:
    started: list[Writer] = []

    def start(max_unwritten: int = 256, **options: Any) -> Writer:
        writer = Writer(worker_id=WORKER, publisher=published, max_unwritten=max_unwritten, **options)  # type: ignore[arg-type]  # the edge to Redis
        started.append(writer)
        writer.start()
        return writer

    yield start
    for writer in started:
        writer.flush(10)
        writer.stop()
        writer.join(5)


def some(count: int) -> list[ClaimedJob]:
    return [claimed(submitted()) for _ in range(count)]


def test_outcomes_are_committed_and_released_jobs_published(
    start_writer: Callable[..., Writer], published: Published
) -> None:
    done, back = some(2)
    writer = start_writer()
    writer.put(lifecycle.complete(done, result={"n": 1}))
    writer.put(lifecycle.release(back, reason="test"))
    assert writer.flush(5)
    assert (state_of(done.id), state_of(back.id)) == (State.COMPLETED, State.PENDING)
    wait = time.monotonic() + 2
    while not published.jobs and time.monotonic() < wait:
        time.sleep(0.01)
    assert [job.id for job in published.jobs] == [back.id]
    assert (writer.tokens(), writer.lag()) == (set(), 0.0)


def test_outcomes_that_come_soon_after_a_commit_share_the_next_one(start_writer: Callable[..., Writer]) -> None:
    # Given a writer that has just committed
    first, *others, urgent = some(5)
    batches: list[list[uuid.UUID]] = []
    writer = start_writer(
        on_written=lambda batch: batches.append([outcome.job.id for outcome in batch]),
        is_urgent=lambda outcome: outcome.job.id == urgent.id,
    )
    writer.put(lifecycle.complete(first))
    assert writer.flush(5)
    # When more come one after the other, and at last one that others wait for
    for job in others:
        writer.put(lifecycle.complete(job))
        time.sleep(0.005)
    writer.put(lifecycle.complete(urgent))
    assert writer.flush(5)
    # Then nobody waits long, and what came in between is not committed one by one
    assert [id for batch in batches for id in batch] == [job.id for job in (first, *others, urgent)]
    assert len(batches) <= 3


def test_one_bad_row_fails_alone_and_never_its_batch(start_writer: Callable[..., Writer]) -> None:
    # Given a batch with one outcome that the database refuses (an error code longer than its column)
    if connection.vendor == "sqlite":
        pytest.skip("SQLite does not enforce lengths: it refuses no such row")
    jobs = some(40)
    writer = start_writer()
    outcomes = [lifecycle.complete(job) for job in jobs]
    outcomes[17] = lifecycle.fail(jobs[17], code="x" * 100, message="too long")
    # When all are handed over while the writer is kept from starting with the first
    for outcome in outcomes:
        writer.put(outcome)
    assert writer.flush(10)
    # Then the one is recorded as unrecordable and the others as they were
    assert Job.objects.get(pk=jobs[17].id).error_code == "unrecordable"
    assert Job.objects.filter(state=State.COMPLETED).count() == 39


def test_outcomes_outlive_a_lock_held_for_a_while(start_writer: Callable[..., Writer]) -> None:
    # Given someone who holds the job's row
    (job,) = some(1)
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                Job.objects.select_for_update().filter(pk=job.id).first()
                held.set()
                let_go.wait(5)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(5)
    # When an outcome for it is handed over
    writer = start_writer()
    writer.put(lifecycle.complete(job))
    waited = writer.flush(0.5)
    let_go.set()
    holder.join()
    # Then it waits, and is committed afterwards
    assert not waited
    assert writer.flush(5)
    assert state_of(job.id) == State.COMPLETED


def test_a_locked_row_keeps_nobody_else_waiting(start_writer: Callable[..., Writer]) -> None:
    # Given a forgotten transaction that holds one job's row
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no row locks")
    locked, *others = some(6)
    writer = start_writer()
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=locked.id)
        # When the outcomes of it and of others are handed over
        for job in (locked, *others):
            writer.put(lifecycle.complete(job))
        # Then the others are committed
        wait_until(lambda: writer.tokens() == {locked.token}, seconds=5, what="the others to be committed")
        assert not writer.flush(0.6)
    # And the one as soon as its row is free
    assert writer.flush(5)
    assert state_of(locked.id) == State.COMPLETED
    assert JobEvent.objects.filter(edge="complete").count() == 6


def test_what_could_not_be_published_is_reported(published: Published) -> None:
    # Given a publisher whose broker is away
    class Away(Published):
        def publish(self, jobs: Sequence[Ready]) -> bool:
            return False

    doubts: list[int] = []
    writer = Writer(worker_id=WORKER, publisher=Away(), max_unwritten=9, on_doubt=lambda: doubts.append(1))  # type: ignore[arg-type]  # the edge to Redis
    (job,) = some(1)
    # When a job is given back
    writer.start()
    writer.put(lifecycle.release(job, reason="test"))
    assert writer.flush(5)
    writer.stop()
    writer.join(5)
    # Then somebody hears of it who can have it published
    assert doubts == [1]


def test_a_slow_database_slows_the_workers_down(start_writer: Callable[..., Writer]) -> None:
    # Given a writer that may hold two outcomes, and a database that does not let it write
    jobs = some(3)
    writer = start_writer(max_unwritten=2)
    blocked = threading.Event()

    def hand_over() -> None:
        for job in jobs:
            writer.put(lifecycle.complete(job))
        blocked.set()

    with transaction.atomic():
        list(Job.objects.select_for_update().filter(pk__in=[job.id for job in jobs]))
        thread = threading.Thread(target=hand_over)
        thread.start()
        # Then the third has to wait
        assert not blocked.wait(0.7)
    # Until the database lets go
    assert blocked.wait(5)
    thread.join()
    assert writer.flush(5)
    assert Job.objects.filter(state=State.COMPLETED).count() == 3


def test_a_claim_whose_reply_was_lost_is_cleared_up_without_a_second_attempt() -> None:
    # Given a claimer whose claim is committed, but which did not hear of it
    hand = Hand(threads=4)
    claimer = Claimer(hand, worker_id=WORKER)
    first, second = submitted(), submitted()

    class LostReply(Exception):
        pass

    def actors() -> Iterator[str]:
        yield "act"

    taken = claimer.claim([first], actors())
    claimer._unclear = [Claim(id=held.job.id, token=held.job.token) for held in taken.held] + [
        Claim(id=second, token=uuid.uuid4())
    ]
    # When it clears up
    again = claimer.clear_up(["act"])
    # Then both jobs are in hand, each claimed once
    assert {held.job.id for held in again.held} == {first, second}
    assert not claimer.has_unclear
    assert JobEvent.objects.filter(edge="claim").count() == 2


def test_an_outcome_that_is_no_json_fails_alone_and_the_writer_lives(start_writer: Callable[..., Writer]) -> None:
    odd, fine = some(2)
    writer = start_writer()
    writer.put(lifecycle.complete(odd, result={"bad": object()}))
    writer.put(lifecycle.complete(fine))
    assert writer.flush(10)
    assert writer.is_alive()
    assert Job.objects.get(pk=odd.id).error_code == "unrecordable"
    assert state_of(fine.id) == State.COMPLETED


@pytest.mark.parametrize(("queue", "announced"), [("f", 1), ("f" * 300, 0)])
def test_an_outcome_that_cannot_be_stored_is_announced_unless_that_is_what_cannot_be(
    queue: str, announced: int, start_writer: Callable[..., Writer]
) -> None:
    # Given a job that promises a follow-up, possibly in a queue whose name no column holds, and whose result is no JSON
    if announced == 0 and connection.vendor == "sqlite":
        pytest.skip("SQLite's columns hold any name")
    follow_up = {"actor": "after", "queue": queue, "priority": 0, "max_attempts": 1}
    job = claimed(submitted(payload={"args": [], "kwargs": {}, "options": {"follow_up": follow_up}}))
    # When it ends
    writer = start_writer()
    writer.put(lifecycle.complete(job, result={"bad": object()}))
    assert writer.flush(10)
    # Then it has failed, and whoever waits for its end hears of it if that is possible
    assert Job.objects.get(pk=job.id).error_code == "unrecordable"
    assert Job.objects.filter(parent_id=job.id).count() == announced


@contextmanager
def refusing_to_end() -> Iterator[None]:
    """A database that refuses every end of an attempt but the dispatcher's: nothing plainer helps."""
    postgresql = connection.vendor == "postgresql"
    make, drop = (POSTGRESQL_REFUSES, POSTGRESQL_ACCEPTS) if postgresql else (SQLITE_REFUSES, SQLITE_ACCEPTS)
    with connection.cursor() as cursor:
        for statement in make:
            cursor.execute(statement)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for statement in drop:
                cursor.execute(statement)


POSTGRESQL_REFUSES = (
    (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'check_violation'; END $$"
    ),
    (
        "CREATE TRIGGER refuses BEFORE UPDATE ON queueadmin_job FOR EACH ROW "
        "WHEN (NEW.state IN ('completed', 'failed') AND NEW.actor = 'odd') EXECUTE FUNCTION refuse()"
    ),
)
POSTGRESQL_ACCEPTS = ("DROP TRIGGER refuses ON queueadmin_job", "DROP FUNCTION refuse()")
SQLITE_REFUSES = (
    (
        "CREATE TRIGGER refuses BEFORE UPDATE ON queueadmin_job WHEN NEW.state IN ('completed', 'failed') "
        "AND NEW.actor = 'odd' BEGIN SELECT RAISE(ABORT, 'refused'); END"
    ),
)
SQLITE_ACCEPTS = ("DROP TRIGGER refuses",)


def test_a_job_of_which_no_outcome_can_be_stored_ends_and_keeps_nobody_waiting(
    start_writer: Callable[..., Writer], caplog: pytest.LogCaptureFixture
) -> None:
    # Given a job of which the database refuses every outcome, and another
    def give_up(outcome: Outcome, error: Exception) -> None:
        lifecycle.give_up(outcome.job, why=type(error).__name__, worker_id=WORKER, max_crashes=2)

    writer = start_writer(on_refused=give_up)
    job_id, (fine,) = submitted(actor="odd"), some(1)
    with refusing_to_end():
        # When both end, and the first is tried again
        writer.put(lifecycle.complete(claimed(job_id, actor="odd"), result={"n": 1}))
        writer.put(lifecycle.complete(fine))
        assert writer.flush(5)
        first = Job.objects.get(pk=job_id)
        lifecycle.promote(limit=9, order_key=1)
        writer.put(lifecycle.complete(claimed(job_id, actor="odd")))
        assert writer.flush(5)
    # Then the other is completed, and the first was tried as often as one that crashes, and is a dead letter
    assert state_of(fine.id) == State.COMPLETED
    assert (first.state, first.error_code, first.crashes) == ("retrying", "unrecordable", 1)
    last = Job.objects.get(pk=job_id)
    assert (last.state, last.error_code, last.crashes, last.token) == ("dead_letter", "poison", 2, None)
    assert last.error_message == "Its outcome could not be stored each time it ran, the last time: IntegrityError."
    assert writer.is_alive()
    assert "an outcome is refused by the database" in caplog.text


def test_an_outcome_whose_row_is_locked_for_too_long_at_the_end_is_named_and_its_job_runs_again(
    start_writer: Callable[..., Writer], caplog: pytest.LogCaptureFixture
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no row locks")
    # Given two jobs whose rows somebody has locked, one for longer than the writer may take
    freed, kept = some(2)
    writer = start_writer()
    let_go, holds = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                Job.objects.select_for_update().get(pk=freed.id)
                holds.set()
                let_go.wait(5)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    holds.wait(5)
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=kept.id)
        for job in (freed, kept):
            writer.put(lifecycle.complete(job))
        assert not writer.flush(0.2)
        # When the writer ends
        let_go.set()
        assert not writer.end(2.0)
    holder.join()
    # Then what became free is written, the other is named, and left to be rescued
    assert not writer.is_alive()
    assert state_of(freed.id) == State.COMPLETED
    (line,) = [line for line in caplog.records if line.msg.startswith("outcomes could not be stored")]
    assert line.__dict__["job_ids"] == [str(kept.id)]
    assert lifecycle.rescue([WORKER], worker_id=OTHER_WORKER, max_crashes=3) == 1
    assert state_of(kept.id) == State.RETRYING
