"""A worker that is asked to drain finishes what it has, takes nothing more, and exits in order."""

import threading
from collections.abc import Callable

import dramatiq
import pytest
from django.core.management import CommandError, call_command

from queueadmin import operations, presence, selectors
from queueadmin.broker import LedgerRedisBroker
from queueadmin.models import Job, OperationLog, WorkerProcess
from queueadmin.operations import UnknownWorker
from queueadmin.states import State
from tests.conftest import WorkerFactory
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

WHO = {"by": "ada", "source": "cli", "reason": "a new kernel"}


def test_what_runs_ends_and_what_waits_is_left_to_others(
    broker: LedgerRedisBroker, run_worker: Callable[..., dramatiq.Worker]
) -> None:
    # Given a worker with one thread, in the middle of a job, and another job behind it
    begun, may_end = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        may_end.wait(30)

    actor = dramatiq.actor(slow, broker=broker, queue_name="q")
    first, second = (actor.send().message_id for _ in range(2))
    run_worker(threads=1)
    assert begun.wait(20)
    (worker,) = selectors.workers()

    # When it is asked to drain, it knows within a beat
    assert operations.drain_worker(worker.id, **WHO).changed
    assert broker.runtime is not None
    assert broker.runtime.draining.wait(10)
    assert selectors.workers()[0].is_draining

    # Then the running job ends as it would have, and the other one stays in line
    may_end.set()
    wait_until(lambda: Job.objects.get(pk=first).state == State.COMPLETED, seconds=20, what="the first job")
    assert Job.objects.get(pk=second).state == State.PENDING
    assert OperationLog.objects.get().operation == "drain_worker"

    # And asking again changes nothing
    assert not operations.drain_worker(worker.id, **WHO).changed


def test_a_real_worker_exits_with_code_0(live_worker: WorkerFactory) -> None:
    # Given a real worker process
    worker = live_worker(threads=1, options=["--worker-id", "west-1"], variables={"RELEASE": "2.4.1"})
    row = WorkerProcess.objects.get()
    assert row.version == "2.4.1"
    # When it is asked by name
    call_command("queue", "drain-worker", "west-1", "--reason", "a new kernel")
    # Then it exits in order within seconds, and so does its master
    assert worker.process is not None
    assert worker.process.wait(30) == 0
    row.refresh_from_db()
    assert row.stopped_at is not None
    assert (row.exit_code, row.exit_signal) == (None, None)


def test_a_name_that_nobody_or_more_than_one_has_is_refused() -> None:
    for number in (1, 2):
        me = presence.identify(number, name="twin")
        presence.register(me, queues=["q"], actors=["act"], threads=1)
    with pytest.raises(UnknownWorker, match=r"2 workers are called 'twin': say which number, 1, 2\."):
        operations.find_worker("twin")
    with pytest.raises(CommandError, match=r"no worker 'nobody' that has not ended\. Workers: 'twin', 'twin'\."):
        call_command("queue", "drain-worker", "nobody")
    assert operations.find_worker("2").id == 2
    presence.mark_stopped(1)
    assert operations.find_worker("twin").id == 2
