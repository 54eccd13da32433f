"""What was measured, as tables for people and as JSON for machines. Says whatever came out, good or bad."""

from __future__ import annotations

from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import batches, ingestion, noop, overhead, pickup, posts, waiting
from tests.bench.contenders import Ledger


def machine(console: Console, about: dict[str, Any]) -> None:
    """One paragraph: the numbers mean nothing without it."""
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    durable = ", ".join(f"{name} {value}" for name, value in about["durability"].items())
    console.print(
        f"[bold]{about['processor']}[/bold], {about['cores']} cores, {about['system']}, Python {about['python']}; "
        f"load average at the start {about['load_average']}; one fsync {about['fsync_milliseconds']} ms\n"
        f"PostgreSQL {about['postgresql']} ({durable}), Valkey {about['valkey']}; {packages}",
        highlight=False,
    )


def noop_table(console: Console, rates: noop.Rates) -> None:
    rounds = len(rates[Ledger.name])
    best = median(noop.raw_best(rates))
    table = Table(title="No-op jobs per second (2 processes; 8 threads where nothing is said)")
    table.add_column("")
    for number in range(rounds):
        table.add_column(f"round {number + 1}", justify="right")
    table.add_column("median", justify="right", style="bold")
    table.add_column("times raw's best", justify="right")
    table.add_column("CPU µs per job", justify="right")
    for name, values in rates.items():
        middle = median(value.rate for value in values)
        used = noop.cpu_median(values)
        table.add_row(
            name + (", every step in PostgreSQL" if name == Ledger.name else ""),
            *(f"{value.rate:,.0f}" for value in values),
            f"{middle:,.0f}",
            f"{middle / best:.2f}",
            "-" if used is None else f"{used:,.0f}",
        )
    console.print(table)
    _verdict(console, "ours / raw's best, round by round", noop.ratios(rates), noop.GOAL)


