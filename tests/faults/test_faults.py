"""A short version of `make faults`: the harness itself, and the faults that matter most, in a minute."""

from __future__ import annotations

import contextlib
import io
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from rich.console import Console

from documents.callbacks import signing
from documents.exceptions import StorageUnavailable
from documents.storage import S3Connection, S3Store
from tests.faults import checks
from tests.faults.catalogue import BY_NAME, FAIL_OVERS, FAULTS, Fault
from tests.faults.inbox import SECRET, Inbox
from tests.faults.proxy import Loop, Proxy
from tests.faults.runner import Campaign
from tests.faults.site import BUCKET, Site
from tests.faults.storefront import Storefront
from tests.faults.world import LEDGER, World, servers_started, world
from tests.servers import S3Server, ValkeyServer


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
    assert found.recovery(0.99) <= 30  # the promise is 20 s; in CI other tests take turns with this one
    # And each fault struck, and a worker did die, and was started again
    assert found.struck >= 4 * 5 + 4
    assert sum(master.deaths for master in broken_world.fleet.masters) >= 1


def test_what_is_left_behind_is_found(broken_world: World) -> None:
    # Given a world in which everything has ended, and nothing is left of it
    assert checks.tidy(broken_world) == []
    # When somebody leaves an id, a claim, a worker and a count behind, and a lease
    with broken_world.redis() as client, broken_world.sql() as connection:
        client.zadd("{ingestion}:ready:nobody:normal", {"0" * 32: 1})
        ended = "(SELECT id FROM queueadmin_job WHERE state = 'completed' LIMIT 1)"
        connection.execute(f"UPDATE queueadmin_job SET token = gen_random_uuid() WHERE id = {ended}")
        connection.execute(
            "INSERT INTO queueadmin_workerprocess (id, name, host, pid, pid_started, queues, actors, threads, busy, "
            "unwritten, writer_lag, started_at, beat_at) VALUES (1, 'gone', 'elsewhere', 4194305, '', '[]', '[]', 1, "
            "0, 0, 0, now(), now() + interval '1 hour')"
        )
        connection.execute("UPDATE queueadmin_jobminute SET completed = completed + 1 WHERE ctid = (SELECT min(ctid) "
                           "FROM queueadmin_jobminute)")  # fmt: skip
        connection.execute("UPDATE queueadmin_lease SET holder = 2 WHERE name = 'dispatcher'")
    # Then each is told
    left = checks.look_round(broken_world)
    assert left[:4] == [
        "1 ids in ready sets without a pending job", "1 rows of workers that are gone", "1 claims left behind",
        "1 leases of the dead",
    ]  # fmt: skip
    assert left[4].startswith("the total of completed is ")


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


def test_a_caught_command_never_reaches_the_server(
    wire: Proxy, valkey: redis.Redis, valkey_server: ValkeyServer
) -> None:
    with through(wire, valkey_server) as client:
        # Given a proxy that waits for a command
        order = wire.catch(b"ZADD")
        # When it comes, and its sender is gone before it arrives
        sending = threading.Thread(target=suppressed(redis.RedisError), args=(lambda: client.zadd("a", {"x": 1}),))
        sending.start()
        assert order.caught.wait(5)
        wire.cut()
        sending.join(5)
        # Then nothing has happened, and the next one passes
        assert valkey.zcard("a") == 0
        assert client.zadd("a", {"y": 2}) == 1


def suppressed(*errors: type[Exception]) -> Callable[[Callable[[], object]], None]:
    def call(action: Callable[[], object]) -> None:
        with contextlib.suppress(*errors):
            action()

    return call


@pytest.mark.parametrize("mood", ["500", "503", "reset", "truncated", ""])
def test_the_front_of_the_store_has_the_mood_that_it_was_given(mood: str, s3_server: S3Server, tmp_path: Path) -> None:
    # Given a document in a store, behind a front in some mood
    loop = Loop()
    front = Storefront(loop, s3_server.port, random.Random(1)).start()
    past = Site(store=s3_server, front=front, inbox=Inbox(random.Random(1)), web_port=1)
    try:
        past.make_bucket()
        S3Store(connection(s3_server.port)).put("a", io.BytesIO(b"x" * 9000))
        front.moods = (mood,) if mood else ()
        # When it is read
        store = S3Store(replace(connection(front.port), attempts=1))
        if mood:
            # Then it cannot be had, and that is known
            with pytest.raises(StorageUnavailable):
                store.download("a", tmp_path / "a", max_bytes=10_000)
            assert front.spoilt == 1
        else:
            assert store.download("a", tmp_path / "a", max_bytes=10_000).bytes == 9000
    finally:
        past.inbox.close()
        front.close()
        loop.close()


def connection(port: int) -> S3Connection:
    return S3Connection(
        bucket=BUCKET, endpoint_url=f"http://127.0.0.1:{port}", region=S3Server.region,
        access_key_id=S3Server.access_key_id, secret_access_key=S3Server.secret_access_key,
    )  # fmt: skip


def test_a_receiver_in_a_bad_mood_has_read_what_it_refuses() -> None:
    # Given a receiver that fails always, and then never
    inbox = Inbox(random.Random(1), failing=1.0)
    body = b'{"data": {"task_id": "t"}}'
    signed = signing.signed_headers([SECRET], message_id="m", timestamp=1, body=body)
    try:
        # When the same webhook comes until it is accepted
        for inbox.failing in (1.0, 1.0, 1.0, 0.0):
            with contextlib.suppress(httpx.HTTPError):
                httpx.post(inbox.url, content=body, headers=signed)
    finally:
        inbox.close()
    # Then it has been read four times, signed, and accepted once
    assert [delivery.accepted for delivery in inbox.deliveries] == [False, False, False, True]
    assert {(delivery.id, delivery.is_signed) for delivery in inbox.deliveries} == {("m", True)}
