"""The master dies under load and its replica takes over without the last writes: no job is lost, none ends twice."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import dramatiq
import pytest
import redis

from queueadmin.broker import LedgerRedisBroker
from queueadmin.conf import QueueSettings
from queueadmin.models import Job, JobEvent
from queueadmin.states import State
from tests.redis_servers import ClusterDeployment, Replicated, SentinelDeployment, cut_off, settings_of
from tests.servers import ValkeyServer, wait_until

JOBS = 150
PROMISED_SECONDS = 20.0
"""To have everything running again, of which the servers themselves take two or three here."""


@pytest.fixture(params=["sentinel", "cluster"])
def deployment(request: pytest.FixtureRequest) -> Iterator[Replicated]:
    made = SentinelDeployment() if request.param == "sentinel" else ClusterDeployment(replicas=True)
    with made as started:
        yield started


@pytest.fixture
def settings_of_queue(settings_of_queue: QueueSettings, deployment: Replicated) -> QueueSettings:
    """With the real period of the sweep: what was lost must be noticed, not waited for."""
    return replace(settings_of_queue, sweep_seconds=QueueSettings.sweep_seconds, **settings_of(deployment.options))


def members(broker: LedgerRedisBroker, server: ValkeyServer) -> set[str]:
    """What one server's ready set holds; a Cluster's replica has to be asked twice."""
    with server.client() as client:
        with contextlib.suppress(redis.ResponseError):
            client.execute_command("READONLY")
        return {member.decode() for member in client.zrange(broker.ready_sets.key("q", "normal"), 0, -1)}


def test_a_fail_over_that_forgets_the_last_writes_costs_no_job(
    broker: LedgerRedisBroker, run_worker: Callable[..., object], deployment: Replicated
) -> None:
    namespace = broker.settings.namespace
    master, replica = deployment.master(namespace), deployment.replica(namespace)
    actor = dramatiq.actor(lambda: time.sleep(0.02), broker=broker, queue_name="q", actor_name="work")
    # Given workers at work, and a replica that has everything so far
    run_worker()
    broker.enqueue_many(actor.message() for _ in range(JOBS))
    # When jobs are sent that the replica misses
    cut_off(replica, master=master)
    missed = {job_id.replace("-", "") for job_id in broker.enqueue_many(actor.message() for _ in range(JOBS))}
    assert missed & members(broker, master)
    assert not missed & members(broker, replica)
    # And the master dies, while more are sent
    master.kill()
    killed = time.monotonic()
    for _ in range(20):
        actor.send()
    wait_until(lambda: deployment.is_promoted(namespace), what="the replica to take over")
    promoted = time.monotonic() - killed
    # Then every job ends, once
    wait_until(
        lambda: Job.objects.filter(state=State.COMPLETED).count() == 2 * JOBS + 20, seconds=60, what="all jobs to end"
    )
    recovered = time.monotonic() - killed
    ends = Counter(JobEvent.objects.filter(edge="complete").values_list("job_id", flat=True))
    assert set(ends.values()) == {1}
    assert len(ends) == 2 * JOBS + 20
    # And soon
    assert recovered < PROMISED_SECONDS, f"promoted after {promoted:.1f} s, all ended after {recovered:.1f} s"
