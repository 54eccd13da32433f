"""Broker beside ledger: differences are found, and a broker that is away is a fact, not an error."""

import re
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from queueadmin import inspection, lifecycle, presence
from queueadmin.broker import LedgerRedisBroker
from queueadmin.conf import QueueSettings
from queueadmin.jobs import Ready
from queueadmin.models import Job, QueueControl, WorkerProcess
from queueadmin.ready import ReadySets
from queueadmin.states import State
from tests.queueadmin.factories import WORKER, job_in, submitted
from tests.servers import free_port

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def sets(broker: LedgerRedisBroker) -> ReadySets:
    return broker.ready_sets


@pytest.fixture
def no_broker(settings_of_queue: QueueSettings) -> Iterator[ReadySets]:
    away = LedgerRedisBroker(settings=replace(settings_of_queue, redis_url=f"redis://:hush@127.0.0.1:{free_port()}/0"))
    yield away.ready_sets
    away.close()


def a_worker(worker_id: int = 1, *, queues: tuple[str, ...] = ("q",), actors: tuple[str, ...] = ("act",)) -> None:
    me = presence.Identity(id=worker_id, name=f"w{worker_id}", host="h", pid=worker_id, pid_started="1")
    presence.register(me, queues=queues, actors=actors, threads=2)


def publish(sets: ReadySets, *ids: UUID, priority: int = 0) -> None:
    sets.add([Ready(id=job_id, queue="q", priority=priority, order_key=1) for job_id in ids])


def test_missing_ids_and_ghosts_are_told_apart_in_both_bands(sets: ReadySets) -> None:
    # Given one job that the broker has, two that it lost, one too young to be missed, and two ghosts
    there = submitted(order_key=1)
    lost = [submitted(order_key=2), submitted(order_key=3, priority=5)]
    submitted()
    running, _ = job_in(State.PROCESSING)
    nobody = uuid4()
    publish(sets, there, running)
    publish(sets, nobody, priority=5)
    # When
    found = inspection.compare(sets, "q")
    # Then
    assert set(found.missing) == set(lost)
    assert set(found.ghosts) == {running, nobody}
    assert found.complete


def test_the_overview_puts_both_sides_beside_each_other(sets: ReadySets) -> None:
    publish(sets, submitted(), uuid4())
    a_worker()
    found = inspection.overview(sets)
    assert found.broker.up
    assert found.broker.server.startswith("valkey ")
    (queue,) = [queue for queue in found.queues if queue.summary.name == "q"]
    assert (queue.summary.pending, queue.ready, queue.summary.workers) == (1, 2, 1)
    assert found.alive == 1


def test_with_the_broker_down_the_overview_comes_from_the_ledger(no_broker: ReadySets) -> None:
    submitted()
    found = inspection.overview(no_broker)
    assert not found.broker.up
    assert "hush" not in found.broker.error
    (queue,) = [queue for queue in found.queues if queue.summary.name == "q"]
    assert (queue.summary.pending, queue.ready) == (1, None)


def test_why_a_job_waits(sets: ReadySets) -> None:
    # Given nobody to run it
    job = Job.objects.get(pk=submitted())
    assert inspection.why_waiting(job, sets) == [
        "No worker is alive: start one with `manage.py rundramatiq`.",
        "It is in no ready set at the moment; the next sweep publishes it.",
    ]
    # When a worker of another queue comes
    a_worker(1, queues=("other",))
    assert "No live worker takes jobs from the queue q." in inspection.why_waiting(job, sets)
    # When one of this queue comes that is too old to know the actor
    a_worker(2, actors=("older",))
    assert any("knows the actor act" in reason for reason in inspection.why_waiting(job, sets))
    # When the right one comes, and others stand before the job in line
    a_worker(3)
    publish(sets, submitted(), submitted())
    sets.add([Ready(id=job.pk, queue="q", priority=0, order_key=9)])
    assert inspection.why_waiting(job, sets) == ["2 jobs stand before it in line."]
    # When the queue is paused
    QueueControl.objects.create(
        queue="q", paused_at="2026-01-01T00:00:00Z", paused_by="Ada", reason="upgrade", resume_at="2126-01-01T06:00:00Z"
    )
    assert inspection.why_waiting(job, sets)[0] == (
        "Its queue, q, is paused since 2026-01-01 00:00:00 UTC by Ada: upgrade. "
        "It is resumed by itself at 2126-01-01 06:00:00 UTC."
    )


def test_a_job_that_is_not_due_says_until_when_it_waits_and_what_else_keeps_it(sets: ReadySets) -> None:
    job = Job.objects.get(pk=submitted(delay=3600.0))
    first, *others = inspection.why_waiting(job, sets)
    assert re.match(r"It is not due before 20\d\d-.*, in (59 m \d\d s|1 h 00 m); then the dispatcher", first)
    assert others == ["No worker is alive: start one with `manage.py rundramatiq`."]
    Job.objects.update(run_at="2026-01-01T00:00:00Z")
    job.refresh_from_db()
    assert inspection.why_waiting(job, sets)[0].startswith("Its time has come")


@pytest.mark.parametrize("state", [State.PROCESSING, State.COMPLETED, State.FAILED])
def test_a_job_that_does_not_wait_has_no_reasons(sets: ReadySets, state: State) -> None:
    assert inspection.why_waiting(Job.objects.get(pk=job_in(state)[0]), sets) == []


def test_why_a_job_waits_without_a_broker(no_broker: ReadySets) -> None:
    job = Job.objects.get(pk=submitted())
    assert "The broker does not answer; it is published as soon as the broker is back." in inspection.why_waiting(
        job, no_broker
    )


def test_claims_of_workers_that_are_gone_are_named() -> None:
    held, _ = job_in(State.PROCESSING)
    assert inspection.stray_claims() == [held]
    a_worker(WORKER)
    assert inspection.stray_claims() == []
    WorkerProcess.objects.update(beat_at="2026-01-01T00:00:00Z")
    assert inspection.stray_claims() == [held]


def test_actors_that_nobody_knows_are_counted() -> None:
    a_worker(1, actors=("act",))
    submitted()
    submitted(actor="renamed")
    lifecycle.cancel([submitted(actor="renamed-too")], by="x")
    assert inspection.unknown_to_all_workers() == {"renamed": 1}
