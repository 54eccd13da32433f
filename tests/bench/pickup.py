"""How soon an idle worker starts a job, and what idling costs the broker and the database."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import quantiles

import psycopg
import redis

from tests import servers as test_servers
from tests.bench.apps.pinging import WARM_UP
from tests.bench.contenders import Contender, Ledger, Raw
from tests.bench.environment import Servers, python

GOAL_P50_MS, GOAL_P99_MS = 10.0, 50.0
"""As the design promises."""

_KEY = "bench:latencies"
_START_SECONDS = 60.0
_LAST_SECONDS = 30.0
_SETTLE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Idle:
    """Latencies from just before the send to the actor's first line, and the commands of idle workers."""

    latencies_ms: tuple[float, ...]
    redis_commands: dict[str, float]
    """Per second, by name."""
    database_commits: float | None
    """Per second; None where there is no database."""

    def percentiles(self) -> tuple[float, float, float]:
        """p50, p95 and p99 in milliseconds."""
        cuts = quantiles(self.latencies_ms, n=100, method="inclusive")
        return cuts[49], cuts[94], cuts[98]

    @property
    def redis_commands_per_second(self) -> float:
        return sum(self.redis_commands.values())


def run(servers: Servers, *, jobs: int, idle_seconds: float, progress: Callable[[str], None]) -> dict[str, Idle]:
    """Measure ours, then stock Dramatiq, each with two processes of eight threads."""
    ledger, stock = Ledger(servers), Raw(servers, threads=8)
    ledger.prepare()
    return {
        ledger.name: _measure(
            ledger, "tests.bench.apps.ledger.fill", jobs, idle_seconds, progress, database=ledger.database
        ),
        "stock Dramatiq": _measure(stock, "tests.bench.apps.raw", jobs, idle_seconds, progress),
    }


def _measure(
    contender: Contender, sender: str, jobs: int, idle_seconds: float, progress: Callable[[str], None],
    *, database: str | None = None,
) -> Idle:  # fmt: skip
    contender.fill(0)
    with ExitStack() as stack:
        client = stack.enter_context(contender.servers.redis())
        workers = [stack.enter_context(worker) for worker in contender.workers()]

        def booted() -> bool:
            for worker in workers:
                worker.require_alive()
            return contender.all_booted(workers)

        test_servers.wait_until(booted, seconds=_START_SECONDS, what=f"workers of {contender.name}")
        time.sleep(_SETTLE_SECONDS)
        progress(f"pick-up by idle workers: {contender.name}, {jobs} jobs")
        contender.run(*python("-m", sender, "ping", str(jobs)))
        latencies = _latencies(client, WARM_UP + jobs)
        progress(f"idling for {idle_seconds:g} s: {contender.name}")
        time.sleep(_SETTLE_SECONDS)
        commands, commits = _idle(contender.servers, client, idle_seconds, database)
    return Idle(latencies_ms=latencies[WARM_UP:], redis_commands=commands, database_commits=commits)


def _latencies(client: redis.Redis, count: int) -> tuple[float, ...]:
    """Milliseconds, in the order in which the jobs started."""
    test_servers.wait_until(lambda: client.llen(_KEY) >= count, seconds=_LAST_SECONDS, what=f"{count} jobs to start")
    return tuple(float(value) * 1000 for value in client.lrange(_KEY, 0, -1))


def _idle(
    servers: Servers, client: redis.Redis, seconds: float, database: str | None
) -> tuple[dict[str, float], float | None]:
    """Redis commands per second by name, and commits per second, while nothing happens."""
    commands, commits, started = _commands(client), _commits(servers, database), time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - started
    later = _commands(client)
    later.subtract(commands)
    rates = {name: count / passed for name, count in later.items() if count and name != "info"}
    if commits is None:
        return rates, None
    # One connection and one query of ours lie between the two counts.
    return rates, max(0.0, (_commits(servers, database) or 0) - commits - 1) / passed


def _commands(client: redis.Redis) -> Counter[str]:
    stats = client.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): int(value["calls"]) for name, value in stats.items()})


def _commits(servers: Servers, database: str | None) -> int | None:
    if database is None:
        return None
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        row = connection.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = %s", [database]).fetchone()
    return int(row[0]) if row else None


def summary(results: dict[str, Idle]) -> dict[str, object]:
    """What the JSON report says."""
    return {
        name: {
            "latency_ms_p50_p95_p99": idle.percentiles(),
            "latencies_ms": [round(value, 2) for value in idle.latencies_ms],
            "redis_commands_per_second": idle.redis_commands_per_second,
            "redis_commands": idle.redis_commands,
            "database_commits_per_second": idle.database_commits,
        }
        for name, idle in results.items()
    } | {"goal_ms_p50_p99": (GOAL_P50_MS, GOAL_P99_MS)}
