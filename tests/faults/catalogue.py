"""The faults, by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import psutil
import psycopg
import redis

from tests.faults.strikes import masters, postgres, valkey, workers
from tests.faults.world import World
from tests.redis_servers import ClusterDeployment, Replicated, SentinelDeployment

Action = Callable[[World, random.Random], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of fault. `mixes` says whether the mixed schedule may draw it."""

    name: str
    does: str
    act: Action
    mixes: bool = True
    actor: str = "work"
    """Of the jobs that are submitted meanwhile."""

    lasts: float = 5.0
    """Seconds that it takes, about: submissions go on for longer."""

    deployment: Callable[[], Replicated] | None = None
    """Makes the Redis that it strikes, in a world of its own; the service alone, not stock."""


def _fault(name: str, act: Action, does: str, lasts: float = 5.0, *, mixes: bool = True, actor: str = "work") -> Fault:
    return Fault(name=name, act=act, does=does, lasts=lasts, mixes=mixes, actor=actor)


FAULTS = (
    _fault("none", lambda world, dice: None, "nothing", mixes=False),
    _fault("kill_worker", workers.kill_worker, "SIGKILL of a worker", 3),
    _fault("kill_leader", workers.kill_leader, "SIGKILL of the process that leads the dispatcher", 3),
    _fault("pause_worker", workers.pause_worker, "SIGSTOP of a worker for 14 s, then SIGCONT", 14),
    _fault("pause_shortly", workers.pause_worker_shortly, "SIGSTOP of a worker for 4 s, then SIGCONT"),
    _fault("deploys", workers.deploy, "SIGTERM to every worker, twice in a row", 20),
    _fault("kill_client", workers.kill_client, "SIGKILL of the submitter between commit and publish"),
    _fault("poison", workers.poison, "two jobs that kill their process", 20, mixes=False),
    _fault("old_code", workers.old_code, "one of two workers lacks the actor", 20, mixes=False, actor="brand_new"),
    _fault("flushall", valkey.flushall, "FLUSHALL", 3),
    _fault("restart_valkey", valkey.restart_valkey, "Valkey restarted, with its data"),
    _fault("lose_valkey", valkey.kill_valkey_empty, "Valkey killed and its data lost"),
    _fault("full_valkey", valkey.redis_full, "Valkey out of memory for 6 s", 6),
    _fault("cut_valkey", valkey.cut_redis, "connections to Valkey cut, ten times"),
    _fault("hold_valkey", valkey.hold_redis, "Valkey half-open for 6 s", 6),
    _fault("slow_valkey", valkey.slow_redis, "0.3 s more each way to Valkey for 5 s", 5),
    _fault("drop_publish", valkey.drop_publish, "replies to publishing lost", 3),
    _fault("drop_pop", valkey.drop_pop, "replies to fetching lost", 3),
    _fault("restart_postgres", postgres.restart_postgres, "PostgreSQL restarted"),
    _fault("crash_postgres", postgres.crash_postgres, "PostgreSQL crashed, recovers"),
    _fault("long_outage", postgres.long_outage, "PostgreSQL away for 15 s", 15),
    _fault("kill_connections", postgres.kill_connections, "all database connections killed, five times"),
    _fault("full_pool", postgres.full_pool, "no database connection to be had for 8 s", 8),
    _fault("lock_table", postgres.lock_table, "the table locked for 8 s", 8),
    _fault("lock_rows", postgres.lock_rows, "twenty live rows locked for 12 s", 12),
    _fault("read_only", postgres.read_only, "the database read-only for 7 s", 7),
    _fault("disk_full", postgres.disk_full, "PostgreSQL cannot write to its disk"),
    _fault("cut_postgres", postgres.cut_postgres, "connections to PostgreSQL cut, ten times"),
    _fault("hold_postgres", postgres.hold_postgres, "a worker's database connections half-open for 20 s", 20),
    _fault("slow_postgres", postgres.slow_postgres, "0.2 s more each way to PostgreSQL for 6 s", 6),
    _fault("isolate_worker", postgres.isolate_worker, "a worker cut off from both servers for 15 s", 15),
    _fault("drop_submit", postgres.drop_submit, "replies to submitting lost", 3),
    _fault("drop_claim", postgres.drop_claim, "replies to claiming lost", 3),
    _fault("drop_outcome", postgres.drop_outcome, "replies to outcomes lost", 3),
    _fault("drop_commit", postgres.drop_commit, "replies to COMMIT lost", 3),
)

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
