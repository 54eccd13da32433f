"""Options with which Redis is reached: what is refused, what is shown, and whom a client asks for the master."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from queueadmin.exceptions import BrokerUnavailable
from queueadmin.ready import ReadySets
from queueadmin.redis_client import RedisOptions, WrongOption, connect, tls_problem
from tests.certificates import Authority
from tests.redis_servers import PASSWORD, USER, SecuredServer, user_line
from tests.servers import ValkeyServer, free_port

WRONG: list[tuple[str, dict[str, Any]]] = [
    ("url", {"url": "http://h"}),
    ("url", {"url": "redis://h?socket_timeout=soon"}),
    ("url", {"url": "unix:///s", "sentinels": ("a:1",), "sentinel_master": "m"}),
    ("url", {"url": "redis://h/1", "cluster_nodes": ("a:1",)}),
    ("sentinels", {"sentinels": ("a",), "sentinel_master": "m"}),
    ("sentinels", {"sentinels": ("a:x",), "sentinel_master": "m"}),
    ("sentinels", {"sentinels": ("a:70000",), "sentinel_master": "m"}),
    ("cluster_nodes", {"cluster_nodes": (":1",)}),
    ("cluster_nodes", {"cluster_nodes": ("a:1",), "sentinels": ("a:1",), "sentinel_master": "m"}),
    ("sentinel_master", {"sentinels": ("a:1",)}),
    ("sentinel_master", {"sentinel_master": "m"}),
    ("ca_file", {"ca_file": "ca.pem"}),
    ("ca_file", {"url": "rediss://h", "ca_file": "/nowhere/ca.pem"}),
    ("key_file", {"url": "rediss://h", "cert_file": __file__}),
]


@pytest.mark.parametrize(("name", "options"), WRONG)
def test_options_that_cannot_work_are_refused_by_name(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(WrongOption) as raised:
        RedisOptions(**options)
    assert raised.value.name == name


@pytest.mark.parametrize(
    ("options", "place", "is_local"),
    [
        ({}, "127.0.0.1:6379", True),
        ({"url": "redis://"}, "localhost:6379", True),
        ({"url": "rediss://u:hush@redis.example.org/2"}, "redis.example.org:6379", False),
        ({"url": "redis://:hush@[::1]:7"}, "[::1]:7", True),
        ({"url": "unix://:hush@/run/valkey.sock"}, "/run/valkey.sock", True),
        (
            {"url": "redis://:hush@", "sentinels": ("a:1", "[::2]:2"), "sentinel_master": "m"},
            "the master m of the Sentinels a:1, [::2]:2",
            False,
        ),
        ({"url": "redis://:hush@", "cluster_nodes": ("127.0.0.1:1",)}, "the Cluster at 127.0.0.1:1", True),
    ],
)
def test_a_place_is_shown_without_its_password(options: dict[str, Any], place: str, is_local: bool) -> None:
    made = RedisOptions(**options)
    assert (made.place, made.is_local) == (place, is_local)
    assert made.password == ("hush" if "hush" in options.get("url", "") else "")
    assert "hush" not in repr(made)


def test_a_client_connects_at_its_first_command_and_tries_once() -> None:
    # Given a server that hangs up on everybody
    with socket.create_server(("127.0.0.1", 0)) as server:
        callers: list[object] = []
        threading.Thread(target=hang_up, args=(server, callers), daemon=True).start()
        url = f"redis://127.0.0.1:{server.getsockname()[1]}"
        with closing(connect(RedisOptions(url=url), namespace="t", timeout=1)) as client:
            assert not callers
            # When
            with pytest.raises(redis.ConnectionError):
                client.ping()
        # Then
        assert len(callers) == 1


def hang_up(server: socket.socket, callers: list[object]) -> None:
    while True:
        try:
            caller, address = server.accept()
        except OSError:
            return
        callers.append(address)
        caller.close()


@contextmanager
def sentinel_that_says(port: int | None, name: str = "m") -> Iterator[str]:
    """The address of a Sentinel that names a port of this machine as the master, or knows none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = b"*-1\r\n" if port is None else b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(port)), port)
        threading.Thread(target=serve, args=(server, name.encode(), answer), daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def serve(server: socket.socket, name: bytes, answer: bytes) -> None:
    while True:
        try:
            caller, _ = server.accept()
        except OSError:
            return
        with caller:
            while received := caller.recv(65536):
                commands = received.count(b"*")
                about_master = b"GET-MASTER-ADDR-BY-NAME" in received and name in received
                caller.sendall(answer if about_master else b"+OK\r\n" * commands)


def test_the_next_sentinel_is_asked_when_one_is_away_or_knows_nothing(valkey_server: ValkeyServer) -> None:
    with sentinel_that_says(None) as ignorant, sentinel_that_says(valkey_server.port) as right:
        options = RedisOptions(
            url=f"redis://:{valkey_server.password}@ignored",
            sentinels=(f"127.0.0.1:{free_port()}", ignorant, right),
            sentinel_master="m",
        )
        with closing(connect(options, namespace="t", timeout=2)) as client:
            assert client.ping()


def test_a_sentinel_that_still_names_a_dead_master_is_not_believed_twice(valkey_server: ValkeyServer) -> None:
    with sentinel_that_says(free_port()) as behind, sentinel_that_says(valkey_server.port) as right:
        options = RedisOptions(
            url=f"redis://:{valkey_server.password}@ignored", sentinels=(behind, right), sentinel_master="m"
        )
        with closing(connect(options, namespace="t", timeout=2)) as client:
            with pytest.raises(redis.ConnectionError):
                client.ping()
            assert client.ping()


def test_when_no_sentinel_knows_the_error_is_a_lost_connection() -> None:
    with sentinel_that_says(None) as ignorant, ExitStack() as stack:
        options = RedisOptions(sentinels=(ignorant,), sentinel_master="m")
        client = stack.enter_context(closing(connect(options, namespace="t", timeout=1)))
        with pytest.raises(redis.ConnectionError, match="No server asked knows"):
            client.ping()


def test_silent_sentinels_cost_half_a_second_together_not_each() -> None:
    with ExitStack() as stack:
        # Given five Sentinels that accept and say nothing
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(5)]
        options = RedisOptions(
            sentinels=tuple(f"127.0.0.1:{server.getsockname()[1]}" for server in silent), sentinel_master="m"
        )
        # When a submission would publish
        client = stack.enter_context(closing(connect(options, namespace="t", timeout=0.5)))
        begun = time.monotonic()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        # Then it has not waited five times
        assert time.monotonic() - begun < 2.0


