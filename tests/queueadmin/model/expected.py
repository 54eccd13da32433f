"""What the model knows: of each job, of each worker, and of what stands in line."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from queueadmin import edges, limits
from queueadmin.hand import Hand
from queueadmin.jobs import Outcome
from queueadmin.ledger import Claimer, Clock, Writer
from queueadmin.publisher import Publisher
from queueadmin.states import LIVE, TERMINAL, State

EDGES = {edge.name: edge for edge in edges.EDGES}
COUNTED = {
    "complete": "completed", "fail": "failed", "bury": "dead_letter", "stop": "cancelled", "cancel": "cancelled",
    "discard": "cancelled", "retry_later": "retried", "release": "released",
}  # fmt: skip
MAX_CRASHES = 3
SUSPECT_FROM = 2
RETRY_SECONDS = 30.0
SILENT_SECONDS, LEASE_SECONDS = 10.5, 6.5
"""Between the steps by which time passes: what happens at the very moment is nobody's promise."""


@dataclass(kw_only=True)
class Expected:
    """One job. `state` is None when retention has deleted its row."""

    state: State | None
    follow_up: bool
    due: datetime
    unique_key: str | None = None
    partition: str = ""
    token: uuid.UUID | None = None
    worker: int | None = None
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    run: int = 1
    cancel_requested: bool = False
    edges: list[str] = field(default_factory=lambda: ["submit"])
    announced: int = 0
    ended_at: datetime | None = None
    cleaned: bool = False


class Desk:
    """The parts of a worker that are ours: its hand, what claims into it, and what writes the outcomes."""

    def __init__(self, worker: int, *, publisher: Publisher, now: Clock) -> None:
        self.hand = Hand(threads=2)
        self.claimer = Claimer(self.hand, worker_id=worker, suspect_from=SUSPECT_FROM, limits=limits.known, now=now)
        self.writer = Writer(
            worker_id=worker, publisher=publisher, max_unwritten=9, is_urgent=lambda outcome: True, now=now
        )

    def report(self, outcomes: Sequence[Outcome]) -> None:
        """As the worker's threads do, and then what the writer's does. Nothing is left unwritten."""
        for outcome in outcomes:
            self.writer.put(outcome)
            self.hand.settle(outcome.job.token)
        self.writer.turn()
        assert (self.writer.tokens(), self.writer.lag()) == (set(), 0.0)


@dataclass(kw_only=True)
class Seat:
    """One worker process. `is_here`: on the judge's host, where a process that is gone is seen."""

    is_here: bool
    beat_at: datetime
    runs: bool = True
    buried: bool = False
    stopped: bool = False
    desk: Desk
    unheard: set[uuid.UUID] = field(default_factory=set)
    """Tokens of claims whose reply was lost for good: the worker does not know that it holds these jobs."""

    @property
    def is_over(self) -> bool:
        return self.buried or self.stopped


def covers(scope: limits.Scope, expected: Expected) -> bool:
    """Whether a limit covers a job of the queue "q"."""
    queue, partition = scope
    return queue in ("", "q") and partition in (None, expected.partition)


@dataclass(kw_only=True)
class Model:
    """Everything that the ledger and the ready sets should say."""

    now: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    jobs: dict[uuid.UUID, Expected] = field(default_factory=dict)
    seats: dict[int, Seat] = field(default_factory=dict)
    line: set[uuid.UUID] = field(default_factory=set)
    counted: Counter[str] = field(default_factory=Counter)
    limits: dict[limits.Scope, int] = field(default_factory=dict)
    holders: dict[uuid.UUID, int] = field(default_factory=dict)
    """Who made the claim, by its token."""

    leader: int | None = None
    leads_until: datetime = datetime(2000, 1, 1, tzinfo=UTC)

    def present(self) -> dict[uuid.UUID, Expected]:
        """The jobs whose rows retention has not deleted."""
        return {job: e for job, e in self.jobs.items() if e.state is not None}

    def pending(self) -> set[uuid.UUID]:
        return {job for job, e in self.jobs.items() if e.state == State.PENDING}

    def held_by(self, workers: Iterable[int]) -> list[uuid.UUID]:
        chosen = set(workers)
        return [job for job, e in self.jobs.items() if e.state == State.PROCESSING and e.worker in chosen]

    def is_key_held(self, key: str | None, *, but: uuid.UUID | None = None) -> bool:
        """Whether a live job, other than `but`, has this unique key."""
        return key is not None and any(
            job != but and e.unique_key == key and e.state in LIVE for job, e in self.jobs.items()
        )

    def move(self, job: uuid.UUID, edge: str, state: State) -> None:
        """Take an edge, which must be one of the table's."""
        expected = self.jobs[job]
        assert expected.state in EDGES[edge].sources
        assert state in EDGES[edge].targets
        expected.state = state
        expected.edges.append(edge)
        if state != State.PROCESSING:
            expected.token = expected.worker = None
        expected.ended_at = self.now if state in TERMINAL else None
        expected.announced += state in TERMINAL and expected.follow_up

    def running(self, scope: limits.Scope) -> int:
        """How many jobs run that a limit covers."""
        return sum(e.state == State.PROCESSING and covers(scope, e) for e in self.jobs.values())

    def covering(self, job: uuid.UUID) -> list[tuple[limits.Scope, int]]:
        """The limits that cover a job, and how many they let run."""
        return [(scope, most) for scope, most in self.limits.items() if covers(scope, self.jobs[job])]

    def claimable(self, ids: Iterable[uuid.UUID], *, alone: bool) -> list[uuid.UUID]:
        """Those that a claim of `ids` takes: they are pending, may run in company, and there is room for them."""
        room = {scope: most - self.running(scope) for scope, most in self.limits.items()}
        chosen = []
        for job in ids:
            expected = self.jobs[job]
            covering = [scope for scope in room if covers(scope, expected)]
            if expected.state != State.PENDING or any(room[scope] <= 0 for scope in covering):
                continue
            for scope in covering:  # also when it may run alone only: there is room again for the next claim
                room[scope] -= 1
            if alone or expected.crashes < SUSPECT_FROM:
                chosen.append(job)
        return chosen

    def claim(self, job: uuid.UUID, *, worker: int, token: uuid.UUID) -> None:
        expected = self.jobs[job]
        self.move(job, "claim", State.PROCESSING)
        expected.attempt += 1
        expected.token, expected.worker = token, worker
        self.holders[token] = worker

    def finish(self, job: uuid.UUID, edge: str, *, token: uuid.UUID) -> bool:
        """A worker's report; False when the job is not its any more."""
        expected = self.jobs[job]
        if expected.state != State.PROCESSING or expected.token != token:
            return False
        taken = "stop" if expected.cancel_requested and edge in ("retry_later", "release") else edge
        expected.failures += edge in ("retry_later", "fail", "bury")
        self.move(job, taken, EDGES[taken].targets[0])
        self.counted[COUNTED[taken]] += 1
        if taken == "retry_later":
            expected.due = self.now + timedelta(seconds=RETRY_SECONDS)
        return True

    def rescue(self, job: uuid.UUID) -> None:
        expected = self.jobs[job]
        expected.crashes += 1
        state = State.DEAD_LETTER if expected.crashes >= MAX_CRASHES else State.RETRYING
        state = State.CANCELLED if expected.cancel_requested else state
        self.move(job, "rescue", state)
        expected.due = self.now
        self.counted["rescued"] += 1
        if state in TERMINAL:
            self.counted[str(state)] += 1
