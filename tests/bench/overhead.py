"""What being watched costs: no-op jobs per second with metrics and logs as shipped, beside the same without them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from statistics import median

import httpx

from ingestion_site.embedded.web import web_command
from tests import servers as test_servers
from tests.bench import noop
from tests.bench.contenders import Ledger
from tests.bench.environment import Process, Servers

GOAL = 0.95
"""Times the rate without metrics and logs: they may cost 5 %."""

WATCHED, UNWATCHED = "watched", "not watched"
SCRAPE_SECONDS = 5.0
"""Three times as often as Prometheus is told to in docs/operations.md."""

_TOKEN = "a-token-for-the-benchmark"


class Watched(Ledger):
    """As shipped, with JSON logs, durations measured, and a scraper."""

    name = WATCHED

    @property
    def environment(self) -> Mapping[str, str]:
        return {**super().environment, "METRICS_TOKEN": _TOKEN, "LOG_FORMAT": "json"}


class Unwatched(Ledger):
    """Durations are not measured, nothing is logged that is not critical, and nobody scrapes."""

    name = UNWATCHED

    @property
    def environment(self) -> Mapping[str, str]:
        quiet = {"DJANGO_SETTINGS_MODULE": "tests.bench.apps.ledger.quiet_settings", "LOG_LEVEL": "CRITICAL"}
        return {**super().environment, **quiet}


def run(servers: Servers, *, pairs: int, jobs: int, progress: Callable[[str], None]) -> noop.Rates:
    """Measure both in turns; each pair begins with the other one. The web server that is scraped runs all the time."""
    watched, unwatched = Watched(servers), Unwatched(servers)
    progress("preparing the overhead of metrics and logs")
    watched.prepare()
    rates: noop.Rates = {WATCHED: [], UNWATCHED: []}
    with ExitStack() as stack:
        url = _serve(stack, watched)
        for number in range(pairs):
            for contender in (watched, unwatched) if number % 2 == 0 else (unwatched, watched):
                progress(f"overhead, pair {number + 1} of {pairs}: {contender.name}")
                with _scraping(url) if contender is watched else ExitStack():
                    rates[contender.name].append(noop.run_once(contender, jobs=jobs))
    return rates


def _serve(stack: ExitStack, ledger: Ledger) -> str:
    port = test_servers.free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    process = stack.enter_context(Process("web", web_command("127.0.0.1", port), ledger.environment))

    def answers() -> bool:
        process.require_alive()
        with suppress(httpx.HTTPError):
            return _scrape(url) > 0
        return False

    test_servers.wait_until(answers, seconds=60, what="/metrics")
    return url


def _scrape(url: str) -> int:
    """Bytes of one scrape."""
    response = httpx.get(url, headers={"Authorization": f"Bearer {_TOKEN}"}, timeout=30)
    return len(response.raise_for_status().content)


@contextmanager
def _scraping(url: str) -> Iterator[None]:
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(SCRAPE_SECONDS):
            _scrape(url)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def ratios(rates: noop.Rates) -> list[float]:
    """Watched divided by not watched, pair by pair."""
    return [seen.rate / unseen.rate for seen, unseen in zip(rates[WATCHED], rates[UNWATCHED], strict=True)]


def more_cpu(rates: noop.Rates) -> float | None:
    """How much more processor time a watched job takes, as a part of one that is not; None where it is unknown."""
    seen, unseen = noop.cpu_median(rates[WATCHED]), noop.cpu_median(rates[UNWATCHED])
    return None if seen is None or unseen is None else seen / unseen - 1


def summary(rates: noop.Rates) -> dict[str, object]:
    """What the JSON report says."""
    return {
        "unit": "jobs per second",
        "pairs": {name: [round(value.rate, 1) for value in values] for name, values in rates.items()},
        "median": {name: median(value.rate for value in values) for name, values in rates.items()},
        "cpu_microseconds_per_job": {name: noop.cpu_median(values) for name, values in rates.items()},
        "more_cpu": more_cpu(rates),
        "ratio": ratios(rates),
        "ratio_median": median(ratios(rates)),
        "goal": GOAL,
    }
