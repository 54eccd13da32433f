"""The ready sets: order, bands, once, and a broker that is old, away or silent."""

import socket
import threading
from collections.abc import Iterator

import pytest
import redis

from queueadmin.exceptions import BrokerTooOld, BrokerUnavailable
from queueadmin.ids import uuid7
from queueadmin.jobs import Ready
from queueadmin.publisher import Publisher
from queueadmin.ready import ReadySets
from queueadmin.redis_client import RedisOptions, connect
from tests.servers import ValkeyServer, free_port


def client_of(url: str, *, timeout: float) -> redis.Redis:
    return connect(RedisOptions(url=url), namespace="t", timeout=timeout)


@pytest.fixture
def sets(valkey: redis.Redis, valkey_server: ValkeyServer) -> Iterator[ReadySets]:
    made = ReadySets(client_of(valkey_server.url, timeout=2), namespace="t", high_priority_from=3)
    yield made
    made.close()


def ready(order_key: int, *, priority: int = 0, queue: str = "q") -> Ready:
    return Ready(id=uuid7(), queue=queue, priority=priority, order_key=order_key)


def test_ids_come_out_in_order_urgent_ones_first(sets: ReadySets) -> None:
    late, early, urgent = ready(2), ready(1), ready(9, priority=3)
    sets.add([late, early, urgent])
    assert sets.pop(["q"], count=10, timeout=0.1, normal_first=False) == [urgent.id]
    assert sets.pop(["q"], count=10, timeout=0.1, normal_first=False) == [early.id, late.id]


def test_a_flood_of_urgent_jobs_does_not_starve_the_rest(sets: ReadySets) -> None:
    normal, urgent = ready(1), ready(1, priority=5)
    sets.add([normal, urgent])
    assert sets.pop(["q"], count=1, timeout=0.1, normal_first=True) == [normal.id]


def test_adding_twice_changes_nothing(sets: ReadySets) -> None:
    job = ready(1)
    assert (sets.add([job]), sets.add([job])) == (1, 0)


def test_missing_names_what_is_not_there(sets: ReadySets) -> None:
    there, gone = ready(1), ready(2)
    sets.add([there])
    assert sets.missing([there, gone]) == [gone]
    assert (sets.rank(there), sets.rank(gone)) == (0, None)


def test_an_empty_set_answers_after_the_time_out(sets: ReadySets) -> None:
    assert sets.pop(["q"], count=1, timeout=0.1, normal_first=False) == []


def test_keys_lie_in_one_slot_of_a_cluster(sets: ReadySets) -> None:
    assert sets.key("a", "high").startswith("{t}:")
    assert sets.epoch_key.startswith("{t}:")


def test_an_epoch_is_new_once_until_redis_forgets(sets: ReadySets, valkey: redis.Redis) -> None:
    assert (sets.epoch_is_new(), sets.epoch_is_new()) == (True, False)
    valkey.flushall()
    assert sets.epoch_is_new()


def test_a_supported_server_says_what_it_is(sets: ReadySets) -> None:
    assert sets.require_supported().startswith("valkey ")


def test_an_old_redis_is_refused_with_a_clear_word() -> None:
    # Given a server that speaks the protocol and calls itself Redis 6
    body = b"# Server\r\nredis_version:6.2.14\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, args=(server, b"$%d\r\n%s\r\n" % (len(body), body)), daemon=True).start()
        client = client_of(f"redis://127.0.0.1:{server.getsockname()[1]}?protocol=2", timeout=2)
        with pytest.raises(BrokerTooOld, match=r"Redis 6\.2\.14 is too old: Redis 7 or newer"):
            ReadySets(client, namespace="t", high_priority_from=3).require_supported()
        client.close()


def answer(server: socket.socket, info: bytes) -> None:
    """Answer INFO with `info` and everything else with OK."""
    connection, _ = server.accept()
    with connection:
        while received := connection.recv(65536):
            commands = received.count(b"*")
            if b"INFO" in received:
                connection.sendall(info)
            else:
                connection.sendall(b"+OK\r\n" * commands)


def test_a_server_that_is_away_is_one_kind_of_error() -> None:
    client = client_of(f"redis://127.0.0.1:{free_port()}", timeout=0.2)
    with pytest.raises(BrokerUnavailable):
        ReadySets(client, namespace="t", high_priority_from=3).ping()


def test_after_a_failure_the_publisher_rests_longer_and_longer_then_recovers(
    valkey: redis.Redis, valkey_server: ValkeyServer
) -> None:
    # Given a publisher whose broker is away
    now = [0.0]
    dead = ReadySets(client_of(f"redis://127.0.0.1:{free_port()}", timeout=0.2), namespace="t", high_priority_from=3)
    publisher = Publisher(dead, clock=lambda: now[0])
    # Then it fails once, and skips without trying for 1 s, then 2 s
    assert not publisher.publish([ready(1)])
    assert publisher.skipped == 1
    now[0] = 0.9
    assert not publisher.publish([ready(1)])
    now[0] = 1.1
    assert not publisher.publish([ready(1)])
    now[0] = 3.0
    assert not publisher.publish([ready(1)])
    assert publisher.skipped == 4
    # And with the broker back it publishes
    alive = ReadySets(client_of(valkey_server.url, timeout=2), namespace="t", high_priority_from=3)
    assert Publisher(alive, clock=lambda: now[0]).publish([ready(1)])
    assert alive.depth("q")["normal"] == 1
    alive.close()


def test_a_publisher_whose_broker_is_back_has_the_skipped_jobs_published_soon(valkey_server: ValkeyServer) -> None:
    # Given a broker that is away while a job is submitted
    port = free_port()
    sets = ReadySets(
        client_of(f"redis://:test-password@127.0.0.1:{port}", timeout=0.5), namespace="t", high_priority_from=3
    )
    now = [0.0]
    publisher = Publisher(sets, clock=lambda: now[0])
    assert not publisher.publish([ready(1)])
    # When it is back, with its epoch, and the next job is published
    with ValkeyServer(port=port):
        assert sets.epoch_is_new()
        now[0] = 5.0
        assert publisher.publish([ready(2)])
        # Then the dispatcher will sweep at its next look instead of at its next regular time
        assert sets.epoch_is_new()
        # And that is asked for once
        assert publisher.publish([ready(3)])
        assert not sets.epoch_is_new()
    sets.close()
