"""The dispatcher's steps: publish what is missing, rescue what is orphaned, and convict nobody by mistake."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise

import dramatiq
import pytest
import redis
from django.utils import timezone

from queueadmin import lifecycle, lookup, operations, presence
from queueadmin.broker import LedgerRedisBroker
from queueadmin.dispatch import Chore, Dispatcher, Timetable, lost_workers
from queueadmin.models import Job, JobEvent, OperationLog, PeriodicControl, WorkerProcess
from queueadmin.states import State
from queueadmin.tasks import RESUME
from tests.queueadmin.factories import claimed, submitted
from tests.servers import wait_until

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

ME = presence.identify(1)


def register(worker_id: int, *, pid: int | None = None, host: str = "elsewhere", silent_for: float = 0.0) -> None:
    """A worker that has beaten for the last time `silent_for` seconds ago."""
    pid = pid or 1
    me = presence.Identity(
        id=worker_id, name=f"w{worker_id}", host=host, pid=pid, pid_started=presence.started(pid) or ""
    )
    presence.register(me, queues=["q"], actors=["act"], threads=2)
    WorkerProcess.objects.filter(pk=worker_id).update(beat_at=timezone.now() - timedelta(seconds=silent_for))


@pytest.fixture
def ended_process() -> Iterator[tuple[int, str]]:
    """The pid and start time of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = presence.started(process.pid)
        process.kill()
    assert started is not None
    yield process.pid, started


def test_a_process_that_does_not_lead_has_the_leader_sweep_soon(
    broker: LedgerRedisBroker, run_worker: Callable[..., object]
) -> None:
    # Given a worker while another process leads
    assert presence.acquire("dispatcher", holder=1, seconds=60)
    assert broker.ready_sets.epoch_is_new()
    dramatiq.actor(lambda: None, actor_name="act", queue_name="q", broker=broker)
    run_worker()
    assert broker.runtime is not None
    # When it loses the reply to a fetch
    broker.runtime.sweep_wanted.set()
    # Then the leader finds Redis as if it had lost its memory, which makes it sweep
    wait_until(broker.ready_sets.epoch_is_new, seconds=5, what="the wish to arrive")


def test_a_silent_worker_is_lost_and_its_jobs_run_again() -> None:
    register(5, silent_for=11)
    claimed(submitted(), worker_id=5)
    assert lost_workers(silent_seconds=10, judge_is_sound=True, me=ME) == [5]
    assert lifecycle.rescue([5], worker_id=1, max_crashes=3) == 1
    assert Job.objects.get().state == State.RETRYING


def test_a_judge_that_was_away_itself_condemns_nobody() -> None:
    register(5, silent_for=3600)
    claimed(submitted(), worker_id=5)
    assert lost_workers(silent_seconds=10, judge_is_sound=False, me=ME) == []


def test_a_worker_that_beats_is_left_alone() -> None:
    register(5, silent_for=5)
    claimed(submitted(), worker_id=5)
    assert lost_workers(silent_seconds=10, judge_is_sound=True, me=ME) == []


def test_a_worker_of_this_host_whose_process_is_gone_is_lost_at_once(ended_process: tuple[int, str]) -> None:
    pid, started = ended_process
    identity = presence.Identity(id=6, name="w", host=ME.host, pid=pid, pid_started=started)
    presence.register(identity, queues=[], actors=[], threads=1)
    claimed(submitted(), worker_id=6)
    assert lost_workers(silent_seconds=10, judge_is_sound=False, me=ME) == [6]


def test_a_pid_that_was_given_to_another_process_does_not_pass_for_the_worker() -> None:
    identity = presence.Identity(id=7, name="w", host=ME.host, pid=os.getpid(), pid_started="1")
    presence.register(identity, queues=[], actors=[], threads=1)
    claimed(submitted(), worker_id=7)
    assert lost_workers(silent_seconds=10, judge_is_sound=False, me=ME) == [7]


def test_claims_of_a_worker_without_a_row_are_rescued() -> None:
    claimed(submitted(), worker_id=99)
    assert lost_workers(silent_seconds=10, judge_is_sound=False, me=ME) == [99]


