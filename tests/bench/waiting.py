"""How soon waiting requests (`?wait=`) learn that their task has ended, and what submissions cost beside them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median, quantiles

from tests.bench import load, posts
from tests.bench.contenders import Ledger
from tests.bench.environment import Servers, python

WAITERS = 50
GOAL_MS = 50.0
"""From the commit of the end to the answer."""
_WAIT = 60
"""Seconds that each request is ready to wait."""
_ARRIVE_SECONDS = 1.0
_PAUSE_SECONDS = 0.03
"""Between the ends of two tasks: not a multiple of how often the service looks."""


@dataclass(frozen=True, kw_only=True)
class Waited:
    """Milliseconds from the commit to the answer, of tasks that ended one by one, and of fifty that ended in one
    commit; submissions per second, round by round, alone and beside fifty waiting requests."""

    one_by_one: tuple[float, ...]
    together: tuple[float, ...]
    alone: tuple[float, ...]
    beside: tuple[float, ...]

    def percentiles(self) -> tuple[float, float]:
        """p50 and p99 of those that ended one by one."""
        cuts = quantiles(self.one_by_one, n=100)
        return cuts[49], cuts[98]

    def ratios(self) -> list[float]:
        """Submissions beside the waiting requests, divided by those alone."""
        return [beside / alone for beside, alone in zip(self.beside, self.alone, strict=True)]


def run(servers: Servers, *, rounds: int, ends: int, count: int, progress: Callable[[str], None]) -> Waited:
    """End `ends` tasks one by one while fifty requests wait, then fifty at once; submit `count` documents, in turns."""
    progress("waiting: preparing the web server")
    ledger = Ledger(servers)
    ledger.prepare()
    created = ledger.run(*python("manage.py", "api_key", "create", "bench", "--scopes", "submit,read", "--json"))
    key = json.loads(created)["key"]
    with ExitStack() as stack:
        client = _Client(
            port=posts.serve(stack, "ingestion_site.wsgi:application", ledger.environment), key=key, ledger=ledger
        )
        client.submit(64)  # warm
        progress(f"waiting: {ends} tasks end beside {WAITERS} waiting requests")
        one_by_one, together = asyncio.run(client.wake(ends))
        alone, beside = [], []
        for number in range(rounds):
            progress(f"waiting: submissions, round {number + 1} of {rounds}")
            alone.append(client.submit(count))
            beside.append(asyncio.run(client.submit_beside(count)))
    return Waited(one_by_one=tuple(one_by_one), together=tuple(together), alone=tuple(alone), beside=tuple(beside))


@dataclass(frozen=True, kw_only=True)
class _Client:
    port: int
    key: str
    ledger: Ledger

    def submit(self, count: int) -> float:
        """Submit; returns documents per second."""
        return load.drive(self.port, self._submission, range(count), expected=202).rate

    async def wake(self, ends: int) -> tuple[list[float], list[float]]:
        """Milliseconds to the answer: of tasks that end one by one, and of those that end together after them.

        Whoever is answered waits for the next task, so that there are always fifty.
        """
        tasks = await asyncio.to_thread(self._tasks, ends + WAITERS)
        left, answered = iter(tasks), dict[str, float]()
        ended = dict[str, float]()

        async def follow() -> None:
            for task_id in left:
                answered[task_id] = await self._wait(task_id)

        async with asyncio.TaskGroup() as group:
            for _ in range(WAITERS):
                group.create_task(follow())
            await asyncio.sleep(_ARRIVE_SECONDS)
            for task_id in tasks[:ends]:
                ended[task_id] = await asyncio.to_thread(self._end, [task_id])
                await asyncio.sleep(_PAUSE_SECONDS)
            await asyncio.sleep(_ARRIVE_SECONDS)
            ended.update(dict.fromkeys(tasks[ends:], await asyncio.to_thread(self._end, tasks[ends:])))
        milliseconds = [(answered[task_id] - ended[task_id]) * 1000 for task_id in tasks]
        return milliseconds[:ends], milliseconds[ends:]

    async def submit_beside(self, count: int) -> float:
        """Submissions per second, driven by another thread, while fifty requests wait here."""
        tasks = await asyncio.to_thread(self._tasks, WAITERS)
        async with asyncio.TaskGroup() as group:
            for task_id in tasks:
                group.create_task(self._wait(task_id))
            await asyncio.sleep(_ARRIVE_SECONDS)
            rate = await asyncio.to_thread(self.submit, count)
            await asyncio.to_thread(self._end, tasks)
        return rate

    async def _wait(self, task_id: str) -> float:
        """Wait for the task's end; returns when it was known. Raises UnexpectedAnswer if one request did not do."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(load.get(f"/api/documents/task/{task_id}/status?wait={_WAIT}", key=self.key))
            status, body = await load.answer(reader)
            answered = time.perf_counter()
            if status != 200 or json.loads(body)["status"] != "completed":
                raise load.UnexpectedAnswer(f"status {status}: {body[:500].decode(errors='replace')}")
            return answered
        finally:
            writer.close()

    def _tasks(self, count: int) -> list[str]:
        """The ids of so many new tasks."""
        posts.empty(self.ledger)
        self.submit(count)
        return [str(row[0]) for row in self.ledger.connection.execute("SELECT id FROM queueadmin_job ORDER BY id")]

    def _end(self, tasks: Sequence[str]) -> float:
        """End tasks as a worker's batch does: in one committed statement. Returns when that was done."""
        self.ledger.connection.execute(
            "UPDATE queueadmin_job SET state = 'completed', attempt = 1, started_at = now(), finished_at = now(), "
            "result = '{}' WHERE id = ANY(%s::uuid[])",
            [list(tasks)],
        )
        return time.perf_counter()

    def _submission(self, number: int) -> bytes:
        return load.post(posts.PATH, key=self.key, body=json.dumps(posts.document(number)).encode())


def summary(waited: Waited) -> dict[str, object]:
    """What the JSON report says."""
    p50, p99 = waited.percentiles()
    return {
        "waiters": WAITERS,
        "one_by_one_ms": {"p50": p50, "p99": p99, "longest": max(waited.one_by_one)},
        "together_ms": {"p50": median(waited.together), "longest": max(waited.together)},
        "goal_ms": GOAL_MS,
        "submissions_per_second": {"alone": waited.alone, "beside": waited.beside},
        "ratios": waited.ratios(),
    }