def test_a_master_that_became_a_replica_is_left_for_the_new_one(valkey_server: ValkeyServer) -> None:
    """A connection to it still works, and reading from it too: only its answer to a write tells."""
    with ValkeyServer() as first, ValkeyServer() as second:
        masters = iter([first.port, second.port])
        with sentinel_that_says(next(masters)) as one, sentinel_that_says(next(masters)) as other:
            options = RedisOptions(
                url=f"redis://:{first.password}@ignored", sentinels=(one, other), sentinel_master="m"
            )
            with closing(connect(options, namespace="t", timeout=2)) as client:
                # Given a client of the first
                assert client.set("key", "1")
                # When that is demoted
                with first.client() as admin:
                    admin.config_set("masterauth", second.password)
                    admin.replicaof("127.0.0.1", second.port)
                # Then a write fails once, and the next one reaches the second
                with pytest.raises(redis.ConnectionError, match="another server now"):
                    client.set("key", "2")
                assert client.set("key", "3")
            with second.client() as admin:
                assert admin.get("key") == b"3"


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.touch()
    assert RedisOptions(url="rediss://h", ca_file=str(ca_file)).is_encrypted
    ca_file.unlink()
    with pytest.raises(WrongOption, match="can be read"):
        RedisOptions(url="rediss://h", ca_file=str(ca_file))


def ping(options: RedisOptions) -> bool:
    with closing(connect(options, namespace="t", timeout=2)) as client:
        return bool(client.ping())


def test_a_server_whose_certificate_is_not_of_our_authority_is_refused(tmp_path: Path) -> None:
    with SecuredServer() as secured:
        assert ping(secured.options)
        for stranger in ("", str(Authority(tmp_path, name="Somebody else").file)):
            with pytest.raises(redis.ConnectionError) as raised:
                ping(replace(secured.options, ca_file=stranger))
            assert tls_problem(raised.value) == "CERTIFICATE_VERIFY_FAILED"


def test_a_certificate_for_another_host_is_refused() -> None:
    with SecuredServer(names=["redis.example.org"]) as secured, pytest.raises(redis.ConnectionError) as raised:
        ping(secured.options)
    assert tls_problem(raised.value) == "CERTIFICATE_VERIFY_FAILED"


def test_a_server_that_asks_for_a_certificate_is_shown_ours() -> None:
    with SecuredServer(client_certificates=True) as secured:
        with pytest.raises(redis.ConnectionError):
            ping(secured.options)
        signed = secured.authority.sign("ingestion")
        assert ping(replace(secured.options, cert_file=str(signed.certificate), key_file=str(signed.key)))


def test_a_server_without_tls_is_not_spoken_to_in_the_clear(valkey_server: ValkeyServer) -> None:
    with pytest.raises(redis.RedisError):
        ping(RedisOptions(url=f"rediss://:{valkey_server.password}@127.0.0.1:{valkey_server.port}/0"))


def test_the_service_may_touch_nothing_but_its_own_keys() -> None:
    with ValkeyServer(users=[user_line(any_namespace=False)]) as server:
        options = RedisOptions(url=f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}/0")
        with closing(connect(options, namespace="ingestion", timeout=2)) as client:
            assert client.zadd("{ingestion}:ready:q:high", {"a": 1}) == 1
            for forbidden in (
                lambda: client.lrange("{ingestion}:epoch", 0, 1),
                lambda: client.zadd("{other}:ready:q:high", {"a": 1}),
                client.flushall,
                lambda: client.keys("*"),
                client.config_get,
            ):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    forbidden()


def test_a_user_that_may_too_little_is_told_where_to_look() -> None:
    with ValkeyServer(users=[f"user {USER} on >{PASSWORD} -@all +ping"]) as server:
        options = RedisOptions(url=f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}/0")
        sets = ReadySets(connect(options, namespace="t", timeout=2), namespace="t", high_priority_from=3)
        with pytest.raises(BrokerUnavailable, match=r"ACL forbids .* docs/operations\.md"):
            sets.require_supported()
        sets.close()


def test_a_wrong_password_is_called_that() -> None:
    with ValkeyServer() as server:
        options = RedisOptions(url=f"redis://:wrong-hush@127.0.0.1:{server.port}/0")
        sets = ReadySets(connect(options, namespace="t", timeout=2), namespace="t", high_priority_from=3)
        with pytest.raises(BrokerUnavailable, match="refuses the user or the password") as raised:
            sets.ping()
        assert "hush" not in str(raised.value)
        sets.close()
