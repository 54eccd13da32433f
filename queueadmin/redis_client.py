"""Clients of Redis: of one server, of the master that Sentinels name, or of the Cluster's node that holds our keys.

Every client tries once, with short time-outs. redis-py repeats commands on its own by default; one lost reply then
sent a push four times. Here whoever knows that repeating is harmless decides about it.

All keys of a namespace lie in one hash slot, so a Cluster is, at any time, one master to us, as behind Sentinels. What
differs is whom to ask for its address. redis-py's RedisCluster is not used: it connects when it is made, sleeps and
repeats inside a command, asks for the keys of BZMPOP in a round trip of its own, and raises errors that are no
RedisError (docs/adr/0010).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection, parse_url
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MasterDownError, ReadOnlyError
from redis.retry import Retry

from queueadmin.exceptions import ConfigurationError

_CONNECT_SECONDS = 1.0
_FIND_SECONDS = 1.0
"""For all Sentinels or nodes together to say where the master is, when the client's own time-out is not shorter."""

_LEAST_FIND_SECONDS = 0.2
"""For each one: below that a busy machine would pass for a dead one."""

_NO_MASTER_HERE = (ReadOnlyError, AskError, ClusterDownError, MasterDownError)
"""What a server answers that is no longer, or not alone, the master of our keys. MovedError is an AskError."""

Address = tuple[str, int]
Find = Callable[[], Address]


class WrongOption(ConfigurationError):
    """One of the options with which Redis is reached cannot be used."""

    def __init__(self, name: str, allowed: str) -> None:
        super().__init__(f"{name} must be {allowed}.")
        self.name, self.allowed = name, allowed


