"""`python -m tests.faults`, which is `make faults`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tests.faults import report
from tests.faults.catalogue import BY_NAME
from tests.faults.findings import Findings
from tests.faults.runner import MIXED, SINGLE_SHARE, Campaign
from tests.faults.world import LEDGER, STOCK, servers_started, world
from tests.redis_servers import Replicated

_NUMBERS_APART = 1_000_000
"""Between the job numbers of two lanes."""


def main(arguments: Sequence[str]) -> int:
    """Break things, print what it cost; 1 when this service lost or doubled anything, or left something behind."""
    options = _parser().parse_args(arguments)
    names = options.only.split(",") if options.only else [*BY_NAME, MIXED]
    if unknown := sorted(set(names) - {*BY_NAME, MIXED}):
        print(f"Unknown faults: {', '.join(unknown)}. Known: {', '.join([*BY_NAME, MIXED])}.", file=sys.stderr)  # noqa: T201  # a command's answer
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that was started is stopped
    console = Console(width=None if sys.stdout.isatty() else 170)
    results: dict[str, dict[str, Findings]] = {}
    for kind in [STOCK] if options.only_stock else [LEDGER, *([STOCK] if options.stock else [])]:
        results[kind] = Run(kind, options.seed, options.jobs, options.lanes, console).all(names)
    report.table(console, results)
    if options.out:
        options.out.write_text(json.dumps(report.as_json(results, seed=options.seed, jobs=options.jobs), indent=2))
    ours = results.get(LEDGER, {})
    console.print(report.last_line(list((ours or results[STOCK]).values())))
    return report.exit_code(list(ours.values()))


class Run:
    """All chosen faults against one contender, single ones in `lanes` worlds side by side, the mixture alone."""

    def __init__(self, kind: str, seed: int, jobs: int, lanes: int, console: Console) -> None:
        self._kind, self._seed, self._jobs, self._lanes, self._console = kind, seed, jobs, lanes, console
        self._lock = threading.Lock()
        self._halt = threading.Event()

    def all(self, names: Sequence[str]) -> dict[str, Findings]:
        """Name -> what it cost, in the order of `names`; without those that say nothing of this contender."""
        names = [name for name in names if name == MIXED or self._kind == LEDGER or BY_NAME[name].stock]
        found = self._side_by_side([name for name in names if not self._is_alone(name)])
        for name in filter(self._is_alone, names):
            if name == MIXED:
                found |= self._one_lane(iter([name]), documents=True)
            else:
                make = BY_NAME[name].deployment
                assert make is not None
                with make() as replicated:
                    found |= self._one_lane(iter([name]), documents=False, deployment=replicated)
        return {name: found[name] for name in names}

    def _is_alone(self, name: str) -> bool:
        """Whether nothing else may run beside it: a world of its own, or this service's mixture, which is measured.

        Stock mostly waits for what it has lost.
        """
        return self._kind == LEDGER and (name == MIXED or BY_NAME[name].deployment is not None)

    def _side_by_side(self, names: Sequence[str]) -> dict[str, Findings]:
        documents = any(name != MIXED and BY_NAME[name].documents for name in names) and self._kind == LEDGER
        lanes, waiting = min(self._lanes, len(names)), iter(names)
        found: dict[str, Findings] = {}
        if lanes:
            with ThreadPoolExecutor(lanes) as pool:
                try:
                    for part in pool.map(
                        lambda lane: self._one_lane(waiting, documents=documents, lane=lane), range(lanes)
                    ):
                        found |= part
                except BaseException:
                    self._halt.set()  # every lane ends with the fault that it is at
                    raise
        return found

    def _one_lane(
        self, names: Iterator[str], *, documents: bool, lane: int = 0, deployment: Replicated | None = None
    ) -> dict[str, Findings]:
        """Take one name after the other until there are none left."""
        found: dict[str, Findings] = {}
        with (
            servers_started() as backends,
            world(self._kind, replace(backends, deployment=deployment), documents=documents, seed=self._seed) as made,
        ):
            campaign = Campaign(
                made, seed=self._seed, jobs=self._jobs, console=self._console, first=lane * _NUMBERS_APART
            )
            while (name := self._take(names)) is not None:
                found[name] = campaign.run(name)
        return found

    def _take(self, names: Iterator[str]) -> str | None:
        with self._lock:
            return None if self._halt.is_set() else next(names, None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make faults", description="Break everything around the queue, and count.")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule and of the jobs")
    parser.add_argument(
        "--jobs", type=int, default=10_000, help=f"jobs of the mixed schedule; a single fault gets 1/{SINGLE_SHARE}"
    )
    parser.add_argument("--lanes", type=int, default=1, help="worlds side by side, each with a single fault at a time")
    parser.add_argument("--stock", action="store_true", help="the same faults against stock Dramatiq, beside")
    parser.add_argument("--only-stock", action="store_true", help="stock alone, to repeat its part of a run")
    parser.add_argument("--only", default="", help=f"faults, by commas: {', '.join([*BY_NAME, MIXED])}")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
