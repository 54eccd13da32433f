"""Ways in which Redis is deployed, each a context manager: behind TLS, behind Sentinels, as a Cluster.

In each, the service is the user of docker/ingestion.acl and nothing more; tests look at the servers as `default`.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import redis
from redis.crc import key_slot

from queueadmin.redis_client import RedisOptions
from tests.certificates import Authority
from tests.faults.proxy import Loop, Proxy
from tests.servers import PROJECT_DIR, Server, ValkeyServer, free_port, get_binary_path, wait_until

USER, PASSWORD = "ingestion", "test-password-of-ingestion"
ACL_FILE = PROJECT_DIR / "docker" / "ingestion.acl"
MASTER_NAME = "ingestion-master"
DOWN_AFTER_MILLISECONDS = 1000
"""How long a server must be silent to be called dead. Operators take five times that; tests have no such patience."""


def user_line(*, any_namespace: bool = True) -> str:
    """The user of docker/ingestion.acl with a password; by default for every namespace, because each test has one."""
    line = ACL_FILE.read_text().strip().replace(" on ", f" on >{PASSWORD} ", 1)
    return line.replace("~{ingestion}:*", "~{*}:*") if any_namespace else line


REPLICA = "user replica on >test-password -@all +psync +replconf +ping"
"""What replicas log in as: without these rights they are cut off, while for everybody else they are still there."""

_AS_REPLICA = {"masteruser": "replica", "masterauth": "test-password", "repl-diskless-sync-delay": "0"}


class Deployment(Protocol):
    """What all have in common."""

    options: RedisOptions

    def admin(self) -> redis.Redis:
        """A client that may do everything, of the server that holds the keys now."""


def settings_of(options: RedisOptions) -> dict[str, Any]:
    """As fields of QueueSettings."""
    return {f"redis_{one.name}": getattr(options, one.name) for one in fields(options)}


def variables_of(options: RedisOptions) -> dict[str, str]:
    """As environment variables."""
    values = {f"REDIS_{one.name.upper()}": getattr(options, one.name) for one in fields(options)}
    return {name: ",".join(value) if isinstance(value, tuple) else value for name, value in values.items() if value}


class Replicated(Deployment, Protocol):
    """A deployment that survives the death of a master."""

    def master(self, namespace: str) -> ValkeyServer:
        """The server that holds a namespace's keys at the start."""

    def replica(self, namespace: str) -> ValkeyServer:
        """The one that takes over from it."""

    def is_promoted(self, namespace: str) -> bool:
        """Whether it has, in the eyes of all who decide."""


def cut_off(replica: ValkeyServer, *, master: ValkeyServer) -> None:
    """From now on the replica misses what is written; it can still be promoted."""
    with master.client() as client:
        client.execute_command("ACL", "SETUSER", "replica", "-psync")
        client.execute_command("CLIENT", "KILL", "TYPE", "replica")
    wait_until(lambda: not _is_in_step(replica), what="the replica to notice that it is cut off")


class SecuredServer(contextlib.ExitStack):
    """One Valkey behind TLS, with a certificate of an authority that no system knows."""

    def __init__(self, *, client_certificates: bool = False, names: Sequence[str] = ("127.0.0.1", "localhost")) -> None:
        super().__init__()
        self.valkey = ValkeyServer(users=[user_line()])
        self.authority = Authority(Path(self.enter_context(tempfile.TemporaryDirectory(prefix="certificates-"))))
        self._context = self.authority.server_context(*names, client_certificates=client_certificates)

    def __enter__(self) -> SecuredServer:
        self.enter_context(self.valkey)
        loop = Loop()
        self.callback(loop.close)
        proxy = Proxy(loop, self.valkey.port, postgres=False, tls=self._context).start()
        self.callback(proxy.close)
        self.options = RedisOptions(
            url=f"rediss://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}/0", ca_file=str(self.authority.file)
        )
        return self

    def admin(self) -> redis.Redis:
        return self.valkey.client()


class SentinelServer(Server):
    """Valkey as a Sentinel that watches one master."""

    name = "sentinel"

    def __init__(self, master: ValkeyServer, *, quorum: int) -> None:
        super().__init__()
        self.port = free_port()
        lines = [
            "bind 127.0.0.1", f"port {self.port}", f"dir {self.directory}",
            f"sentinel monitor {MASTER_NAME} 127.0.0.1 {master.port} {quorum}",
            f"sentinel auth-pass {MASTER_NAME} {master.password}",
            f"sentinel down-after-milliseconds {MASTER_NAME} {DOWN_AFTER_MILLISECONDS}",
            f"sentinel failover-timeout {MASTER_NAME} 5000",
        ]  # fmt: skip
        (self.directory / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [str(get_binary_path()), str(self.directory / "sentinel.conf"), "--sentinel"]

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5, protocol=2)

    def answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def master_port(self) -> int:
        with self.client() as client:
            return int(client.sentinel_get_master_addr_by_name(MASTER_NAME)[1])

    def sees(self, *, replicas: int, sentinels: int) -> bool:
        with self.client() as client:
            state = client.sentinel_master(MASTER_NAME)
        return int(state["num-slaves"]) == replicas and int(state["num-other-sentinels"]) == sentinels