def test_a_buried_worker_learns_of_it_at_its_next_beat() -> None:
    register(5, silent_for=11)
    assert presence.bury(5, silent_for=10)
    assert not presence.beat(5, busy=0, unwritten=0)


def test_a_worker_that_beats_in_the_last_moment_is_not_buried() -> None:
    register(5, silent_for=11)
    assert presence.beat(5, busy=0, unwritten=0)
    assert not presence.bury(5, silent_for=10)


def test_one_leads_and_another_follows_when_the_lease_ends() -> None:
    assert presence.acquire("lead", holder=1, seconds=60)
    assert not presence.acquire("lead", holder=2, seconds=60)
    assert presence.acquire("lead", holder=1, seconds=60)
    presence.give_up("lead", holder=1)
    wait_until(lambda: presence.acquire("lead", holder=2, seconds=60), seconds=2, what="the lease")


def test_a_period_is_granted_once() -> None:
    assert presence.acquire_when_free("periodic:x", seconds=60)
    assert not presence.acquire_when_free("periodic:x", seconds=60)


def test_a_timetable_answers_once_per_period() -> None:
    now = [0.0]
    table = Timetable(lambda: now[0])
    assert table.due("a", 5)
    assert not table.due("a", 5)
    now[0] = 5.0
    assert table.due("a", 5)


def test_the_dispatcher_resumes_a_queue_whose_pause_is_over(
    broker: LedgerRedisBroker, run_worker: Callable[..., object]
) -> None:
    # Given a queue that is paused for a moment, and the chore that `tasks` gives to the project's broker
    before = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    try:
        broker.add_chore(RESUME, every_seconds=0.2, run=operations.resume_due)
        submitted()
        operations.pause("q", resume_at=timezone.now() + timedelta(seconds=1), by="Ada", source="cli")
        run_worker()
        resumed = OperationLog.objects.filter(operation="resume", outcome="done")
        wait_until(resumed.exists, seconds=30, what="the end of the pause")
    finally:
        dramatiq.set_broker(before)
    log = resumed.get()
    assert (log.by, log.source, log.done) == ("dispatcher", "system", 1)
    assert not lookup.paused_queues()


def test_a_paused_periodic_actor_is_not_sent_until_it_is_resumed(
    broker: LedgerRedisBroker, run_worker: Callable[..., object]
) -> None:
    for name in ("tick", "tock"):
        dramatiq.actor(lambda: None, actor_name=name, queue_name="q", broker=broker, every_seconds=3600)
    PeriodicControl.objects.create(actor="tick", paused_at=timezone.now(), paused_by="Ada")
    run_worker()
    wait_until(lambda: Job.objects.filter(actor="tock").exists(), seconds=10, what="the job that is not paused")
    assert not Job.objects.filter(actor="tick").exists()
    PeriodicControl.objects.all().delete()
    wait_until(lambda: Job.objects.filter(actor="tick").exists(), seconds=15, what="the job that is resumed")


def test_a_periodic_actor_is_sent_once_per_period(broker: LedgerRedisBroker, run_worker: Callable[..., object]) -> None:
    ran: list[int] = []
    dramatiq.actor(lambda: ran.append(1), actor_name="tick", queue_name="q", broker=broker, every_seconds=3600)
    run_worker()
    wait_until(lambda: ran, seconds=10, what="the periodic job")
    assert Job.objects.filter(actor="tick").count() == 1


def test_a_worker_gives_back_a_claim_that_it_never_heard_of(
    broker: LedgerRedisBroker, run_worker: Callable[..., object], valkey: redis.Redis
) -> None:
    # Given a running worker, and a claim in its name whose reply was lost
    done: list[int] = []
    dramatiq.actor(lambda: done.append(1), actor_name="act", queue_name="q", broker=broker)
    run_worker()
    assert broker.runtime is not None
    job = claimed(submitted(), worker_id=broker.runtime.identity.id)
    # Then it is released and runs
    wait_until(lambda: done, seconds=10, what="the job")
    edges = [event.edge for event in JobEvent.objects.filter(job_id=job.id).order_by("id")]
    assert edges[:4] == ["submit", "claim", "release", "claim"]


