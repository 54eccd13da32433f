"""The core of this suite once more, in every way in which Redis is deployed in earnest.

| | |
|---|---|
| secured | TLS with an authority of one's own |
| sentinel | the master behind three Sentinels, with a replica |
| cluster | three nodes; each test's namespace lies on any of them |

In all three the service logs in as the user of docker/ingestion.acl, which may do nothing but what is listed there.
The tests are those of the other modules: imported, and run with these servers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from queueadmin.conf import QueueSettings
from queueadmin.quotas import Quota, Quotas
from queueadmin.ready import ReadySets
from queueadmin.redis_client import connect
from tests.queueadmin.test_broker import (
    test_a_delayed_job_waits_in_the_ledger_not_in_redis,
    test_a_job_that_a_worker_lacks_the_actor_for_goes_back_for_others,
    test_a_sent_job_runs_and_its_result_is_recorded,
    test_jobs_sent_while_redis_forgot_everything_are_found_by_the_sweep,
    test_urgent_jobs_go_to_the_front,
)
from tests.queueadmin.test_dispatch import (
    test_a_periodic_actor_is_sent_once_per_period,
    test_a_process_that_does_not_lead_has_the_leader_sweep_soon,
)
from tests.queueadmin.test_fairness import (
    test_a_lost_memory_costs_order_only,
    test_a_newcomer_waits_for_one_job_of_a_long_backlog_not_for_all_of_it,
)
from tests.queueadmin.test_ready import (
    ready,
    test_a_flood_of_urgent_jobs_does_not_starve_the_rest,
    test_a_supported_server_says_what_it_is,
    test_adding_twice_changes_nothing,
    test_an_empty_set_answers_after_the_time_out,
    test_an_epoch_is_new_once_until_redis_forgets,
    test_ids_come_out_in_order_urgent_ones_first,
    test_missing_names_what_is_not_there,
)
from tests.queueadmin.test_sweep import test_the_sweep_publishes_exactly_what_is_missing
from tests.redis_servers import (
    ACL_FILE,
    ClusterDeployment,
    Deployment,
    SecuredServer,
    SentinelDeployment,
    settings_of,
)

__all__ = [
    "test_a_delayed_job_waits_in_the_ledger_not_in_redis",
    "test_a_flood_of_urgent_jobs_does_not_starve_the_rest",
    "test_a_job_that_a_worker_lacks_the_actor_for_goes_back_for_others",
    "test_a_lost_memory_costs_order_only",
    "test_a_newcomer_waits_for_one_job_of_a_long_backlog_not_for_all_of_it",
    "test_a_periodic_actor_is_sent_once_per_period",
    "test_a_process_that_does_not_lead_has_the_leader_sweep_soon",
    "test_a_sent_job_runs_and_its_result_is_recorded",
    "test_a_supported_server_says_what_it_is",
    "test_adding_twice_changes_nothing",
    "test_an_empty_set_answers_after_the_time_out",
    "test_an_epoch_is_new_once_until_redis_forgets",
    "test_ids_come_out_in_order_urgent_ones_first",
    "test_jobs_sent_while_redis_forgot_everything_are_found_by_the_sweep",
    "test_missing_names_what_is_not_there",
    "test_the_sweep_publishes_exactly_what_is_missing",
    "test_urgent_jobs_go_to_the_front",
]
"""Tests of other modules that run here too."""

KINDS = {"secured": SecuredServer, "sentinel": SentinelDeployment, "cluster": ClusterDeployment}


@pytest.fixture(scope="module", params=list(KINDS))
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    with KINDS[request.param]() as started:
        yield started


@pytest.fixture
def valkey(deployment: Deployment) -> Iterator[redis.Redis | redis.RedisCluster]:
    """A client that may do everything; the servers are empty."""
    with deployment.admin() as client:
        client.flushall()
        yield client


@pytest.fixture
def settings_of_queue(settings_of_queue: QueueSettings, deployment: Deployment) -> QueueSettings:
    return replace(settings_of_queue, **settings_of(deployment.options))


@pytest.fixture
def sets(deployment: Deployment, valkey: redis.Redis) -> Iterator[ReadySets]:
    client = connect(deployment.options, namespace="t", timeout=2)
    made = ReadySets(client, namespace="t", high_priority_from=3)
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def nothing_was_refused(deployment: Deployment) -> Iterator[None]:
    """No server has refused the service anything when the tests of one kind are done."""
    yield
    with deployment.admin() as client:
        nodes = client.get_primaries() if isinstance(client, redis.RedisCluster) else [None]
        refused = [
            entry
            for node in nodes
            for entry in (client.acl_log(target_nodes=node) if node else client.acl_log())
            if b"auth" not in str(entry.get("reason", "")).encode()
        ]
    assert refused == []


def test_everything_that_is_granted_is_used(deployment: Deployment, sets: ReadySets, valkey: redis.Redis) -> None:
    if isinstance(deployment, ClusterDeployment):
        pytest.skip("counted on one server")
    # Given a server that was asked for everything the service asks for
    sets.require_supported()
    sets.ping()
    sets.ask_for_sweep()
    sets.epoch_is_new()
    sets.add([job := ready(1)])
    sets.missing([job])
    sets.rank(job)
    sets.depth("q")
    sets.members("q", "normal", start=0, count=1)
    sets.park([job])
    sets.missing([ready(2)])  # which also looks among the parked
    sets.parked_depth("q")
    sets.is_parked(job)
    assert list(sets.parked_partitions("q", "normal")) == [""]
    sets.unpark(sets.parked("q", "normal", "", count=1))
    sets.remove([job])
    sets.pop(["q"], count=1, timeout=0.01, normal_first=False)
    Quotas(sets._client, namespace="t").spend([Quota(name="n", key="k", amount=1, seconds=1)])
    # When it is asked what that was
    called = set(valkey.info("commandstats"))
    # Then the list grants nothing that nobody needs
    granted = set(re.findall(r"\+(\S+)", ACL_FILE.read_text()))
    assert {name for name in granted if f"cmdstat_{name}" not in called} <= {"cluster|slots"}
