"""Sending and running: transactional, durable, once."""

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dramatiq
import pytest
import redis
from django.db import connection, transaction
from dramatiq.middleware import Middleware, SkipMessage

from queueadmin import lifecycle
from queueadmin.broker import LedgerRedisBroker
from queueadmin.conf import QueueSettings
from queueadmin.context import current_job
from queueadmin.exceptions import JobCancelled, PermanentJobError, QueueFull
from queueadmin.jobs import Ready
from queueadmin.models import Job, JobEvent, JobProgress, WorkerProcess
from queueadmin.sanitize import Unrecordable
from queueadmin.states import State
from tests.queueadmin.factories import new_job
from tests.servers import wait_until

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

StartWorker = Callable[..., dramatiq.Worker]


def declare(broker: LedgerRedisBroker, fn: Callable[..., Any], **options: Any) -> dramatiq.Actor[Any, Any]:
    return dramatiq.actor(fn, broker=broker, **{"queue_name": "q", **options})


def ended(job_id: str, state: State = State.COMPLETED, seconds: float = 10.0) -> Job:
    wait_until(
        lambda: Job.objects.filter(pk=job_id, state=state).exists(), seconds=seconds, what=f"{job_id} to be {state}"
    )
    return Job.objects.get(pk=job_id)


def test_a_sent_job_runs_and_its_result_is_recorded(broker: LedgerRedisBroker, run_worker: StartWorker) -> None:
    add = declare(broker, lambda x, y: {"sum": x + y}, actor_name="add")
    message = add.send(2, y=3)
    run_worker()
    job = ended(message.message_id)
    assert job.result == {"sum": 5}
    assert [event.edge for event in JobEvent.objects.filter(job_id=job.id).order_by("id")] == [
        "submit", "claim", "complete",
    ]  # fmt: skip


def test_a_job_sent_in_a_transaction_is_gone_when_it_rolls_back(broker: LedgerRedisBroker) -> None:
    actor = declare(broker, lambda: None, actor_name="noop")
    with pytest.raises(RuntimeError), transaction.atomic():
        actor.send()
        raise RuntimeError
    assert Job.objects.count() == 0
    assert broker.ready_sets.depth("q") == {"high": 0, "normal": 0}


def test_a_job_is_published_only_after_the_commit(broker: LedgerRedisBroker) -> None:
    actor = declare(broker, lambda: None, actor_name="noop")
    with transaction.atomic():
        actor.send()
        assert broker.ready_sets.depth("q")["normal"] == 0
    assert broker.ready_sets.depth("q")["normal"] == 1


def test_the_same_message_sent_twice_is_one_job(broker: LedgerRedisBroker) -> None:
    actor = declare(broker, lambda: None, actor_name="noop")
    message = actor.message()
    assert broker.enqueue(message).message_id == broker.enqueue(message).message_id
    assert Job.objects.count() == 1


def test_a_message_sent_again_is_published_if_the_first_time_was_not(
    broker: LedgerRedisBroker, valkey: redis.Redis
) -> None:
    # Given a job that was committed, and whose sender was cut off before it was published
    message = declare(broker, lambda: None, actor_name="noop").send()
    valkey.flushall()
    # When it is sent again
    broker.enqueue(message)
    # Then it is in line
    assert broker.ready_sets.depth("q")["normal"] == 1


def test_a_held_unique_key_answers_with_the_job_that_holds_it(broker: LedgerRedisBroker) -> None:
    actor = declare(broker, lambda: None, actor_name="noop")
    first = actor.send_with_options(unique_key="k")
    assert actor.send_with_options(unique_key="k").message_id == first.message_id
    assert broker.enqueue_many([actor.message_with_options(unique_key="k")]) == [first.message_id]


def test_a_delayed_job_waits_in_the_ledger_not_in_redis(broker: LedgerRedisBroker, run_worker: StartWorker) -> None:
    actor = declare(broker, lambda: None, actor_name="noop")
    message = actor.send_with_options(delay=600)
    assert Job.objects.get(pk=message.message_id).state == State.SCHEDULED
    assert broker.ready_sets.depth("q") == {"high": 0, "normal": 0}
    run_worker()
    job = ended(message.message_id)
    assert job.claimed_at is not None and job.run_at is not None and job.claimed_at >= job.run_at


