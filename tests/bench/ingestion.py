"""Documents per second: the whole service, submission to stored result, beside a bare loop over the same engines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from documents.storage import DirectoryResultStore
from tests.bench import load, machine
from tests.bench.apps import bare_loop
from tests.bench.contenders import Ledger, WrongOutcome
from tests.bench.environment import Process, Servers, python
from tests.bench.papers import paper
from tests.bench.posts import serve

GOAL = 0.8
"""Times the bare loop's rate."""

OURS, BARE = "this service", "bare loop"
STEPS = ("fetch", "identify", "extract", "store")
_PARTS = {
    "engines, in their sandbox": "documents.extraction.child",
    "worker": "dramatiq",
    "web server": "granian",
    "PostgreSQL": "postgres",
    "Valkey": "valkey",
}
"""Parts of the service, and the word in the command line by which their processes are known."""
_PATH = "/api/documents/batch"
_BATCH = 200
"""Documents submitted at once, by each of the clients."""
_WARM_UP = 120
_EVERY_SECONDS = 0.05
_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """`documents` read in `seconds`; what each part of the service took of the processor for one (milliseconds).

    `steps` is the time of each step of the pipeline by the clock, waiting for a core included (milliseconds, mean).
    """

    documents: int
    seconds: float
    cpu: dict[str, float]
    steps: dict[str, float]

    @property
    def rate(self) -> float:
        """Documents per second."""
        return self.documents / self.seconds


Results = dict[str, list[Ingested]]


def run(servers: Servers, *, rounds: int, documents: int, progress: Callable[[str], None]) -> Results:
    """Make the documents, then read all of them with each contender in turns."""
    progress("preparing the documents")
    ledger = Ledger(servers)
    ledger.prepare()
    key = json.loads(
        ledger.run(*python("manage.py", "api_key", "create", "bench", "--scopes", "submit,read", "--json"))
    )["key"]
    folder = Path(ledger.environment["DATA_DIR"]) / "documents" / "papers"
    names = _write(folder, documents)
    results: Results = {OURS: [], BARE: []}
    for number in range(rounds):
        for name in (OURS, BARE) if number % 2 == 0 else (BARE, OURS):
            progress(f"documents, round {number + 1} of {rounds}: {name}")
            results[name].append(_service(ledger, key, names) if name == OURS else _loop(ledger, folder))
    return results


def _write(folder: Path, documents: int) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    made = [paper(number) for number in range(documents)]
    for name, data in made:
        (folder / name).write_bytes(data)
    return [name for name, _ in made]


def _loop(ledger: Ledger, folder: Path) -> Ingested:
    """The process pool, in a process of its own."""
    told = json.loads(ledger.run(*python("-m", bare_loop.__name__, str(folder))))
    cpu = {"engines": told["cpu_seconds"] / told["documents"] * 1000}
    return Ingested(documents=told["documents"], seconds=told["seconds"], cpu=cpu, steps={})


def _service(ledger: Ledger, key: str, names: list[str]) -> Ingested:
    """Web server and workers as `manage.py up` starts them; the clock runs from the first POST to the last outcome."""
    ledger.empty()
    ledger.connection.execute("TRUNCATE documents_ingestiontask")
    with ledger.servers.redis() as client:
        client.flushall()
    with ExitStack() as stack:
        port = serve(stack, "ingestion_site.wsgi:application", ledger.environment)
        workers = [stack.enter_context(worker) for worker in ledger.workers()]

        def submit(chosen: Sequence[str]) -> None:
            wanted = [chosen[start : start + _BATCH] for start in range(0, len(chosen), _BATCH)]
            load.drive(port, lambda number: _batch(key, wanted[number]), range(len(wanted)), expected=202)

        submit((names * _WARM_UP)[:_WARM_UP])
        _wait(ledger, workers, _WARM_UP)
        before = machine.cpu_seconds_by_part(_PARTS)
        own = time.process_time()
        started = time.perf_counter()
        submit(names)
        _wait(ledger, workers, _WARM_UP + len(names))
        seconds = time.perf_counter() - started
        cpu = {"clients": time.process_time() - own}
        for part, used in machine.cpu_seconds_by_part(_PARTS).items():
            cpu[part] = used - before.get(part, 0.0)
    _check(ledger, _WARM_UP + len(names))
    return Ingested(
        documents=len(names),
        seconds=seconds,
        cpu={part: used / len(names) * 1000 for part, used in cpu.items()},
        steps=_steps(ledger),
    )


