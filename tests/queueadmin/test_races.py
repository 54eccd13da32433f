"""Races: whoever takes conflicting edges of one job at the same moment, one wins, and the events say who.

Real threads with connections of their own, on PostgreSQL; SQLite has one writer at a time.
"""

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import combinations_with_replacement

import pytest
from django.db import connection

from queueadmin import edges, lifecycle
from queueadmin.ids import new_token
from queueadmin.jobs import Claim, ClaimedJob, NewJob, Outcome
from queueadmin.models import Job, JobEvent, JobMinute
from queueadmin.states import State
from tests.queueadmin.factories import OTHER_WORKER, WORKER, job_in, new_job, state_of

pytestmark = pytest.mark.django_db(transaction=True)

EDGES = {edge.name: edge for edge in edges.EDGES}
RUNNERS = 4
ROUNDS = 4
LATER = datetime.now(UTC) + timedelta(hours=2)

Act = Callable[[uuid.UUID, ClaimedJob | None], bool]
"""Try to take an edge of a job, which the given claim may hold; whether it was taken."""


def reported(make: Callable[[ClaimedJob], Outcome]) -> Act:
    def act(job_id: uuid.UUID, claim: ClaimedJob | None) -> bool:
        assert claim is not None
        return lifecycle.finish([make(claim)], worker_id=WORKER).written == 1

    return act


ACTS: dict[str, Act] = {
    "promote": lambda job_id, _: bool(lifecycle.promote(limit=10, order_key=1, now=LATER)),
    "claim": lambda job_id, _: bool(
        lifecycle.claim([Claim(id=job_id, token=new_token())], actors=["act"], worker_id=OTHER_WORKER)
    ),
    "complete": reported(lifecycle.complete),
    "retry_later": reported(lambda job: lifecycle.retry_later(job, delay=5, code="c", message="m")),
    "fail": reported(lambda job: lifecycle.fail(job, code="c", message="m")),
    "bury": reported(lambda job: lifecycle.bury(job, code="c", message="m")),
    "release": reported(lambda job: lifecycle.release(job, reason="r")),
    "stop": reported(lifecycle.stop),
    "rescue": lambda job_id, _: lifecycle.rescue([WORKER], worker_id=OTHER_WORKER, max_crashes=3) == 1,
    "cancel": lambda job_id, _: bool(lifecycle.cancel([job_id], by="me")[0]),
    "retry": lambda job_id, _: bool(lifecycle.retry([job_id], by="me", order_key=1)),
    "retry_now": lambda job_id, _: bool(lifecycle.retry_now([job_id], by="me", order_key=1)),
    "discard": lambda job_id, _: bool(lifecycle.discard([job_id], by="me")[0]),
}


def leaving(state: State) -> list[str]:
    return sorted(name for name, edge in EDGES.items() if state in edge.sources)


CONFLICTS = {state: list(combinations_with_replacement(leaving(state), 2)) for state in State if leaving(state)}
"""Every two edges that leave the same state, and every edge against itself."""


def follows(first: str, second: str) -> bool:
    """Whether both may be taken, one after the other: a person who cancels what was promoted just now, say.

    Not by a worker, whose token is stale by then, and not twice: nobody means a second run by a second click.
    """
    return first != second and EDGES[second].by != "worker" and second in leaving(EDGES[first].targets[0])


@dataclass(frozen=True)
class Runners:
    """Threads that keep their connections from race to race, and start at one signal."""

    pool: ThreadPoolExecutor

    def race(self, attempts: Sequence[Callable[[], bool]]) -> list[bool]:
        """Who won."""
        start = threading.Barrier(len(attempts))

        def run(attempt: Callable[[], bool]) -> bool:
            connection.ensure_connection()
            start.wait(10)
            return attempt()

        return list(self.pool.map(run, attempts))


@pytest.fixture
def runners(transactional_db: None) -> Iterator[Runners]:
    with ThreadPoolExecutor(RUNNERS) as pool:
        runners = Runners(pool)
        yield runners
        runners.race([lambda: connection.close() is None] * RUNNERS)


def test_the_races_cover_every_edge() -> None:
    assert set(ACTS) == set(EDGES) - {"submit"} == {edge for pairs in CONFLICTS.values() for edge in sum(pairs, ())}


@pytest.mark.parametrize("state", CONFLICTS)
def test_of_conflicting_edges_one_is_taken(state: State, runners: Runners) -> None:
    for first, second in CONFLICTS[state] * ROUNDS:
        # Given a job, and two threads at each of the edges
        job_id, claim = job_in(state)
        before = JobEvent.objects.filter(job_id=job_id).count()
        names = [first, second] * (RUNNERS // 2)
        # When all of them try at once
        won = runners.race([partial(ACTS[name], job_id, claim) for name in names])
        # Then one has won, or one of each where the one leads to the other
        winners = Counter(name for name, has in zip(names, won, strict=True) if has)
        both_may = follows(first, second) or follows(second, first)
        assert winners.total() == 1 or (both_may and winners == {first: 1, second: 1}), (first, second)
        # And the events are a way through the table, of those that won, to where the job stands
        taken = list(JobEvent.objects.filter(job_id=job_id).order_by("id").values_list("edge", flat=True))[before:]
        assert Counter(taken) == winners
        assert state_of(job_id) == walked(state, taken)
        Job.objects.filter(pk=job_id).delete()


def walked(state: State, taken: Sequence[str]) -> State:
    """Where these edges lead, each from where the last one led."""
    for edge in taken:
        assert state in EDGES[edge].sources
        state = EDGES[edge].targets[0]
    return state


def test_overlapping_batches_share_the_jobs_out_without_a_deadlock(runners: Runners) -> None:
    # Given jobs that four workers have popped, each in an order of its own
    jobs = [new_job() for _ in range(60)]
    lifecycle.submit(jobs)
    orders = [jobs, jobs[::-1], jobs[30:] + jobs[:30], jobs[::2] + jobs[1::2]]
    got: list[ClaimedJob] = []

    def claim_all(order: Sequence[NewJob]) -> bool:
        wishes = [Claim(id=job.id, token=new_token()) for job in order]
        got.extend(lifecycle.claim(wishes, actors=["act"], worker_id=WORKER))
        return True

    # When they claim, and then all report on all of them
    runners.race([partial(claim_all, order) for order in orders])
    rotated = [sorted(got, key=lambda job, n=number: (job.id.int >> n) % 7) for number in range(RUNNERS)]
    runners.race([partial(finish_until_written, batch) for batch in rotated])
    # Then each job was claimed once, and ended once
    assert Counter(job.id for job in got) == Counter(job.id for job in jobs)
    ends = JobEvent.objects.filter(edge="complete").values_list("job_id", flat=True)
    assert Counter(ends) == Counter(job.id for job in jobs)
    assert sum(JobMinute.objects.values_list("completed", flat=True)) == len(jobs)


def finish_until_written(batch: Sequence[ClaimedJob]) -> bool:
    """As the writer does: a row that somebody has locked is tried again."""
    owed = [lifecycle.complete(job) for job in batch]
    while owed:
        lifecycle.finish(owed, worker_id=WORKER)
        owed = lifecycle.still_owed(owed)
    return True


def test_one_unique_key_is_given_to_one_of_many(runners: Runners) -> None:
    def submit(key: str) -> bool:
        return bool(lifecycle.submit([new_job(unique_key=key)]).inserted)

    for key in map(str, range(ROUNDS)):
        assert runners.race([partial(submit, key)] * RUNNERS).count(True) == 1
        assert Job.objects.filter(unique_key=key).count() == 1