def test_a_claim_that_nobody_heard_of_and_that_is_to_be_cancelled_is_announced(
    broker: LedgerRedisBroker, run_worker: Callable[..., object]
) -> None:
    # Given a running worker, and a claim in its name whose reply was lost, of a job that promises a follow-up
    dramatiq.actor(lambda: None, actor_name="act", queue_name="q", broker=broker)
    run_worker()
    assert broker.runtime is not None
    follow_up = {"actor": "after", "queue": "f", "priority": 0, "max_attempts": 1}
    payload = {"args": [], "kwargs": {}, "options": {"follow_up": follow_up}}
    job = claimed(submitted(payload=payload), worker_id=broker.runtime.identity.id)
    # When somebody cancels it
    lifecycle.request_cancel([job.id], by="me")
    # Then it is cancelled, and its end is announced
    after = Job.objects.filter(parent_id=job.id, actor="after")
    wait_until(after.exists, seconds=10, what="the announcement")
    assert Job.objects.get(pk=job.id).state == State.CANCELLED


def test_suspects_run_alone_one_after_the_other_and_without_wasted_claims(
    broker: LedgerRedisBroker, run_worker: Callable[..., object]
) -> None:
    # Given three jobs that crashed a worker before, among others
    running: set[str] = set()
    together: list[frozenset[str]] = []
    lock = threading.Lock()

    def work(name: str) -> None:
        with lock:
            running.add(name)
            together.append(frozenset(running))
        time.sleep(0.05)
        with lock:
            running.discard(name)

    actor = dramatiq.actor(work, actor_name="work", queue_name="q", broker=broker)
    suspects = [actor.send(f"suspect{number}").message_id for number in range(3)]
    Job.objects.filter(pk__in=suspects).update(crashes=2)
    for number in range(12):
        actor.send(f"n{number}")
    # When four threads work
    run_worker(threads=4)
    wait_until(lambda: Job.objects.filter(state=State.COMPLETED).count() == 15, seconds=20, what="all jobs")
    # Then nothing ran beside a suspect, and nobody was claimed twice
    alone = [group for group in together if any(name.startswith("suspect") for name in group)]
    assert sorted(alone, key=str) == [frozenset({f"suspect{number}"}) for number in range(3)]
    assert any(len(group) > 1 for group in together)
    assert set(Job.objects.values_list("attempt", flat=True)) == {1}


def test_a_process_that_is_stuck_gives_up_the_lead(broker: LedgerRedisBroker) -> None:
    # Given a dispatcher that leads
    healthy = threading.Event()
    healthy.set()
    dispatcher = Dispatcher(
        ME, settings=broker.settings, sets=broker.ready_sets, publisher=broker.publisher, actors={},
        sweep_wanted=threading.Event(), is_healthy=healthy.is_set, beats_on_time=lambda: False,
    )  # fmt: skip
    dispatcher.start()
    try:
        wait_until(lambda: dispatcher.leads, seconds=5, what="the lead")
        # When its process gets stuck
        healthy.clear()
        # Then another one may lead before the lease would have ended by itself
        wait_until(lambda: presence.acquire("dispatcher", holder=99, seconds=60), seconds=5, what="the next leader")
        wait_until(lambda: not dispatcher.leads, seconds=5, what="the stuck one to step back")
    finally:
        dispatcher.stop()


def test_the_leader_does_the_chores_and_outlives_those_that_fail(broker: LedgerRedisBroker) -> None:
    # Given a chore that fails at first
    calls: list[float] = []

    def run() -> None:
        calls.append(time.monotonic())
        if len(calls) == 1:
            raise ValueError("not today")

    dispatcher = Dispatcher(
        ME, settings=broker.settings, sets=broker.ready_sets, publisher=broker.publisher, actors={},
        chores=[Chore(name="tidy", every_seconds=0.2, run=run)],
        sweep_wanted=threading.Event(), is_healthy=lambda: True, beats_on_time=lambda: False,
    )  # fmt: skip
    # When it leads
    dispatcher.start()
    # Then the chore is done again and again
    try:
        wait_until(lambda: len(calls) >= 3, seconds=10, what="three calls")
    finally:
        dispatcher.stop()
    assert min(after - before for before, after in pairwise(calls)) >= 0.2