def _batch(key: str, names: Sequence[str]) -> bytes:
    documents = [
        {
            "document_id": name,
            "user_id": "user-1",
            "file_name": name,
            "r2_key": f"papers/{name}",
            "content_type": "application/octet-stream",
        }
        for name in names
    ]
    return load.post(_PATH, key=key, body=json.dumps({"documents": documents}).encode())


def _wait(ledger: Ledger, workers: Sequence[Process], documents: int) -> None:
    """Return when so many documents are completed. Raises TimeoutError."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    query = "SELECT sum(completed) FROM queueadmin_jobminute WHERE actor = 'ingest_document'"
    while (done := ledger.count(query)) < documents:
        for worker in workers:
            worker.require_alive()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{done} documents were done, {documents} were expected by now")
        time.sleep(_EVERY_SECONDS)


def _check(ledger: Ledger, documents: int) -> None:
    """Every document completed at the first attempt, and its text is in the result store."""
    completed = ledger.count(
        "SELECT count(*) FROM queueadmin_job WHERE actor = 'ingest_document' AND state = 'completed' AND attempt = 1 "
        "AND (result->>'characters')::int > 10000"
    )
    stored = sum(1 for _ in DirectoryResultStore(Path(ledger.environment["DATA_DIR"]) / "results").stored())
    if completed != documents or stored < documents:
        raise WrongOutcome(f"{completed} of {documents} documents completed at the first attempt; {stored} stored")


def _steps(ledger: Ledger) -> dict[str, float]:
    columns = ", ".join(f"avg((detail->'ms'->>'{step}')::float)" for step in STEPS)
    row = ledger.connection.execute(f"SELECT {columns} FROM queueadmin_jobevent WHERE edge = 'complete'").fetchone()  # type: ignore[call-overload]  # psycopg wants a literal; the steps are ours
    return dict(zip(STEPS, row, strict=True))


def ratios(results: Results) -> list[float]:
    """Ours divided by the bare loop, round by round."""
    return [ours.rate / bare.rate for ours, bare in zip(results[OURS], results[BARE], strict=True)]


def cpu_ratios(results: Results) -> list[float]:
    """Processor time of a document in the bare loop, divided by that of one in all of the service, round by round."""
    return [
        sum(bare.cpu.values()) / sum(ours.cpu.values()) for ours, bare in zip(results[OURS], results[BARE], strict=True)
    ]


def cpu_medians(measured: Sequence[Ingested]) -> dict[str, float]:
    """Processor milliseconds of one document by part of the contender, the most expensive first."""
    parts = {part for each in measured for part in each.cpu}
    middle = {part: median(each.cpu.get(part, 0.0) for each in measured) for part in parts}
    return dict(sorted(middle.items(), key=lambda item: -item[1]))


def step_medians(results: Results) -> dict[str, float]:
    """Milliseconds of each step by the clock."""
    return {step: median(each.steps[step] for each in results[OURS]) for step in STEPS}


def summary(results: Results) -> dict[str, object]:
    """What the JSON report says."""
    return {
        "unit": "documents per second",
        "rounds": {name: [round(each.rate, 1) for each in values] for name, values in results.items()},
        "median": {name: median(each.rate for each in values) for name, values in results.items()},
        "cpu_milliseconds_per_document": {name: cpu_medians(values) for name, values in results.items()},
        "ratio_to_bare_by_processor_time": cpu_ratios(results),
        "step_milliseconds": step_medians(results),
        "ratio_to_bare": ratios(results),
        "ratio_to_bare_median": median(ratios(results)),
        "goal": GOAL,
    }
