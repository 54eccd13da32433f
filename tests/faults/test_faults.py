"""A short version of `make faults`: the harness itself, and the faults that matter most, in a minute."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import redis
from rich.console import Console

from tests.faults.catalogue import BY_NAME, FAIL_OVERS, FAULTS, Fault
from tests.faults.proxy import Loop, Proxy
from tests.faults.runner import Campaign
from tests.faults.world import LEDGER, World, servers_started, world
from tests.servers import ValkeyServer


@pytest.fixture(scope="module")
def broken_world() -> Iterator[World]:
    """Two workers, a web server, an object store, a Valkey and a PostgreSQL of their own, most behind proxies."""
    with servers_started() as backends, world(LEDGER, backends, documents=True) as made:
        yield made


def short(name: str, **less: Any) -> Fault:
    """A fault of the catalogue that strikes less often, or for less long, with fewer documents about."""
    fault = BY_NAME[name]
    return replace(fault, act=partial(fault.act, **less), lasts=1.5, documents=0.1)


def test_nothing_is_lost_and_nothing_ends_twice(broken_world: World) -> None:
    # Given workers at work, on documents too
    campaign = Campaign(broken_world, seed=7, jobs=0, console=Console(stderr=True))
    # When replies are lost at every hop, the store has a bad day, Redis forgets, and the web server and a worker die
    faults = [
        *(short(name, times=5) for name in ("drop_publish", "drop_pop", "drop_claim", "drop_outcome")),
        short("store_truncates", seconds=2.0), short("kill_web", times=1), short("flushall"), short("kill_worker"),
    ]  # fmt: skip
    found = campaign.run_in_turn(faults, jobs=500)
    # Then everything that was accepted ended once, soon, and left nothing behind
    assert found.jobs == 500
    assert (found.lost, found.doubled, found.broken) == (0, 0, [])
    assert found.recovery(0.99) <= 20
    # And each fault struck, and a worker did die, and was started again
    assert found.struck >= 4 * 5 + 4
    assert sum(master.deaths for master in broken_world.fleet.masters) >= 1


def test_every_fault_has_a_name_and_says_what_it_does() -> None:
    assert len(BY_NAME) == len(FAULTS) + len(FAIL_OVERS) >= 40
    assert all(fault.does for fault in BY_NAME.values())


@pytest.fixture
def wire(valkey_server: ValkeyServer) -> Iterator[Proxy]:
    loop = Loop()
    proxy = Proxy(loop, valkey_server.port, postgres=False).start()
    yield proxy
    proxy.close()
    loop.close()


def through(proxy: Proxy, server: ValkeyServer) -> redis.Redis:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    url = f"redis://:{server.password}@127.0.0.1:{proxy.port}/0"
    return redis.Redis.from_url(url, socket_timeout=1, retry=Retry(NoBackoff(), 0))


def test_a_dropped_reply_is_to_a_command_that_took_effect(
    wire: Proxy, valkey: redis.Redis, valkey_server: ValkeyServer
) -> None:
    with through(wire, valkey_server) as client:
        # Given a proxy that drops the reply to one command
        order = wire.drop(b"ZADD")
        # When it is sent
        with pytest.raises(redis.ConnectionError):
            client.zadd("a", {"x": 1})
        # Then the client knows nothing, the server did it, and the next reply arrives
        assert (valkey.zcard("a"), order.dropped) == (1, 1)
        assert client.zadd("a", {"y": 2}) == 1


def test_an_empty_reply_is_not_worth_dropping(wire: Proxy, valkey: redis.Redis, valkey_server: ValkeyServer) -> None:
    with through(wire, valkey_server) as client:
        order = wire.drop(b"BZMPOP")
        assert client.bzmpop(0.1, 1, ["nothing"], min=True) is None
        assert (order.left, order.dropped) == (1, 0)


def test_a_held_wire_gives_no_sign_of_life_until_it_is_let_go(
    wire: Proxy, valkey: redis.Redis, valkey_server: ValkeyServer
) -> None:
    with through(wire, valkey_server) as client:
        assert client.ping()
        wire.hold()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        threading.Timer(0.2, wire.let_go).start()
        assert client.ping()