@dataclass(frozen=True, kw_only=True)
class RedisOptions:
    """Where Redis is and how to be let in. Addresses are written `host:port`. Raises WrongOption, naming the field.

    `url` names the server. With `sentinels` or `cluster_nodes` its host is not used, but all else: rediss:// for TLS
    to every server, user and password. Files are paths of PEM files: the authority that signed the servers'
    certificates (default: the system's), and this client's own certificate and key where servers ask for one.
    """

    url: str = field(default="redis://127.0.0.1:6379/0", repr=False)
    sentinels: tuple[str, ...] = ()
    sentinel_master: str = ""
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    cluster_nodes: tuple[str, ...] = ()
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def __post_init__(self) -> None:
        for name in ("sentinels", "cluster_nodes"):
            if not all(map(_is_address, getattr(self, name))):
                raise WrongOption(name, "addresses such as redis1:26379, by commas")
        self._require("url", self._can_be_parsed(), "a URL that starts with redis://, rediss:// or unix://")
        several = bool(self.sentinels or self.cluster_nodes)
        self._require("url", not (several and self.scheme == "unix"), "redis:// or rediss:// with several servers")
        self._require("cluster_nodes", not (self.sentinels and self.cluster_nodes), "unset when sentinels are set")
        self._require("sentinel_master", bool(self.sentinels) == bool(self.sentinel_master), "set with the sentinels")
        self._require(
            "url", not (self.cluster_nodes and self._in_url("db")), "without a database number: a Cluster has 0"
        )
        self._require("key_file", bool(self.cert_file) == bool(self.key_file), "set together with the certificate")
        for name in ("ca_file", "cert_file", "key_file"):
            path = getattr(self, name)
            self._require(name, not path or self.is_encrypted, "unset unless the URL starts with rediss://")
            self._require(name, not path or Path(path).is_file(), "the path of a PEM file that can be read")

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    @property
    def is_encrypted(self) -> bool:
        return self.scheme == "rediss"

    @property
    def password(self) -> str:
        """Of the URL; empty when it has none."""
        return str(self._in_url("password") or "")

    @property
    def is_local(self) -> bool:
        """Whether every server named is this machine, so that nobody listens on the way."""
        if self.scheme == "unix":
            return True
        named = self.sentinels or self.cluster_nodes or (f"{urlsplit(self.url).hostname or 'localhost'}:0",)
        return all(_parted(address)[0] in ("localhost", "127.0.0.1", "::1") for address in named)

    @property
    def place(self) -> str:
        """Where this is, for a person; without a password."""
        if self.sentinels:
            return f"the master {self.sentinel_master} of the Sentinels {', '.join(self.sentinels)}"
        if self.cluster_nodes:
            return f"the Cluster at {', '.join(self.cluster_nodes)}"
        parts = urlsplit(self.url)
        host = parts.hostname or "localhost"
        return parts.path if self.scheme == "unix" else f"{f'[{host}]' if ':' in host else host}:{parts.port or 6379}"

    def _in_url(self, part: str) -> Any:
        return parse_url(self.url).get(part)

    def _can_be_parsed(self) -> bool:
        try:
            parse_url(self.url)
        except ValueError:
            return False
        return True

    @staticmethod
    def _require(name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise WrongOption(name, allowed)


def connect(options: RedisOptions, *, namespace: str, timeout: float) -> redis.Redis:
    """A client that tries once, for the keys that start with `{namespace}`. Connects at its first command.

    `timeout` (seconds) bounds every reply, connecting, and asking where the master is, each; the last two are bounded
    by a second as well.
    """
    common = {**_once(timeout), **_tls(options)}
    if not options.sentinels and not options.cluster_nodes:
        return redis.Redis.from_url(options.url, **common)
    found = parse_url(options.url)
    kept = {name: value for name, value in found.items() if name not in ("host", "port", "connection_class")}
    pool: ConnectionPool = ConnectionPool(
        connection_class=_FoundSSLConnection if options.is_encrypted else _FoundConnection,
        find=_find_by_sentinel(options, timeout)
        if options.sentinels
        else _find_by_slot(options, namespace, kept, timeout),
        **kept,
        **common,
    )
    return redis.Redis.from_pool(pool)


def tls_problem(error: BaseException | None) -> str:
    """Why TLS failed, if it did: OpenSSL's own word, such as CERTIFICATE_VERIFY_FAILED. Else an empty text."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error.reason or "TLS failed"
        error = error.__cause__ or error.__context__
    return ""


def _once(timeout: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": min(timeout, _CONNECT_SECONDS),
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,  # a server too old for version 3 is then told apart from one that does not answer
        "health_check_interval": 0,
    }


def _tls(options: RedisOptions) -> dict[str, Any]:
    if not options.is_encrypted:
        return {}
    files = {"ssl_ca_certs": options.ca_file, "ssl_certfile": options.cert_file, "ssl_keyfile": options.key_file}
    return {
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
        **{name: path for name, path in files.items() if path},
    }


# -- where the master is -----------------------------------------------------------------------


def _find_by_sentinel(options: RedisOptions, timeout: float) -> Find:
    """https://valkey.io/topics/sentinel-clients"""

    def ask(sentinel: redis.Redis) -> Address | None:
        answer = sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", options.sentinel_master)
        return (answer[0].decode(), int(answer[1])) if answer else None

    login = {"username": options.sentinel_username or None, "password": options.sentinel_password or None}
    return _Asking(options.sentinels, ask, {**login, **_in_turn(options, len(options.sentinels), timeout)})


def _find_by_slot(options: RedisOptions, namespace: str, login: dict[str, Any], timeout: float) -> Find:
    """https://valkey.io/commands/cluster-slots"""
    slot = key_slot(f"{{{namespace}}}".encode())

    def ask(node: redis.Redis) -> Address | None:
        for first, last, master, *_ in node.execute_command("CLUSTER SLOTS"):
            if first <= slot <= last:
                asked: str = node.get_connection_kwargs()["host"]
                return (master[0] or b"").decode() or asked, int(master[1])  # no host: that of the node asked
        return None

    return _Asking(options.cluster_nodes, ask, {**login, **_in_turn(options, len(options.cluster_nodes), timeout)})


def _in_turn(options: RedisOptions, servers: int, timeout: float) -> dict[str, Any]:
    """Options for asking one of several: a part of the time that all of them may take."""
    seconds = max(_LEAST_FIND_SECONDS, min(timeout, _FIND_SECONDS) / servers)
    return {**_once(seconds), **_tls(options), "ssl": options.is_encrypted}


class _Asking:
    """Asks servers in turn where the master is. Begins with the one after the last that knew.

    So one that has fallen behind, and still names a dead master, is not believed twice in a row.
    """

    def __init__(
        self, addresses: Sequence[str], ask: Callable[[redis.Redis], Address | None], options: dict[str, Any]
    ) -> None:
        self._addresses = [_parted(address) for address in addresses]
        self._ask = ask
        self._options = options
        self._next = 0

    def __call__(self) -> Address:
        """Raises redis.ConnectionError when none knows."""
        problem: redis.RedisError | None = None
        for turn in range(len(self._addresses)):
            number = (self._next + turn) % len(self._addresses)
            host, port = self._addresses[number]
            try:
                with closing(redis.Redis(host=host, port=port, **self._options)) as server:
                    found = self._ask(server)
            except redis.RedisError as error:
                problem = error
                continue
            if found is not None:
                self._next = number + 1
                return found
        raise redis.ConnectionError("No server asked knows where the master is.") from problem


class _FoundConnection(Connection):
    """A connection that asks for the master's address whenever it is made, and ends when that is master no more."""

    def __init__(self, *, find: Find, **options: Any) -> None:
        self._find = find
        super().__init__(**options)

    def _connect(self) -> Any:
        self.host, self.port = self._find()
        return super()._connect()

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)
        except _NO_MASTER_HERE as error:
            self.disconnect()
            raise redis.ConnectionError("The master of our keys is another server now.") from error


class _FoundSSLConnection(_FoundConnection, SSLConnection):
    """The same over TLS; the certificate must fit the address that was found."""


def _is_address(text: str) -> bool:
    try:
        host, port = _parted(text)
    except ValueError:
        return False
    return bool(host) and 0 < port < 65536


def _parted(address: str) -> Address:
    """`host:port`, or `[::1]:port`. Raises ValueError."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
