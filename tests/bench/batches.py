"""Documents per second submitted a thousand at a time, beside one by one, through the shipped web server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from tests.bench import load, machine, posts
from tests.bench.contenders import Ledger, WrongOutcome
from tests.bench.environment import Servers, python

GOAL_RATIO = 4.0
"""Times the rate of single submissions in the same round."""
GOAL_RATE = 5_000
"""Documents per second."""
SIZE = 1_000
CONNECTIONS = 4
"""Batches under way at once: more than two web processes can work on."""
PATH = "/api/documents/batch"
_SERVERS = {"web": "granian", "database": "postgres", "valkey": "valkey"}
"""Part -> a word of its processes' command lines."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """Batches and single submissions; `milliseconds` are those of each batch, from request to answer.

    `*_cpu`: processor microseconds of the servers for one document, by part; empty where the system does not tell.
    """

    batched: float
    single: float
    milliseconds: tuple[float, ...]
    batched_cpu: Mapping[str, float]
    single_cpu: Mapping[str, float]

    @property
    def ratio(self) -> float:
        return self.batched / self.single


def run(servers: Servers, *, rounds: int, batches: int, count: int, progress: Callable[[str], None]) -> list[Round]:
    """In each round submit `batches` batches of a thousand, then `count` documents one by one."""
    progress("batches: preparing the web server")
    ledger = Ledger(servers)
    ledger.prepare()
    created = ledger.run(*python("manage.py", "api_key", "create", "bench", "--scopes", "submit", "--json"))
    key = json.loads(created)["key"]
    with ExitStack() as stack:
        port = posts.serve(stack, "ingestion_site.wsgi:application", ledger.environment)
        measure = _Measure(port=port, key=key, ledger=ledger)
        measure.batches(CONNECTIONS)  # warm
        measure.single(64)
        found = []
        for number in range(rounds):
            progress(f"batches, round {number + 1} of {rounds}")
            (loaded, batched_cpu), (alone, single_cpu) = measure.batches(batches), measure.single(count)
            found.append(
                Round(
                    batched=loaded.rate * SIZE,
                    single=alone.rate,
                    milliseconds=tuple(latency * 1000 for latency in loaded.latencies),
                    batched_cpu=batched_cpu,
                    single_cpu=single_cpu,
                )
            )
    return found


@dataclass(frozen=True, kw_only=True)
class _Measure:
    port: int
    key: str
    ledger: Ledger

    def batches(self, count: int) -> tuple[load.Loaded, dict[str, float]]:
        prepared = [self._batch(number) for number in range(count)]
        return self._drive(prepared.__getitem__, requests=count, documents=count * SIZE, connections=CONNECTIONS)

    def single(self, count: int) -> tuple[load.Loaded, dict[str, float]]:
        return self._drive(self._single, requests=count, documents=count, connections=load.CONNECTIONS)

    def _drive(
        self, build: Callable[[int], bytes], *, requests: int, documents: int, connections: int
    ) -> tuple[load.Loaded, dict[str, float]]:
        """Submit, and check; also returns the processor microseconds of each server for one document."""
        posts.empty(self.ledger)
        before = machine.cpu_seconds_by_part(_SERVERS)
        loaded = load.drive(self.port, build, range(requests), expected=202, connections=connections)
        after = machine.cpu_seconds_by_part(_SERVERS)
        self._check(documents)
        return loaded, {part: (after[part] - before[part]) / documents * 1e6 for part in _SERVERS if part in before}

    def _batch(self, number: int) -> bytes:
        documents = [posts.document(SIZE * number + place) for place in range(SIZE)]
        return load.post(PATH, key=self.key, body=json.dumps({"documents": documents}).encode())

    def _single(self, number: int) -> bytes:
        return load.post(posts.PATH, key=self.key, body=json.dumps(posts.document(number)).encode())

    def _check(self, accepted: int) -> None:
        """Every document is a task with its job and event, and its id is in the ready set."""
        with self.ledger.servers.redis() as client:
            ready = sum(int(client.zcard(name)) for name in client.scan_iter("*:ready:*"))
        stored = self.ledger.count(
            "SELECT count(*) FROM documents_ingestiontask t JOIN queueadmin_job j ON j.id = t.id "
            "JOIN queueadmin_jobevent e ON e.job_id = j.id"
        )
        if not stored == ready == accepted:
            raise WrongOutcome(f"{accepted} documents were accepted; tasks: {stored}; ready in Valkey: {ready}")


def ratios(rounds: list[Round]) -> list[float]:
    return [each.ratio for each in rounds]


def cpu_medians(rounds: list[Round]) -> dict[str, dict[str, float]]:
    """Processor microseconds of one document, by part: in batches, and one by one."""
    return {
        name: {part: median(each[part] for each in used) for part in _SERVERS if all(part in each for each in used)}
        for name, used in (
            ("batched", [each.batched_cpu for each in rounds]),
            ("single", [each.single_cpu for each in rounds]),
        )
    }


def summary(rounds: list[Round]) -> dict[str, object]:
    """What the JSON report says."""
    return {
        "unit": "documents per second",
        "batch": SIZE,
        "batched": [round(each.batched, 1) for each in rounds],
        "single": [round(each.single, 1) for each in rounds],
        "batched_median": median(each.batched for each in rounds),
        "batch_milliseconds_median": median(value for each in rounds for value in each.milliseconds),
        "cpu_microseconds_per_document": cpu_medians(rounds),
        "ratios": ratios(rounds),
        "ratio_median": median(ratios(rounds)),
        "goal_ratio": GOAL_RATIO,
        "goal_rate": GOAL_RATE,
    }
