"""Defects that were reproduced on stock Dramatiq 2.2.1, each as a test that passes here.

Where stock can run in the same process it is run, too, and has to fail: an unexpected pass is an error, so that this
page does not go on claiming what was mended long ago.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone
from dramatiq.middleware import Middleware

from tests.faults.proxy import Loop, Proxy
from tests.servers import ValkeyServer, wait_until

if TYPE_CHECKING:
    from tests.faults.systems import System

pytestmark = pytest.mark.django_db(transaction=True)

both = pytest.mark.parametrize(
    "system", ["ours", pytest.param("stock", marks=pytest.mark.xfail(strict=True, reason="the defect"))], indirect=True
)
ours_only = pytest.mark.parametrize("system", ["ours"], indirect=True)


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    """A Valkey of the test's own, without persistence, because it is restarted."""
    with ValkeyServer() as valkey:
        yield valkey


@pytest.fixture
def system(request: pytest.FixtureRequest, server: ValkeyServer, transactional_db: None) -> Iterator[System]:
    from tests.faults import systems

    loop = Loop()
    wire = Proxy(loop, server.port, postgres=False).start()
    made = getattr(systems, request.param)(wire, server)
    yield made
    wire.heal()
    made.close()
    wire.close()
    loop.close()
    connection.close()


@both
def test_lost_fetch_reply(system: System) -> None:
    """Stock: the ids are in the acks of a worker that lives, so nobody rescues them."""
    # Given an idle worker, whose next fetch takes effect without its hearing of it
    broker = system.broker()
    actor = system.actor(broker)
    system.work(broker)
    lost = system.wire.drop(system.fetch)
    time.sleep(1.0)  # the fetch that waits already would bring the job home
    # When a job is sent
    actor.send(1)
    wait_until(lambda: lost.dropped, seconds=5, what="the reply to be dropped")
    # Then it runs soon all the same
    system.wait_ran([1], seconds=8)


@both
def test_lost_enqueue_reply(system: System) -> None:
    """Stock: redis-py sends the command again, and the id is in the queue twice."""
    # Given a job whose enqueue took effect without its sender's hearing of it
    broker = system.broker()
    actor = system.actor(broker, seconds=0.3)
    lost = system.wire.drop(system.publish)
    actor.send(1)
    assert lost.dropped == 1
    # When a worker takes it
    system.work(broker, threads=4)
    system.wait_ran([1], seconds=8)
    time.sleep(1.0)
    # Then it ran once
    assert system.ran == [1]


@both
def test_delayed_messages_across_a_redis_restart(system: System, server: ValkeyServer) -> None:
    """Stock: they are in the memory of Redis and of the worker, which both forget them."""
    # Given delayed jobs that a worker knows of
    broker = system.broker()
    actor = system.actor(broker)
    system.work(broker)
    for number in range(5):
        actor.send_with_options(args=(number,), delay=2500)
    time.sleep(0.7)
    # When Redis is restarted, and has forgotten everything
    server.stop()
    server.start()
    # Then they run when they are due
    system.wait_ran(list(range(5)), seconds=12)


@both
def test_unknown_actor(system: System) -> None:
    """Stock: a worker of the last deployment makes a dead letter of what it does not know."""
    # Given a worker that lacks the actor
    old, new = system.broker(), system.broker()
    system.actor(old, "old")
    actor = system.actor(new, "new")
    system.work(old)
    # When the job comes, and a worker that has it a little later
    actor.send(1)
    time.sleep(1.0)
    system.work(new)
    # Then it runs there
    system.wait_ran([1], seconds=10)


@ours_only
def test_prefetched_messages_at_a_graceful_stop(system: System) -> None:
    """Stock: what was fetched and not started stays with the worker that left (see `make faults ONLY=deploys`)."""
    from queueadmin.models import Job

    # Given a worker with more jobs than threads
    broker = system.broker()
    actor = system.actor(broker, seconds=0.3)
    for number in range(10):
        actor.send(number)
    worker = system.work(broker, threads=1)
    system.wait_ran([0], seconds=8)
    # When it is stopped in order
    system.stop(worker)
    # Then it holds nothing any more, and the next one does the rest, each once
    assert not Job.objects.filter(state="processing").exists()
    system.work(system_with_actor(system), threads=4)
    system.wait_ran(list(range(10)), seconds=8)
    assert Counter(system.ran) == Counter(range(10))


