"""How long a tenant's single jobs wait while another has thousands in line, without and with a concurrency limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

import psycopg

from tests import servers as test_servers
from tests.bench.apps.pinging import WARM_UP
from tests.bench.contenders import Ledger, WrongOutcome
from tests.bench.environment import Servers, python

GOAL_SECONDS = 3.0
"""The longest wait of the guest, at the same priority."""
_KEY = "bench:latencies"
_START_SECONDS = 60.0
_SETTLE_SECONDS = 3.0
_LOOK_SECONDS = 0.05
_RUNNING = "SELECT partition_key, count(*) FROM queueadmin_job WHERE state = 'processing' GROUP BY partition_key"
_DONE = "SELECT partition_key, count(*) FROM queueadmin_job WHERE state = 'completed' GROUP BY partition_key"


@dataclass(frozen=True, kw_only=True)
class Waits:
    """Seconds from just before each send of the guest to its first line; what the others ran meanwhile.

    `most`: tenant -> the most jobs that were seen claimed at once, those in a worker's lookahead included.
    `rates`: tenant -> jobs per second.
    """

    seconds: tuple[float, ...]
    most: Mapping[str, int]
    rates: Mapping[str, float]

    @property
    def middle(self) -> float:
        return median(self.seconds)

    @property
    def longest(self) -> float:
        return max(self.seconds)


def run(servers: Servers, *, waiting: int, guests: int, progress: Callable[[str], None]) -> dict[str, Waits]:
    """Measure with two processes of eight threads; the large tenant has `waiting` jobs of 0.1 s, the small a tenth."""
    ledger = Ledger(servers)
    ledger.prepare()
    return {
        "no limit": _measure(ledger, None, waiting, guests, progress),
        "large limited to 4": _measure(ledger, 4, waiting, guests, progress),
    }


def _measure(ledger: Ledger, limit: int | None, waiting: int, guests: int, progress: Callable[[str], None]) -> Waits:
    ledger.client.flushall()
    ledger.empty()
    ledger.connection.execute("TRUNCATE queueadmin_partitionlimit")
    if limit is not None:
        ledger.run(*python("manage.py", "queue", "limit", str(limit), "--partition", "large"))
    ledger.run(*python("-m", "tests.bench.apps.ledger.fill", "flood", str(waiting)))
    with ExitStack() as stack:
        workers = [stack.enter_context(worker) for worker in ledger.workers()]
        test_servers.wait_until(lambda: ledger.all_booted(workers), seconds=_START_SECONDS, what="the workers to boot")
        time.sleep(_SETTLE_SECONDS)
        progress(f"{guests} single jobs beside {waiting} waiting ones, limit {limit}")
        with _Watch(ledger) as watch:
            ledger.run(*python("-m", "tests.bench.apps.ledger.fill", "guest", str(guests)))
            wanted = WARM_UP + guests
            test_servers.wait_until(
                lambda: ledger.client.llen(_KEY) >= wanted, seconds=30, what="the guest's jobs to start"
            )
        found = [float(value) for value in ledger.client.lrange(_KEY, 0, -1)]
    if limit is not None and watch.most["large"] > limit:
        raise WrongOutcome(f"{watch.most['large']} jobs of the large tenant ran at once; its limit is {limit}")
    return Waits(seconds=tuple(found[WARM_UP:]), most=watch.most, rates=watch.rates)


class _Watch:
    """Looks at what each tenant runs, again and again, from a connection of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self.most: dict[str, int] = {"large": 0, "small": 0}
        self.rates: dict[str, float] = {}
        self._ledger = ledger
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Watch:
        self._began, self._before = time.perf_counter(), self._done()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        seconds, after = time.perf_counter() - self._began, self._done()
        self.rates = {tenant: (after[tenant] - self._before[tenant]) / seconds for tenant in self.most}

    def _look(self) -> None:
        with psycopg.connect(self._ledger.servers.database(self._ledger.database), autocommit=True) as connection:
            while not self._over.wait(_LOOK_SECONDS):
                rows = connection.execute(_RUNNING).fetchall()
                self.most |= {tenant: max(self.most[tenant], n) for tenant, n in rows if tenant in self.most}

    def _done(self) -> dict[str, int]:
        rows = self._ledger.connection.execute(_DONE).fetchall()
        return dict.fromkeys(self.most, 0) | {str(tenant): int(n) for tenant, n in rows}


def summary(results: dict[str, Waits]) -> dict[str, object]:
    """What the JSON report says."""
    return {
        name: {
            "median_seconds": waits.middle,
            "longest_seconds": waits.longest,
            "most_running": waits.most,
            "jobs_per_second": waits.rates,
        }
        for name, waits in results.items()
    } | {"goal_longest_seconds": GOAL_SECONDS}
