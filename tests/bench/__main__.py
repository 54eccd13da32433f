"""`python -m tests.bench`, which is `make bench`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.bench import (
    batches,
    environment,
    fairness,
    ingestion,
    machine,
    noop,
    overhead,
    pickup,
    posts,
    report,
    waiting,
)

PARTS = ("noop", "posts", "pickup", "documents", "overhead", "fairness", "batch", "waiting")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much to measure."""

    only: tuple[str, ...]
    rounds: int
    jobs: int
    posts: int
    pickups: int
    documents: int
    batches: int
    idle_seconds: float
    raw_threads: tuple[int, ...]


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write the JSON report; returns the exit code, which says nothing about the goals."""
    options = _parser().parse_args(arguments)
    plan = _plan(options)
    console = Console()
    results: dict[str, Any] = {}
    with console.status("starting PostgreSQL and Valkey") as status, environment.started() as servers:
        results["machine"] = machine.describe(servers)
        report.machine(console, results["machine"])
        for part in plan.only:
            results[part] = _STEPS[part](servers, plan, console, _progress(console, status.update))
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")
        console.print(f"Written to {options.out}")
    return 0


def _progress(console: Console, show: Callable[[str], None]) -> Callable[[str], None]:
    """A spinner on a terminal; lines where the output goes to a file."""
    return show if console.is_terminal else lambda text: console.print(text, style="dim")


def _noop(servers: environment.Servers, plan: Plan, console: Console, progress: Callable[[str], None]) -> Any:
    rates = noop.run(servers, rounds=plan.rounds, jobs=plan.jobs, progress=progress, raw_threads=plan.raw_threads)
    report.noop_table(console, rates)
    return noop.summary(rates)


def _posts(servers: environment.Servers, plan: Plan, console: Console, progress: Callable[[str], None]) -> Any:
    results = posts.run(servers, rounds=plan.rounds, posts=plan.posts, progress=progress)
    report.posts_table(console, results)
    return posts.summary(results)


def _pickup(servers: environment.Servers, plan: Plan, console: Console, progress: Callable[[str], None]) -> Any:
    results = pickup.run(servers, jobs=plan.pickups, idle_seconds=plan.idle_seconds, progress=progress)
    report.pickup_table(console, results)
    return pickup.summary(results)


def _documents(servers: environment.Servers, plan: Plan, console: Console, progress: Callable[[str], None]) -> Any:
    results = ingestion.run(servers, rounds=plan.rounds, documents=plan.documents, progress=progress)
    report.ingestion_table(console, results)
    return ingestion.summary(results)


def _overhead(servers: environment.Servers, plan: Plan, console: Console, progress: Callable[[str], None]) -> Any:
    rates = overhead.run(servers, pairs=2 * plan.rounds, jobs=plan.jobs, progress=progress)
    report.overhead_table(console, rates)
    return overhead.summary(rates)


def _fairness(servers: environment.Servers, plan: Plan, console: Console, progress: Callable[[str], None]) -> Any:
    results = fairness.run(servers, waiting=10_000, guests=min(50, plan.pickups), progress=progress)
    for name, waits in results.items():
        console.print(
            f"a guest's single job beside 10,000 and 1,000 waiting ones, {name}: median {waits.middle:.3f} s, "
            f"longest {waits.longest:.3f} s; goal ≤ {fairness.GOAL_SECONDS:g} s",
            highlight=False,
        )
        for tenant, rate in waits.rates.items():
            console.print(
                f"  the {tenant} tenant meanwhile: {rate:.0f} jobs/s, at most {waits.most[tenant]} claimed at once",
                highlight=False,
            )
    return fairness.summary(results)


def _batch(servers: environment.Servers, plan: Plan, console: Console, progress: Callable[[str], None]) -> Any:
    rounds = batches.run(servers, rounds=plan.rounds, batches=plan.batches, count=plan.posts, progress=progress)
    report.batch_table(console, rounds)
    return batches.summary(rounds)


def _waiting(servers: environment.Servers, plan: Plan, console: Console, progress: Callable[[str], None]) -> Any:
    waited = waiting.run(servers, rounds=plan.rounds, ends=plan.pickups, count=plan.posts, progress=progress)
    report.waiting_table(console, waited)
    return waiting.summary(waited)


_STEPS = {
    "noop": _noop,
    "posts": _posts,
    "pickup": _pickup,
    "documents": _documents,
    "overhead": _overhead,
    "fairness": _fairness,
    "batch": _batch,
    "waiting": _waiting,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench", description="Measure this service beside its peers on real, durable servers."
    )
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, by commas: {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=_positive, help="interleaved rounds (3)")
    parser.add_argument("--jobs", type=_positive, help="no-op jobs of a fast contender per round (20,000)")
    parser.add_argument("--posts", type=_positive, help="submissions per server and round (3,000)")
    parser.add_argument("--pickups", type=_positive, help="jobs sent to idle workers, ends waited for (200)")
    parser.add_argument("--documents", type=_positive, help="documents per round (1,200)")
    parser.add_argument("--batches", type=_positive, help="batches of 1,000 documents per round (40)")
    parser.add_argument("--quick", action="store_true", help="one small round, to see that it works; proves nothing")
    parser.add_argument("--out", type=Path, help="also write the results to this JSON file")
    return parser


def _plan(options: argparse.Namespace) -> Plan:
    only = tuple(part.strip() for part in options.only.split(",") if part.strip())
    if not only or set(only) - set(PARTS):
        sys.exit(f"ONLY must name some of {', '.join(PARTS)}, by commas (it is {options.only!r}).")
    quick = options.quick
    return Plan(
        only=only,
        rounds=options.rounds or (1 if quick else 3),
        jobs=options.jobs or (4_000 if quick else 20_000),
        posts=options.posts or (300 if quick else 3_000),
        pickups=options.pickups or (20 if quick else 200),
        documents=options.documents or (120 if quick else 1_200),
        batches=options.batches or (4 if quick else 40),
        idle_seconds=2.0 if quick else 10.0,
        raw_threads=(8,) if quick else noop.RAW_THREADS,
    )


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
