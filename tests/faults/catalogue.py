"""The faults, by name."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import psutil
import psycopg
import redis

from tests.faults.apps.ledger.clock import VARIABLE as CLOCK
from tests.faults.strikes import clients, documents, masters, postgres, valkey, workers
from tests.faults.world import World
from tests.redis_servers import ClusterDeployment, SentinelDeployment

Action = Callable[[World, random.Random], int | None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of fault. What its action returns is how often it struck, where that is in doubt."""

    name: str
    does: str
    act: Action
    lasts: float = 5.0
    """Seconds that it takes, about: submissions go on for longer."""

    mixes: bool = True
    """Whether the mixed schedule may draw it."""

    stock: bool = False
    """Whether it is struck against stock Dramatiq, too: where both have what it breaks, and stock promises anything."""

    actor: str = "work"
    """Of the jobs that are submitted meanwhile."""

    documents: float = 0.0
    """The share of real documents among them, posted to the web server and announced by webhooks."""

    hostile: float = 0.0
    """The share of the documents that kill their extraction's process or fill its memory."""

    client: Mapping[str, str] = field(default_factory=dict)
    """More variables of the submitting process."""

    deployment: Callable[[], SentinelDeployment | ClusterDeployment] | None = None
    """Makes the Redis that it strikes, in a world of its own; the service alone, not stock."""


FAULTS = (
    Fault(name="none", act=lambda world, dice: None, does="nothing", mixes=False, stock=True),
    Fault(name="kill_worker", act=workers.kill_worker, does="SIGKILL of a worker", lasts=3, stock=True),
    Fault(
        name="kill_leader", act=workers.kill_leader, does="SIGKILL of the process that leads the dispatcher", lasts=3
    ),
    Fault(
        name="pause_leader", act=workers.pause_leader, does="SIGSTOP of that process for 8 s, then SIGCONT", lasts=8
    ),
    Fault(
        name="pause_worker", act=workers.pause_worker, does="SIGSTOP of a worker for 14 s, then SIGCONT", lasts=14,
        stock=True,
    ),
    Fault(name="pause_shortly", act=workers.pause_worker_shortly, does="SIGSTOP of a worker for 4 s, then SIGCONT"),
    Fault(name="deploys", act=workers.deploy, does="SIGTERM to every worker, twice in a row", lasts=20, stock=True),
    Fault(
        name="poison", act=workers.poison, does="two jobs that kill their process", lasts=20, mixes=False, stock=True
    ),
    Fault(
        name="old_code", act=workers.old_code, does="one of two workers lacks the actor", lasts=20, mixes=False,
        stock=True, actor="brand_new",
    ),
    Fault(
        name="clocks", act=workers.clocks, does="clocks of the hosts 4 h apart", lasts=20, documents=0.2,
        client={CLOCK: "3600"},
    ),
    Fault(
        name="kill_client", act=clients.kill_client, does="SIGKILL of the submitter between commit and publish",
        lasts=8,
    ),
    Fault(
        name="kill_web", act=clients.kill_web, does="SIGKILL of the web server between commit and publish", lasts=15,
        documents=0.4,
    ),
    Fault(
        name="pause_web", act=clients.pause_web,
        does="SIGSTOP of the web server between commit and publish for 3 s, then SIGCONT", lasts=12, documents=0.4,
    ),
    Fault(name="flushall", act=valkey.flushall, does="FLUSHALL", lasts=3, stock=True),
    Fault(name="restart_valkey", act=valkey.restart_valkey, does="Valkey restarted, with its data", stock=True),
    Fault(name="lose_valkey", act=valkey.kill_valkey_empty, does="Valkey killed and its data lost", stock=True),
    Fault(name="full_valkey", act=valkey.redis_full, does="Valkey out of memory for 6 s", lasts=6),
    Fault(name="cut_valkey", act=valkey.cut_redis, does="connections to Valkey cut, ten times", stock=True),
    Fault(name="hold_valkey", act=valkey.hold_redis, does="Valkey half-open for 6 s", lasts=6, stock=True),
    Fault(name="slow_valkey", act=valkey.slow_redis, does="0.3 s more each way to Valkey for 5 s"),
    Fault(name="drop_publish", act=valkey.drop_publish, does="replies to publishing lost", stock=True),
    Fault(name="drop_pop", act=valkey.drop_pop, does="replies to fetching lost", stock=True),
    Fault(name="restart_postgres", act=postgres.restart_postgres, does="PostgreSQL restarted", stock=True),
    Fault(name="crash_postgres", act=postgres.crash_postgres, does="PostgreSQL crashed, recovers"),
    Fault(name="long_outage", act=postgres.long_outage, does="PostgreSQL away for 15 s", lasts=15, stock=True),
    Fault(
        name="kill_connections", act=postgres.kill_connections, does="all database connections killed, five times"
    ),
    Fault(name="full_pool", act=postgres.full_pool, does="no database connection to be had for 8 s", lasts=8),
    Fault(name="lock_table", act=postgres.lock_table, does="the table locked for 8 s", lasts=8),
    Fault(name="lock_rows", act=postgres.lock_rows, does="twenty live rows locked for 12 s", lasts=12),
    Fault(name="read_only", act=postgres.read_only, does="the database read-only for 7 s", lasts=7),
    Fault(name="disk_full", act=postgres.disk_full, does="PostgreSQL cannot write to its disk"),
    Fault(name="cut_postgres", act=postgres.cut_postgres, does="connections to PostgreSQL cut, ten times"),
    Fault(
        name="hold_postgres", act=postgres.hold_postgres, does="a worker's database connections half-open for 20 s",
        lasts=20,
    ),
    Fault(
        name="slow_postgres", act=postgres.slow_postgres, does="0.2 s more each way to PostgreSQL for 6 s", lasts=6
    ),
    Fault(
        name="isolate_worker", act=postgres.isolate_worker, does="a worker cut off from both servers for 15 s",
        lasts=15, stock=True,
    ),
    Fault(name="drop_submit", act=postgres.drop_submit, does="replies to submitting lost"),
    Fault(name="drop_claim", act=postgres.drop_claim, does="replies to claiming lost"),
    Fault(name="drop_outcome", act=postgres.drop_outcome, does="replies to outcomes lost"),
    Fault(name="drop_commit", act=postgres.drop_commit, does="replies to COMMIT lost"),
    Fault(
        name="store_errors", act=documents.store_errors, does="object storage answers 500, 503 or resets for 6 s",
        lasts=6, documents=0.4,
    ),
    Fault(
        name="store_slow", act=documents.store_slow, does="object storage trickles for 6 s", lasts=6, documents=0.4
    ),
    Fault(
        name="store_truncates", act=documents.store_truncates, does="object storage cuts bodies short for 6 s",
        lasts=6, documents=0.4,
    ),
    Fault(
        name="hostile", act=documents.hostile, does="documents that kill their child or fill its memory", lasts=6,
        documents=0.4, hostile=0.1,
    ),
    Fault(
        name="bad_receiver", act=documents.bad_receiver, does="webhooks refused or reset for 4 s", lasts=4,
        documents=0.4,
    ),
)  # fmt: skip

