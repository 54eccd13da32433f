"""Defects that were reproduced on stock Dramatiq 2.2.1, each as a test that passes here and fails on stock.

Only a `Defect` is expected of stock: anything else that goes wrong fails the test, and so does an unexpected pass, so
that this page does not go on claiming what was mended long ago.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from tests.faults.proxy import Loop, Proxy
from tests.servers import ValkeyServer, wait_until

if TYPE_CHECKING:
    from tests.faults.systems import System

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    """A Valkey of the test's own, without persistence, because it is restarted."""
    with ValkeyServer() as valkey:
        yield valkey


@pytest.fixture(params=["ours", "stock"])
def system(request: pytest.FixtureRequest, server: ValkeyServer, transactional_db: None) -> Iterator[System]:
    from tests.faults import systems  # models can be imported only now

    if request.param == "stock":
        expected = pytest.mark.xfail(strict=True, raises=systems.Defect, reason="the defect")
        request.applymarker(expected)
    loop = Loop()
    wire = Proxy(loop, server.port, postgres=False).start()
    made = systems.MAKERS[request.param](wire, server)
    yield made
    wire.heal()
    made.close()
    wire.close()
    loop.close()
    connection.close()


def require(holds: bool, otherwise: str) -> None:
    """What must hold here, and does not on stock."""
    from tests.faults.systems import Defect

    if not holds:
        raise Defect(otherwise)


def test_lost_fetch_reply(system: System) -> None:
    """Stock: the ids are in the acks of a worker that lives, so nobody rescues them."""
    # Given an idle worker, whose next fetch takes effect without its hearing of it
    broker = system.broker()
    actor = system.actor(broker)
    system.work(broker)
    lost = system.lose_fetch()
    time.sleep(1.0)  # the fetch that waits already would bring the job home
    # When a job is sent
    actor.send(1)
    wait_until(lambda: lost.dropped, seconds=10, what="the reply to be dropped")
    # Then it runs soon all the same
    system.require_ran([1])


def test_lost_enqueue_reply(system: System) -> None:
    """Stock: redis-py sends the command again, and the id is in the queue twice."""
    # Given a job whose enqueue took effect without its sender's hearing of it
    sender = system.sender()
    actor = system.actor(sender, seconds=0.3)
    lost = system.lose_enqueue()
    actor.send(1)
    assert lost.dropped == 1
    # When a worker takes it
    system.work(sender, threads=4)
    system.require_ran([1])
    time.sleep(1.0)
    # Then it ran once
    require(system.ran == [1], f"it ran {len(system.ran)} times")


def test_delayed_messages_across_a_redis_restart(system: System, server: ValkeyServer) -> None:
    """Stock: they are in the memory of Redis and of the worker, which both forget them."""
    # Given delayed jobs that a worker knows of
    broker = system.broker()
    actor = system.actor(broker)
    system.work(broker)
    for number in range(5):
        actor.send_with_options(args=(number,), delay=3000)
    due = time.monotonic() + 3
    time.sleep(0.7)
    # When Redis is restarted, and has forgotten everything; away for longer than a worker takes to notice
    server.stop()
    time.sleep(0.8)
    server.start()
    assert system.ran == []
    # Then they run when they are due
    time.sleep(max(0.0, due - time.monotonic()))
    system.require_ran(range(5))


def test_unknown_actor(system: System) -> None:
    """Stock: a worker of the last deployment makes a dead letter of what it does not know."""
    # Given a worker that lacks the actor
    old, new = system.broker(), system.broker()
    system.actor(old, "old")
    actor = system.actor(new, "new")
    system.work(old)
    # When the job comes, and a worker that has it a little later
    actor.send(1)
    time.sleep(1.2)
    system.work(new)
    # Then it runs there
    system.require_ran([1])


def test_prefetched_messages_at_a_graceful_stop(system: System) -> None:
    """Stock: of what was fetched last, all but one stay with the worker that left."""
    # Given an idle worker whose next fetch is on its way
    broker = system.broker()
    system.actor(broker)
    worker = system.work(broker)
    time.sleep(0.5)
    system.wire.hold()
    # When jobs come, the worker is stopped in order, and the fetch arrives meanwhile
    actor = system.actor(system.broker(port=system.server.port))
    for number in range(10):
        actor.send(number)
    stopping = threading.Thread(target=system.stop, args=(worker,))
    stopping.start()
    time.sleep(1.0)
    system.wire.let_go()
    stopping.join(15)
    # Then the next worker does them all, each once
    fresh = system.broker()
    system.actor(fresh)
    system.work(fresh)
    system.require_ran(range(10))
    assert Counter(system.ran) == Counter(range(10))


def test_slow_rescue(system: System) -> None:
    """Stock: after 60 s without a heartbeat, when some worker happens to do maintenance; 129 s were measured."""
    from tests.faults.systems import RESCUE_SECONDS

    # Given a job in the hands of a worker that has been gone for as long as a rescue may take
    system.actor(system.broker()).send(1)
    assert system.take_and_die()
    system.age(RESCUE_SECONDS)
    # When another worker is there, and looks for the dead
    rescuer = system.rescuer()
    system.actor(rescuer)
    system.work(rescuer)
    # Then it does the job
    in_time = system.has_run([1])
    if not in_time:  # only because it is too early, or this test would prove nothing
        system.age(60.0)
        assert system.has_run([1])
    require(in_time, f"nothing happens for {RESCUE_SECONDS} s")


def test_crash_loop_of_a_poison_job(system: System) -> None:
    """Stock: it is rescued and kills the next worker, for ever (see `make faults ONLY=poison`, with real deaths)."""
    # Given a job whose worker dies each time
    system.actor(system.broker()).send(1)
    for _ in range(3):
        assert system.take_and_die()
    # Then nobody gets it a fourth time
    require(not system.take_and_die(), "it goes on killing")


@pytest.mark.parametrize("system", ["ours"], indirect=True)
def test_the_history_of_a_poison_job_is_kept(system: System) -> None:
    from queueadmin.models import Job, JobEvent

    # Given a job that killed three workers
    system.actor(system.broker()).send(1)
    while system.take_and_die():
        pass
    # Then it is a dead letter with its history
    job = Job.objects.get()
    assert (job.state, job.error_code, job.crashes) == ("dead_letter", "poison", 3)
    assert JobEvent.objects.filter(job_id=job.pk, edge="rescue").count() == 3


def test_vanishing_dead_letters(system: System) -> None:
    """Stock: they are deleted after seven days, read or not."""
    require(system.dead_letters_after_years() == 1, "the dead letter is gone")


def test_a_claim_or_an_outcome_swallowed_by_a_middleware_hook(system: System) -> None:
    """Stock: AdminMiddleware records in hooks, whose errors Dramatiq swallows: the job runs and nothing says so."""
    from tests.faults.systems import Recorder

    # Given a middleware that fails wherever it can
    broker = system.broker(recorder := Recorder())
    actor = system.actor(broker)
    # When a job runs
    message = actor.send(1)
    system.work(broker)
    system.require_ran([1])
    # Then each of its steps is on record
    steps = recorder.rows + system.recorded(message)
    require(steps == ["submit", "claim", "complete"], f"on record is {steps}")