class SentinelDeployment(contextlib.ExitStack):
    """A master, its replica and three Sentinels that agree by two."""

    def __enter__(self) -> SentinelDeployment:
        users = [user_line(), REPLICA]
        self.first = self.enter_context(ValkeyServer(users=users, options=_AS_REPLICA))
        options = {**_AS_REPLICA, "replicaof": f"127.0.0.1 {self.first.port}"}
        self.second = self.enter_context(ValkeyServer(users=users, options=options))
        wait_until(partial(_is_in_step, self.second), what="the replica to be in step")
        self.sentinels = [self.enter_context(SentinelServer(self.first, quorum=2)) for _ in range(3)]
        for sentinel in self.sentinels:
            wait_until(partial(sentinel.sees, replicas=1, sentinels=2), what="the Sentinels to know each other")
        self.options = RedisOptions(
            url=f"redis://{USER}:{PASSWORD}@ignored/0",
            sentinels=tuple(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels),
            sentinel_master=MASTER_NAME,
        )
        return self

    def admin(self) -> redis.Redis:
        master = self.sentinels[0].master_port()
        return (self.first if self.first.port == master else self.second).client()

    def master(self, namespace: str) -> ValkeyServer:
        return self.first

    def replica(self, namespace: str) -> ValkeyServer:
        return self.second

    def is_promoted(self, namespace: str) -> bool:
        return all(sentinel.master_port() == self.second.port for sentinel in self.sentinels)


class ClusterNode(ValkeyServer):
    """One node of a Cluster; its bus has a port of its own."""

    name = "cluster-node"

    def __init__(self) -> None:
        options = {
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": str(DOWN_AFTER_MILLISECONDS),
            "cluster-require-full-coverage": "no",
            "cluster-allow-replica-migration": "no",
            "cluster-replica-validity-factor": "0",  # promoted however old its data is: losing some is the test
            "cluster-port": str(free_port()),
            **_AS_REPLICA,
        }
        super().__init__(options=options, users=[user_line(), REPLICA])

    def run(self, *command: object) -> Any:
        with self.client() as client:
            return client.execute_command(*command)


class ClusterDeployment(contextlib.ExitStack):
    """Three masters with a third of the slots each; with `replicas`, one more node for each of them."""

    _SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))

    def __init__(self, *, replicas: bool = False) -> None:
        super().__init__()
        self._with_replicas = replicas

    def __enter__(self) -> ClusterDeployment:
        self.masters = [self.enter_context(ClusterNode()) for _ in self._SLOTS]
        self.replicas = [self.enter_context(ClusterNode()) for _ in self._SLOTS if self._with_replicas]
        for number, node in enumerate(self.nodes, 1):
            node.run("CLUSTER", "SET-CONFIG-EPOCH", number)
        for node, slots in zip(self.masters, self._SLOTS, strict=True):
            node.run("CLUSTER", "ADDSLOTSRANGE", *slots)
        for node in self.nodes[1:]:
            node.run("CLUSTER", "MEET", "127.0.0.1", self.masters[0].port, self.masters[0].options["cluster-port"])
        self._wait_all(lambda node: _info(node)["cluster_known_nodes"] == str(len(self.nodes)), "the nodes to meet")
        for replica, master in zip(self.replicas, self.masters, strict=False):
            replica.run("CLUSTER", "REPLICATE", master.run("CLUSTER", "MYID"))
        self._wait_all(lambda node: _info(node)["cluster_state"] == "ok", "the Cluster to be complete")
        for replica in self.replicas:
            wait_until(partial(_is_in_step, replica), what="the replicas to be in step")
        self.options = RedisOptions(
            url=f"redis://{USER}:{PASSWORD}@ignored",
            cluster_nodes=tuple(f"127.0.0.1:{node.port}" for node in self.masters),
        )
        return self

    @property
    def nodes(self) -> list[ClusterNode]:
        return [*self.masters, *self.replicas]

    def master(self, namespace: str) -> ValkeyServer:
        return self.masters[self._number(namespace)]

    def replica(self, namespace: str) -> ValkeyServer:
        return self.replicas[self._number(namespace)]

    def is_promoted(self, namespace: str) -> bool:
        with self.replica(namespace).client() as client:
            return client.info("replication")["role"] == "master" and client.cluster("INFO")["cluster_state"] == "ok"

    def _number(self, namespace: str) -> int:
        slot = key_slot(f"{{{namespace}}}".encode())
        return next(number for number, (_, last) in enumerate(self._SLOTS) if slot <= last)

    def _wait_all(self, holds: Callable[[ClusterNode], bool], what: str) -> None:
        for node in self.nodes:
            wait_until(partial(holds, node), what=what)

    def admin(self) -> redis.RedisCluster:
        nodes = [redis.cluster.ClusterNode("127.0.0.1", node.port) for node in self.nodes]
        return redis.RedisCluster(startup_nodes=nodes, password=self.masters[0].password, protocol=2)


def _info(node: ClusterNode) -> Mapping[str, str]:
    with node.client() as client:
        found: Mapping[str, str] = client.cluster("INFO")
        return found


def _is_in_step(node: ValkeyServer) -> bool:
    with node.client() as client:
        return client.info("replication").get("master_link_status") == "up"
