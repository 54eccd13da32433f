"""Durable, authenticated submissions per second: the shipped API beside a bare DRF view writing the same rows."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from statistics import median, quantiles

from ingestion_site.embedded.web import web_command
from tests import servers as test_servers
from tests.bench import load
from tests.bench.contenders import Ledger, WrongOutcome
from tests.bench.environment import Process, Servers, python

GOAL = 0.8
"""Times the bare view's rate, as the design promises."""

OURS, BARE = "this service", "bare DRF view"
PATH = "/api/documents/process"
_WARM_UP = 64
_START_SECONDS = 60.0

Posted = dict[str, list[load.Loaded]]


def run(servers: Servers, *, rounds: int, posts: int, progress: Callable[[str], None]) -> Posted:
    """Start both servers, then load them in turns; each round begins with the other one."""
    progress("preparing the web servers")
    ledger = Ledger(servers)
    ledger.prepare()
    key = json.loads(
        ledger.run(*python("manage.py", "api_key", "create", "bench", "--scopes", "submit,read", "--json"))
    )["key"]
    results: Posted = {OURS: [], BARE: []}
    with ExitStack() as stack:
        ports = {
            OURS: serve(stack, "ingestion_site.wsgi:application", ledger.environment),
            BARE: serve(stack, "tests.bench.apps.bare.wsgi:application", _bare_environment(ledger)),
        }
        for number in range(rounds):
            for name in (OURS, BARE) if number % 2 == 0 else (BARE, OURS):
                progress(f"submissions, round {number + 1} of {rounds}: {name}")
                results[name].append(_load_once(ledger, ports[name], key, posts))
    return results


def _bare_environment(ledger: Ledger) -> Mapping[str, str]:
    return {**ledger.environment, "DJANGO_SETTINGS_MODULE": "tests.bench.apps.bare.settings"}


def serve(stack: ExitStack, application: str, environment: Mapping[str, str]) -> int:
    """Start granian as `manage.py up` does; returns its port once it answers."""
    port = test_servers.free_port()
    process = stack.enter_context(Process("web", web_command("127.0.0.1", port, application), environment))

    def answers() -> bool:
        process.require_alive()
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    test_servers.wait_until(answers, seconds=_START_SECONDS, what=f"{application} to answer")
    return port


def _load_once(ledger: Ledger, port: int, key: str, posts: int) -> load.Loaded:
    empty(ledger)
    with ledger.servers.redis() as client:

        def build(number: int) -> bytes:
            return load.post(PATH, key=key, body=json.dumps(document(number)).encode())

        load.drive(port, build, range(posts, posts + _WARM_UP), expected=202)
        loaded = load.drive(port, build, range(posts), expected=202)
        ready = sum(int(client.zcard(name)) for name in client.scan_iter("*:ready:*"))
    _check(ledger, posts + _WARM_UP, ready)
    return loaded


def empty(ledger: Ledger) -> None:
    """Take all jobs and tasks away, and what Valkey knows of them."""
    ledger.empty()
    ledger.connection.execute("TRUNCATE documents_ingestiontask, documents_batch")
    with ledger.servers.redis() as client:
        client.flushall()


def document(number: int) -> dict[str, object]:
    """A submission as any client would write it."""
    return {
        "document_id": f"document-{number}",
        "user_id": "user-1",
        "file_name": "report.pdf",
        "r2_key": f"reports/2025/report-{number}.pdf",
        "content_type": "application/pdf",
        "file_size": 123_456,
        "callback_url": "https://example.com/hooks/documents",
        "priority": 1,
        "metadata": {"source": "bench"},
    }


def _check(ledger: Ledger, accepted: int, ready: int) -> None:
    """Every 202 is a task, a job and an event in the database, and an id in the ready set."""
    tables = ("documents_ingestiontask", "queueadmin_job", "queueadmin_jobevent")
    rows = {table: ledger.count(f"SELECT count(*) FROM {table}") for table in tables}
    if set(rows.values()) != {accepted} or ready != accepted:
        raise WrongOutcome(f"{accepted} submissions were accepted; rows: {rows}; ready in Valkey: {ready}")


def ratios(results: Posted) -> list[float]:
    """Ours divided by the bare view, round by round."""
    return [ours.rate / bare.rate for ours, bare in zip(results[OURS], results[BARE], strict=True)]


def latency_milliseconds(loaded: list[load.Loaded]) -> tuple[float, float]:
    """p50 and p99 of all rounds, at full load."""
    cuts = quantiles([latency * 1000 for each in loaded for latency in each.latencies], n=100)
    return cuts[49], cuts[98]


def summary(results: Posted) -> dict[str, object]:
    """What the JSON report says."""
    return {
        "unit": "requests per second",
        "connections": load.CONNECTIONS,
        "rounds": {name: [round(each.rate, 1) for each in loaded] for name, loaded in results.items()},
        "median": {name: median(each.rate for each in loaded) for name, loaded in results.items()},
        "latency_ms_p50_p99": {name: latency_milliseconds(loaded) for name, loaded in results.items()},
        "ratio_to_bare": ratios(results),
        "ratio_to_bare_median": median(ratios(results)),
        "goal": GOAL,
    }