def system_with_actor(system: System) -> Any:
    """A broker as the next process would have it."""
    broker = system.broker()
    system.actor(broker)
    return broker


@ours_only
def test_slow_rescue(system: System) -> None:
    """Stock: after 60 s without a heartbeat, when some worker happens to do maintenance; 129 s were measured."""
    from queueadmin import lifecycle
    from queueadmin.ids import new_token
    from queueadmin.jobs import Claim

    # Given a job in the hands of a worker that is gone
    broker = system.broker()
    actor = system.actor(broker)
    wish = [Claim(id=_id(actor.send(1)), token=new_token())]
    assert len(lifecycle.claim(wish, actors=["work"], worker_id=404)) == 1
    # When another worker is there
    started = time.monotonic()
    system.work(broker)
    # Then it does the job, at its second attempt, soon
    system.wait_ran([1], seconds=20)
    assert time.monotonic() - started < 20


def _id(message: Any) -> UUID:
    return UUID(message.message_id)


@ours_only
def test_crash_loop_of_a_poison_job(system: System) -> None:
    """Stock: it is rescued and kills the next worker, for ever (see `make faults ONLY=poison`, with real deaths)."""
    from queueadmin import lifecycle
    from queueadmin.ids import new_token
    from queueadmin.jobs import Claim
    from queueadmin.models import Job, JobEvent

    # Given a job whose worker dies each time
    actor = system.actor(system.broker())
    job_id = _id(actor.send(1))
    for crash in range(1, 4):
        wish = [Claim(id=job_id, token=new_token())]
        assert len(lifecycle.claim(wish, actors=["work"], worker_id=crash, suspects=True)) == 1
        lifecycle.rescue([crash], worker_id=99, max_crashes=3)
        lifecycle.promote(limit=10, order_key=1)
    # Then it is a dead letter with its history, and nobody claims it again
    job = Job.objects.get(pk=job_id)
    assert (job.state, job.error_code, job.crashes) == ("dead_letter", "poison", 3)
    assert JobEvent.objects.filter(job_id=job_id, edge="rescue").count() == 3
    wish = [Claim(id=job_id, token=new_token())]
    assert lifecycle.claim(wish, actors=["work"], worker_id=5, suspects=True) == []


@ours_only
def test_vanishing_dead_letters(system: System) -> None:
    """Stock: they are deleted after seven days, read or not."""
    from queueadmin import retention
    from queueadmin.models import Job
    from queueadmin.states import State
    from tests.queueadmin.factories import job_in

    # Given a dead letter of ten years ago
    job_id, _ = job_in(State.DEAD_LETTER)
    Job.objects.filter(pk=job_id).update(finished_at=timezone.now() - timedelta(days=3650))
    # When retention has been at work
    list(retention.clean(retention.Ages(completed=24, cancelled=24, failed=24)))
    list(retention.forget(older_than_days=365))
    # Then it is still there, with what it carried
    job = Job.objects.get(pk=job_id)
    assert (job.state, job.cleaned_at) == ("dead_letter", None)
    assert job.payload


class Broken(Middleware):
    """Fails in every hook; Dramatiq logs that and goes on."""

    def _fail(self, *_: Any, **__: Any) -> NoReturn:
        raise OSError("the database is away")

    before_enqueue = after_enqueue = before_process_message = after_process_message = before_ack = after_ack = _fail


@ours_only
def test_a_claim_or_an_outcome_swallowed_by_a_middleware_hook(system: System) -> None:
    """Stock: AdminMiddleware records in hooks, whose errors Dramatiq swallows: the job runs and nothing says so."""
    from queueadmin.models import Job, JobEvent

    # Given a middleware that fails wherever it can
    broker = system.broker()
    actor = system.actor(broker)
    broker.add_middleware(Broken())
    # When a job runs
    message = actor.send(1)
    system.work(broker)
    wait_until(lambda: Job.objects.filter(state="completed").exists(), seconds=8, what="the job")
    # Then each of its steps is on record
    edges = JobEvent.objects.filter(job_id=message.message_id).order_by("id").values_list("edge", flat=True)
    assert list(edges) == ["submit", "claim", "complete"]
