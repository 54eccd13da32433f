"""The embedded Valkey is private, durable, and reachable from any data directory."""

import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from ingestion_site.embedded.valkey import MAX_SOCKET_PATH, EmbeddedValkey
from tests.servers import wait_until


@contextmanager
def running(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    with subprocess.Popen(valkey.command(), stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(valkey.answers, what="Valkey to answer")
            with redis.Redis.from_url(valkey.url) as client:
                yield client
        finally:
            process.terminate()


def test_what_it_holds_survives_a_restart(tmp_path: Path) -> None:
    # Given
    with running(EmbeddedValkey.in_data_dir(tmp_path)) as client:
        client.set("a", "1")
    # When / Then: a later start finds the same password and the same data
    with running(EmbeddedValkey.in_data_dir(tmp_path)) as client:
        assert client.get("a") == b"1"


def test_it_wants_its_password_and_opens_no_port(tmp_path: Path) -> None:
    valkey = EmbeddedValkey.in_data_dir(tmp_path)
    with running(valkey) as client:
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        with (
            redis.Redis(unix_socket_path=str(valkey.socket)) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()


def test_only_its_owner_can_read_the_password(tmp_path: Path) -> None:
    # Given
    valkey = EmbeddedValkey.in_data_dir(tmp_path)
    # When
    command = valkey.command()
    # Then: not on the command line, not in a file that others can read
    assert valkey.password not in " ".join(command)
    for file in valkey.directory.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


@pytest.mark.parametrize("name", ["d" * 150, "with a blank and a quote'", "ünï€øde"])
def test_any_data_directory_will_do(tmp_path: Path, name: str) -> None:
    valkey = EmbeddedValkey.in_data_dir(tmp_path / name)
    assert len(str(valkey.socket).encode()) <= MAX_SOCKET_PATH
    with running(valkey) as client:
        assert client.ping()