def test_urgent_jobs_go_to_the_front(broker: LedgerRedisBroker, run_worker: StartWorker) -> None:
    ran: list[str] = []
    actor = declare(broker, ran.append, actor_name="note")
    for name in ("a", "b", "c"):
        actor.send(name)
    actor.send_with_options(args=("urgent",), priority=3)
    run_worker(threads=1)
    wait_until(lambda: len(ran) == 4, seconds=10, what="four jobs")
    assert ran == ["urgent", "a", "b", "c"]


@pytest.fixture
def settings_without_sweep(settings_of_queue: QueueSettings) -> QueueSettings:
    """Where the regular sweep cannot be what brings a job home."""
    return replace(settings_of_queue, sweep_seconds=600.0)


def test_a_job_whose_row_was_locked_runs_soon_after_it_is_free(
    settings_without_sweep: QueueSettings, transactional_db: None
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no row locks")
    # Given a worker at work, and a job whose row a forgotten transaction holds
    broker = LedgerRedisBroker(settings=settings_without_sweep)
    declare(broker, lambda: None, actor_name="noop")
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
    worker.start()
    broker.emit_after("worker_boot", worker)
    try:
        time.sleep(2.5)  # the first sweep of a new leader must be over: it would bring the job home
        job = new_job(actor="noop")
        ready = lifecycle.submit([job]).ready
        with transaction.atomic():
            Job.objects.select_for_update().get(pk=job.id)
            # When the worker pops it, and cannot have it
            broker.ready_sets.add(ready)
            wait_until(lambda: broker.ready_sets.depth("q")["normal"] == 0, seconds=5, what="the job to be popped")
            time.sleep(0.3)
        # Then it runs once the row is free
        ended(str(job.id), seconds=5)
    finally:
        worker.stop(timeout=5000)
        broker.close()


def test_many_jobs_are_sent_in_one_statement(
    broker: LedgerRedisBroker, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    actor = declare(broker, lambda n: None, actor_name="noop")
    with django_assert_max_num_queries(8):  # the statements, and the transaction around them
        ids = broker.enqueue_many(actor.message(n) for n in range(500))
    assert len(set(ids)) == 500
    assert broker.ready_sets.depth("q")["normal"] == 500


def test_a_passing_fault_is_retried_then_buried(broker: LedgerRedisBroker, run_worker: StartWorker) -> None:
    def fail() -> None:
        raise ConnectionError("no route to 10.0.0.7")

    message = declare(broker, fail, actor_name="fail", max_attempts=3).send()
    run_worker()
    job = ended(message.message_id, State.DEAD_LETTER)
    assert (job.failures, job.attempt, job.error_code) == (3, 3, "internal_error")
    assert job.error_message == "ConnectionError: no route to 10.0.0.7"
    edges = list(JobEvent.objects.filter(job_id=job.id).order_by("id").values_list("edge", flat=True))
    assert edges == ["submit", *["claim", "retry_later", "promote"] * 2, "claim", "bury"]
    assert "Traceback" in JobEvent.objects.get(job_id=job.id, edge="bury").detail["traceback"]


def test_a_permanent_fault_fails_at_once_with_its_code(broker: LedgerRedisBroker, run_worker: StartWorker) -> None:
    class Damaged(PermanentJobError):
        """The document is damaged."""

        code = "damaged"

    def fail() -> None:
        raise Damaged

    message = declare(broker, fail, actor_name="fail").send()
    run_worker()
    job = ended(message.message_id, State.FAILED)
    assert (job.attempt, job.error_code, job.error_message) == (1, "damaged", "The document is damaged.")


def test_an_outcome_never_depends_on_a_middleware_hook(broker: LedgerRedisBroker, run_worker: StartWorker) -> None:
    # Given a hook that raises around every job, which Dramatiq swallows
    class Broken(Middleware):
        def after_process_message(self, *_: object, **__: object) -> None:
            raise RuntimeError("broken hook")

        before_process_message = after_process_message
        before_ack = after_process_message
        before_nack = after_process_message

    broker.add_middleware(Broken())

    def fail() -> None:
        raise PermanentJobError("no")

    good, bad = declare(broker, lambda: 7, actor_name="good").send(), declare(broker, fail, actor_name="bad").send()
    # When both run, then each has its own outcome
    run_worker()
    assert ended(good.message_id).result == 7
    assert ended(bad.message_id, State.FAILED).error_code == "permanent_error"


def test_an_exception_without_any_middleware_is_a_failure(settings_of_queue: Any, run_worker: StartWorker) -> None:
    bare = LedgerRedisBroker(middleware=[], settings=settings_of_queue)

    def fail() -> None:
        raise ValueError("no")

    message = declare(bare, fail, actor_name="fail").send()
    worker = dramatiq.Worker(bare, worker_threads=1, worker_timeout=100)
    worker.start()
    try:
        assert ended(message.message_id, State.FAILED).error_code == "internal_error"
    finally:
        worker.stop(timeout=5000)


@pytest.mark.parametrize("result", [object(), float("nan"), "x" * 300_000, {1, 2}])
def test_a_result_that_cannot_be_stored_fails_its_own_job_only(
    result: object, broker: LedgerRedisBroker, run_worker: StartWorker
) -> None:
    bad, good = declare(broker, lambda: result, actor_name="bad"), declare(broker, lambda: "fine", actor_name="good")
    messages = [bad.send(), good.send()]
    run_worker()
    assert ended(messages[0].message_id, State.FAILED).error_code == "unrecordable"
    assert ended(messages[1].message_id).result == "fine"


def test_text_that_no_database_stores_is_cleaned_in_results_and_errors(
    broker: LedgerRedisBroker, run_worker: StartWorker
) -> None:
    def fail() -> None:
        raise PermanentJobError("a\x00b\ud800c")

    dirty = declare(broker, lambda: {"t": "a\x00b\udfff"}, actor_name="dirty").send()
    wrong = declare(broker, fail, actor_name="wrong").send()
    run_worker()
    assert ended(dirty.message_id).result == {"t": "a�b�"}
    assert ended(wrong.message_id, State.FAILED).error_message == "a�b�c"


@pytest.mark.parametrize("argument", ["a\x00b", "\ud800", object(), float("inf"), "x" * 300_000])
def test_arguments_that_cannot_be_stored_are_refused_when_sent(broker: LedgerRedisBroker, argument: object) -> None:
    actor = declare(broker, lambda _: None, actor_name="noop")
    with pytest.raises(Unrecordable):
        actor.send(argument)
    assert Job.objects.count() == 0


def test_an_unknown_option_is_refused_when_sent(broker: LedgerRedisBroker) -> None:
    actor = declare(broker, lambda: None, actor_name="noop")
    with pytest.raises(ValueError, match="Unknown options for a durable job: pipe_ignore"):
        actor.send_with_options(pipe_ignore=True)


def test_a_running_job_is_cancelled_within_two_beats(broker: LedgerRedisBroker, run_worker: StartWorker) -> None:
    from queueadmin import lifecycle

    started = threading.Event()

    def wait() -> None:
        started.set()
        if current_job().cancel.wait(20):
            raise JobCancelled

    message = declare(broker, wait, actor_name="wait").send()
    run_worker()
    assert started.wait(5)
    lifecycle.request_cancel([uuid.UUID(message.message_id)], by="me")
    assert ended(message.message_id, State.CANCELLED, 5).cancel_requested_at is not None


def test_progress_is_visible_while_the_job_runs_and_gone_afterwards(
    broker: LedgerRedisBroker, run_worker: StartWorker
) -> None:
    go_on = threading.Event()

    def work() -> None:
        current_job().report("pages", 3, 10)
        go_on.wait(10)

    message = declare(broker, work, actor_name="work").send()
    run_worker()
    wait_until(lambda: JobProgress.objects.filter(job_id=message.message_id).exists(), seconds=5, what="progress")
    row = JobProgress.objects.get(job_id=message.message_id)
    assert (row.attempt, row.stage, row.done, row.total) == (1, "pages", 3, 10)
    go_on.set()
    ended(message.message_id)
    wait_until(lambda: not JobProgress.objects.exists(), seconds=5, what="progress to go")


def test_a_graceful_stop_gives_back_what_has_not_started_and_cancels_what_runs_too_long(
    broker: LedgerRedisBroker, run_worker: StartWorker
) -> None:
    # Given one thread, busy with a job that only ends when it is asked to, and others claimed behind it
    started = threading.Event()

    def wait() -> None:
        started.set()
        if current_job().cancel.wait(30):
            raise JobCancelled

    ids = [declare(broker, wait, actor_name="wait").send().message_id]
    quick = declare(broker, lambda: None, actor_name="quick")
    worker = run_worker(threads=1)
    assert started.wait(5)
    ids += [quick.send().message_id for _ in range(5)]
    # When the worker is stopped
    begun = time.monotonic()
    worker.stop(timeout=10_000)
    # Then nothing is left in its hands, no attempt was burned, and it took no longer than its budget
    assert time.monotonic() - begun < 8
    assert set(Job.objects.filter(pk__in=ids).values_list("state", flat=True)) == {State.PENDING}
    assert set(Job.objects.values_list("failures", flat=True)) == {0}
    assert WorkerProcess.objects.get().stopped_at is not None
    # And everything is in the ready set again, for the next worker
    assert broker.ready_sets.depth("q")["normal"] == 6


def test_a_full_queue_has_no_room(broker: LedgerRedisBroker, settings_of_queue: Any) -> None:
    from dataclasses import replace

    small = LedgerRedisBroker(middleware=broker.middleware, settings=replace(settings_of_queue, max_queue_size=2))
    actor = declare(small, lambda: None, actor_name="noop")
    for _ in range(2):
        small.room.require("q")
        actor.send()
    with pytest.raises(QueueFull) as full:
        small.room.require("q")
    assert full.value.retry_after > 0


def test_sending_answers_quickly_while_redis_hangs(settings_of_queue: Any, transactional_db: None) -> None:
    # Given a server that accepts and never answers
    import socket
    from dataclasses import replace

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hanging = LedgerRedisBroker(
            middleware=[], settings=replace(settings_of_queue, redis_url=f"redis://127.0.0.1:{port}/0")
        )
        actor = declare(hanging, lambda: None, actor_name="noop")
        # When jobs are sent
        begun = time.monotonic()
        for _ in range(20):
            actor.send()
        # Then only the first one waits for the time-out, and all are in the ledger
        assert time.monotonic() - begun < 2.0
        assert Job.objects.filter(state=State.PENDING).count() == 20
        hanging.close()


def test_jobs_sent_while_redis_forgot_everything_are_found_by_the_sweep(
    broker: LedgerRedisBroker, run_worker: StartWorker, valkey: redis.Redis
) -> None:
    actor = declare(broker, lambda: None, actor_name="noop")
    run_worker()
    wait_until(lambda: bool(valkey.exists(broker.ready_sets.epoch_key)), seconds=5, what="the dispatcher's first look")
    broker.enqueue_many(actor.message() for _ in range(200))
    valkey.flushall()
    wait_until(lambda: Job.objects.filter(state=State.COMPLETED).count() == 200, seconds=15, what="200 jobs")


def test_threads_that_run_jobs_need_no_database_connection(broker: LedgerRedisBroker, run_worker: StartWorker) -> None:
    def look() -> bool:
        return connection.connection is None

    message = declare(broker, look, actor_name="look").send()
    run_worker()
    assert ended(message.message_id).result is True


def test_a_job_that_a_worker_lacks_the_actor_for_goes_back_for_others(
    broker: LedgerRedisBroker, run_worker: StartWorker, valkey: redis.Redis
) -> None:
    # Given a worker of the last deployment, and a job of this one in a queue that both take from
    declare(broker, lambda: None, actor_name="old")
    run_worker()
    lifecycle.submit([job := new_job(actor="new")])
    ready = [Ready(id=job.id, queue="q", priority=0, order_key=job.order_key)]
    # When the old worker pops it
    broker.publish(ready)
    wait_until(lambda: broker.ready_sets.missing(ready), seconds=5, what="the worker to take the id")
    # Then it is offered to others soon, and nothing is held against it
    assert valkey.bzmpop(3, 1, [broker.ready_sets.key("q", "normal")], min=True)[1][0][0].decode() == job.id.hex
    assert [event.edge for event in JobEvent.objects.filter(job_id=job.id)] == ["submit"]


def test_an_error_that_cannot_even_be_printed_ends_its_job(broker: LedgerRedisBroker, run_worker: StartWorker) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    def fail() -> None:
        raise Unprintable

    message = declare(broker, fail, actor_name="fail", max_attempts=1).send()
    run_worker()
    assert "message cannot be read" in ended(message.message_id, State.DEAD_LETTER).error_message


def test_a_job_that_a_middleware_skips_is_not_called_a_success(
    broker: LedgerRedisBroker, run_worker: StartWorker
) -> None:
    class Skip(Middleware):
        def before_process_message(self, *_: object) -> None:
            raise SkipMessage("not today")

    broker.add_middleware(Skip())
    message = declare(broker, lambda: None, actor_name="noop").send()
    run_worker()
    assert ended(message.message_id, State.FAILED).error_code == "skipped"