def posts_table(console: Console, results: posts.Posted) -> None:
    table = Table(title="Durable authenticated submissions per second (POST /api/documents/process)")
    table.add_column("")
    for number in range(len(results[posts.OURS])):
        table.add_column(f"round {number + 1}", justify="right")
    for heading in ("median", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for name, loaded in results.items():
        p50, p99 = posts.latency_milliseconds(loaded)
        table.add_row(
            name,
            *(f"{each.rate:,.0f}" for each in loaded),
            f"{median(each.rate for each in loaded):,.0f}",
            f"{p50:.1f}",
            f"{p99:.1f}",
        )
    console.print(table)
    _verdict(console, "ours / bare view, round by round", posts.ratios(results), posts.GOAL)


def pickup_table(console: Console, results: dict[str, pickup.Idle]) -> None:
    table = Table(title="Idle workers: from just before send() to the actor's first line, and what idling costs")
    table.add_column("")
    for heading in ("p50 ms", "p95 ms", "p99 ms", "Redis commands/s", "PostgreSQL commits/s"):
        table.add_column(heading, justify="right")
    for name, idle in results.items():
        commits = "-" if idle.database_commits is None else f"{idle.database_commits:.1f}"
        percentiles = (f"{value:.1f}" for value in idle.percentiles())
        table.add_row(name, *percentiles, f"{idle.redis_commands_per_second:.1f}", commits)
    console.print(table)
    p50, _, p99 = results[Ledger.name].percentiles()
    met = p50 <= pickup.GOAL_P50_MS and p99 <= pickup.GOAL_P99_MS
    console.print(
        f"goal p50 ≤ {pickup.GOAL_P50_MS:g} ms, p99 ≤ {pickup.GOAL_P99_MS:g} ms: {_word(met)}\n", highlight=False
    )


def ingestion_table(console: Console, results: ingestion.Results) -> None:
    table = Table(
        title="Documents per second (small PDF, DOCX and HTML; from the first POST to the last stored result)"
    )
    table.add_column("")
    for number in range(len(results[ingestion.OURS])):
        table.add_column(f"round {number + 1}", justify="right")
    table.add_column("median", justify="right", style="bold")
    for name, values in results.items():
        rates = [each.rate for each in values]
        table.add_row(name, *(f"{rate:,.0f}" for rate in rates), f"{median(rates):,.0f}")
    console.print(table)
    steps = ", ".join(f"{step} {used:.1f}" for step, used in ingestion.step_medians(results).items())
    for name, values in results.items():
        used = ingestion.cpu_medians(values)
        parts = ", ".join(f"{part} {each:.2f}" for part, each in used.items())
        total = sum(used.values())
        console.print(f"processor milliseconds of one document, {name}: {total:.2f} ({parts})", highlight=False)
    console.print(f"milliseconds of each step by the clock, waiting for a core included: {steps}", highlight=False)
    by_processor = ", ".join(f"{ratio:.2f}" for ratio in ingestion.cpu_ratios(results))
    console.print(f"bare loop / ours by processor time, round by round: {by_processor}", highlight=False)
    _verdict(console, "ours / bare loop, round by round", ingestion.ratios(results), ingestion.GOAL)


def overhead_table(console: Console, rates: noop.Rates) -> None:
    table = Table(title="No-op jobs per second of this service, watched and not")
    table.add_column("")
    for number in range(len(rates[overhead.WATCHED])):
        table.add_column(f"pair {number + 1}", justify="right")
    for heading in ("median", "CPU µs per job"):
        table.add_column(heading, justify="right")
    for name, values in rates.items():
        used = noop.cpu_median(values)
        table.add_row(
            name,
            *(f"{value.rate:,.0f}" for value in values),
            f"{median(value.rate for value in values):,.0f}",
            "-" if used is None else f"{used:,.0f}",
        )
    console.print(table)
    more = overhead.more_cpu(rates)
    if more is not None:
        console.print(f"processor time of a job, watched: {more:+.1%}", highlight=False)
    _verdict(console, "watched / not watched, pair by pair", overhead.ratios(rates), overhead.GOAL)


def batch_table(console: Console, rounds: list[batches.Round]) -> None:
    table = Table(title="Documents per second, submitted a thousand at a time and one by one")
    table.add_column("")
    for number in range(len(rounds)):
        table.add_column(f"round {number + 1}", justify="right")
    table.add_column("median", justify="right", style="bold")
    columns = {"POST /api/documents/batch": "batched", "POST /api/documents/process": "single"}
    for name, rates in ((name, [getattr(each, column) for each in rounds]) for name, column in columns.items()):
        table.add_row(name, *(f"{rate:,.0f}" for rate in rates), f"{median(rates):,.0f}")
    console.print(table)
    rate = median(each.batched for each in rounds)
    took = median(value for each in rounds for value in each.milliseconds)
    console.print(
        f"{rate:,.0f} documents/s; goal ≥ {batches.GOAL_RATE:,}: {_word(rate >= batches.GOAL_RATE)}; "
        f"one batch, with {batches.CONNECTIONS} under way: {took:,.0f} ms",
        highlight=False,
    )
    for name, used in batches.cpu_medians(rounds).items():
        listed = ", ".join(f"{part} {each:,.0f}" for part, each in used.items())
        console.print(f"processor microseconds of one document, {name}: {listed}", highlight=False)
    _verdict(console, "batched / one by one, round by round", batches.ratios(rounds), batches.GOAL_RATIO)


def waiting_table(console: Console, waited: waiting.Waited) -> None:
    p50, p99 = waited.percentiles()
    console.print(
        f"?wait= beside {waiting.WAITERS} waiting requests, from the commit of a task's end to the answer: "
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms; goal ≤ {waiting.GOAL_MS:g} ms: {_word(p99 <= waiting.GOAL_MS)}\n"
        f"{waiting.WAITERS} tasks that end in one commit: p50 {median(waited.together):.1f} ms, "
        f"the last {max(waited.together):.1f} ms",
        highlight=False,
    )
    for name, rates in (("alone", waited.alone), ("beside them", waited.beside)):
        listed = ", ".join(f"{rate:,.0f}" for rate in rates)
        console.print(f"submissions per second, {name}: {listed}", highlight=False)
    listed = ", ".join(f"{ratio:.2f}" for ratio in waited.ratios())
    console.print(f"beside / alone, round by round: {listed}; median {median(waited.ratios()):.2f}\n", highlight=False)


def _verdict(console: Console, what: str, ratios: list[float], goal: float) -> None:
    middle = median(ratios)
    listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    console.print(
        f"{what}: {listed}; median [bold]{middle:.2f}[/bold]; goal ≥ {goal}: {_word(middle >= goal)}\n",
        highlight=False,
    )


def _word(met: bool) -> str:
    return "[green]met[/green]" if met else "[red]not met here[/red]"
