"""Quotas: shared while Redis answers, kept by each process while it does not."""

from collections.abc import Iterator

import pytest
import redis

from queueadmin.quotas import Quota, Quotas
from queueadmin.redis_client import RedisOptions, connect
from tests.servers import ValkeyServer, free_port


def quota(amount: int = 3, *, key: str = "k", seconds: int = 60, cost: int = 1, name: str = "requests") -> Quota:
    return Quota(name=name, key=key, amount=amount, seconds=seconds, cost=cost)


@pytest.fixture
def shared(valkey: redis.Redis, valkey_server: ValkeyServer) -> Iterator[Quotas]:
    client = connect(RedisOptions(url=valkey_server.url), namespace="t", timeout=2)
    yield Quotas(client, namespace="t")
    client.close()


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def alone(now: list[float]) -> Quotas:
    """Of a process whose Redis is away."""
    client = connect(RedisOptions(url=f"redis://127.0.0.1:{free_port()}"), namespace="t", timeout=0.2)
    return Quotas(client, namespace="t", clock=lambda: now[0])


@pytest.mark.parametrize("kind", ["shared", "alone"])
def test_a_burst_of_the_whole_quota_is_granted_and_then_it_comes_back_evenly(
    kind: str, request: pytest.FixtureRequest
) -> None:
    quotas: Quotas = request.getfixturevalue(kind)
    verdicts = [quotas.spend([quota(3)]) for _ in range(4)]
    assert [verdict.is_granted for verdict in verdicts] == [True, True, True, False]
    assert [verdict.left[0].remaining for verdict in verdicts] == [2, 1, 0, 0]
    assert 18 <= verdicts[-1].wait <= 20
    assert 58 <= verdicts[-1].left[0].reset <= 60


@pytest.mark.parametrize("kind", ["shared", "alone"])
def test_what_one_quota_refuses_costs_the_others_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    quotas: Quotas = request.getfixturevalue(kind)
    wide, narrow = quota(10, key="wide"), quota(1, key="narrow", name="documents")
    assert quotas.spend([wide, narrow]).is_granted
    refused = quotas.spend([wide, narrow])
    assert not refused.is_granted
    assert [left.remaining for left in refused.left] == [9, 0]


@pytest.mark.parametrize("kind", ["shared", "alone"])
def test_a_cost_beyond_the_quota_takes_all_of_it_and_is_paid_off(kind: str, request: pytest.FixtureRequest) -> None:
    quotas: Quotas = request.getfixturevalue(kind)
    assert quotas.spend([quota(10, cost=25)]).is_granted
    assert quotas.spend([quota(10)]).wait > 60


def test_two_processes_share_one_quota_which_redis_forgets_in_time(
    shared: Quotas, valkey: redis.Redis, valkey_server: ValkeyServer
) -> None:
    client = connect(RedisOptions(url=valkey_server.url), namespace="t", timeout=2)
    other = Quotas(client, namespace="t")
    valkey.script_flush()
    assert [each.spend([quota(2)]).is_granted for each in (shared, other, shared)] == [True, True, False]
    assert 0 < valkey.pttl("{t}:quota:k") <= 60_000
    client.close()


def test_without_redis_each_process_counts_for_itself_and_forgets_what_is_old(alone: Quotas, now: list[float]) -> None:
    assert [alone.spend([quota(1)]).is_granted for _ in range(2)] == [True, False]
    now[0] += 61
    assert alone.spend([quota(1)]).is_granted
    for number in range(10_100):
        alone.spend([quota(1, key=f"k{number}")])
    assert len(alone._filled) == 10_000
