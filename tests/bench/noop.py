"""No-op jobs per second: contenders interleaved in rounds, so that a slow minute of the machine hits them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median

from tests.bench import drain, machine
from tests.bench.contenders import Audited, CeleryPrefork, Contender, Ledger, Procrastinate, Raw
from tests.bench.environment import Servers

RAW_THREADS = (8, 16, 32)
GOAL = 1.2
"""Times raw Dramatiq's best, as the design promises."""

Rates = dict[str, list[drain.Drained]]
"""Every round's drain, by contender."""


def contenders(servers: Servers, *, raw_threads: Sequence[int] = RAW_THREADS) -> list[Contender]:
    """Ours first; the peers behind it."""
    raw = [Raw(servers, threads=threads) for threads in raw_threads]
    return [Ledger(servers), *raw, Audited(servers), CeleryPrefork(servers), Procrastinate(servers)]


def run_once(contender: Contender, *, jobs: int) -> drain.Drained:
    """Fill, start the workers, time the drain, check the outcome, stop the workers."""
    contender.fill(jobs)
    with ExitStack() as stack:
        workers = [stack.enter_context(worker) for worker in contender.workers()]

        def done() -> int:
            for worker in workers:
                worker.require_alive()
            return contender.done(jobs)

        drained = drain.measure(
            jobs=jobs,
            done=done,
            all_running=lambda: contender.all_running(workers),
            every=contender.every,
            cpu=machine.children_cpu_seconds,
        )
        contender.check(jobs)
    return drained


def run(
    servers: Servers,
    *,
    rounds: int,
    jobs: int,
    progress: Callable[[str], None],
    raw_threads: Sequence[int] = RAW_THREADS,
) -> Rates:
    """Measure every contender once per round; each round begins with another one."""
    everyone = contenders(servers, raw_threads=raw_threads)
    rates: Rates = {contender.name: [] for contender in everyone}
    for contender in everyone:
        progress(f"preparing {contender.name}")
        contender.prepare()
    for number in range(rounds):
        turn = number % len(everyone)
        for contender in everyone[turn:] + everyone[:turn]:
            progress(f"no-op jobs, round {number + 1} of {rounds}: {contender.name}")
            drained = run_once(contender, jobs=max(200, int(jobs * contender.share)))
            rates[contender.name].append(drained)
    return rates


def raw_best(rates: Rates) -> list[float]:
    """Raw Dramatiq's best thread count of each round, in jobs per second."""
    raw = [[drained.rate for drained in values] for name, values in rates.items() if name.startswith("raw ")]
    return [max(values) for values in zip(*raw, strict=True)]


def ratios(rates: Rates) -> list[float]:
    """Ours divided by raw's best, round by round."""
    return [ours.rate / best for ours, best in zip(rates[Ledger.name], raw_best(rates), strict=True)]


def cpu_median(values: Sequence[drain.Drained]) -> float | None:
    """Processor microseconds per job; None where they cannot be read."""
    known = [used for value in values if (used := value.cpu_microseconds) is not None]
    return median(known) if known else None


def summary(rates: Rates) -> dict[str, object]:
    """What the JSON report says."""
    return {
        "unit": "jobs per second",
        "rounds": {name: [round(value.rate, 1) for value in values] for name, values in rates.items()},
        "median": {name: median(value.rate for value in values) for name, values in rates.items()},
        "cpu_microseconds_per_job": {name: cpu_median(values) for name, values in rates.items()},
        "raw_best": raw_best(rates),
        "ratio_to_raw_best": ratios(rates),
        "ratio_to_raw_best_median": median(ratios(rates)),
        "goal": GOAL,
    }