MIXED_DOES = "all of these but none, poison, old code and fail-overs, two at a time, in random order"
MIXED_DOCUMENTS, MIXED_HOSTILE = 0.08, 0.02
"""Shares of the mixed schedule."""

SERVER_FAULTS = frozenset(
    {
        "flushall", "restart_valkey", "lose_valkey", "full_valkey", "restart_postgres", "crash_postgres",
        "long_outage", "kill_connections", "full_pool", "lock_table", "lock_rows", "read_only", "disk_full",
    }
)  # fmt: skip
"""Faults of the servers themselves: one at a time, also in the mixed schedule."""

FAIL_OVERS = (
    Fault(
        name="sentinel_failover",
        does="the master behind three Sentinels killed; the replica that takes over lacks the last writes",
        act=masters.kill_master,
        mixes=False,
        deployment=SentinelDeployment,
    ),
    Fault(
        name="cluster_node_kill",
        does="the Cluster's node with our keys killed; the replica that takes over lacks the last writes",
        act=masters.kill_master,
        mixes=False,
        deployment=partial(ClusterDeployment, replicas=True),
    ),
)
"""Faults of servers that the others do not need; each has its own, and servers are called dead after a second."""

BY_NAME = {fault.name: fault for fault in (*FAULTS, *FAIL_OVERS)}

Unavailable = (psycopg.Error, redis.RedisError, OSError, psutil.Error)
"""What an action may raise when another fault is at work at the same time."""
