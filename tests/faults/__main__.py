"""`python -m tests.faults`, which is `make faults`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.faults import report
from tests.faults.catalogue import BY_NAME
from tests.faults.runner import MIXED, Campaign
from tests.faults.world import LEDGER, STOCK, servers_started, world
from tests.redis_servers import Replicated
from tests.servers import PostgresServer, ValkeyServer


def main(arguments: Sequence[str]) -> int:
    """Break things, print what it cost; 1 when this service lost or doubled anything, or left something behind."""
    options = _parser().parse_args(arguments)
    names = options.only.split(",") if options.only else [*BY_NAME, MIXED]
    if unknown := sorted(set(names) - {*BY_NAME, MIXED}):
        print(f"Unknown faults: {', '.join(unknown)}. Known: {', '.join([*BY_NAME, MIXED])}.", file=sys.stderr)  # noqa: T201  # a command's answer
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that was started is stopped
    console = Console(width=None if sys.stdout.isatty() else 150)
    results: dict[str, list[report.Row]] = {}
    with servers_started() as started:
        for kind in [STOCK] if options.only_stock else [LEDGER, *([STOCK] if options.stock else [])]:
            settings = {"seed": options.seed, "jobs": options.jobs, "console": console}
            with world(kind, *started) as made:
                campaign = Campaign(made, **settings)
                results[kind] = [campaign.run(name) for name in names if not _deployment(name)]
            if kind == LEDGER:
                results[kind] += [_fail_over(name, *started, **settings) for name in names if _deployment(name)]
    report.table(console, results)
    if options.out:
        options.out.write_text(json.dumps(report.as_json(results, seed=options.seed, jobs=options.jobs), indent=2))
    console.print(report.last_line(results.get(LEDGER) or results[STOCK]))
    return 0 if all(row.is_clean for row in results.get(LEDGER, [])) else 1


def _deployment(name: str) -> Callable[[], Replicated] | None:
    return BY_NAME[name].deployment if name in BY_NAME else None


def _fail_over(name: str, valkey: ValkeyServer, postgres: PostgresServer, **settings: Any) -> report.Row:
    """A fault of a Redis of its own, in a world around that."""
    make = _deployment(name)
    assert make is not None
    with make() as deployment, world(LEDGER, valkey, postgres, deployment) as made:
        return Campaign(made, **settings).run(name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make faults", description="Break everything around the queue, and count.")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule and of the jobs")
    parser.add_argument(
        "--jobs", type=int, default=10_000, help="jobs of the mixed schedule; a single fault gets a thirtieth of them"
    )
    parser.add_argument("--stock", action="store_true", help="the same faults against stock Dramatiq, beside")
    parser.add_argument("--only-stock", action="store_true", help="stock alone, to repeat its part of a run")
    parser.add_argument("--only", default="", help=f"faults, by commas: {', '.join([*BY_NAME, MIXED])}")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
