"""How long a tenant's single jobs wait while another has thousands in line, without and with a concurrency limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from tests import servers as test_servers
from tests.bench.apps.pinging import WARM_UP
from tests.bench.contenders import Ledger
from tests.bench.environment import Servers, python

GOAL_SECONDS = 3.0
"""The longest wait of the guest, at the same priority."""
_KEY = "bench:latencies"
_START_SECONDS = 60.0
_SETTLE_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Waits:
    """Seconds from just before each send of the guest to its first line."""

    seconds: tuple[float, ...]

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
        ledger.run(*python("-m", "tests.bench.apps.ledger.fill", "guest", str(guests)))
        wanted = WARM_UP + guests
        test_servers.wait_until(
            lambda: ledger.client.llen(_KEY) >= wanted, seconds=30, what="the guest's jobs to start"
        )
        found = [float(value) for value in ledger.client.lrange(_KEY, 0, -1)]
    return Waits(seconds=tuple(found[WARM_UP:]))


def summary(results: dict[str, Waits]) -> dict[str, object]:
    """What the JSON report says."""
    return {
        name: {"median_seconds": waits.middle, "longest_seconds": waits.longest} for name, waits in results.items()
    } | {"goal_longest_seconds": GOAL_SECONDS}
