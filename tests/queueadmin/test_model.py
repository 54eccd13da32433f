"""The ledger against a model: whatever happens in whatever order, both agree after every step.

Runs a few examples with the other tests; `make model` runs 2,000 on each database
(`MODEL_EXAMPLES=n` chooses).
"""

import os
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from queueadmin import edges, lifecycle, retention
from queueadmin.ids import new_token
from queueadmin.jobs import Claim, ClaimedJob, Outcome
from queueadmin.models import Job, JobEvent, JobMinute, JobProgress
from queueadmin.states import LIVE, TERMINAL, State
from tests.queueadmin.factories import new_job

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "25"))
WORKERS = (11, 12)
MOST_JOBS = 3
"""Few jobs, so that the steps of one example meet: a stale report needs a second claim of the same job."""
FOLLOW_UP = {"actor": "after", "queue": "f", "priority": 0, "max_attempts": 2}
EDGES = {edge.name: edge for edge in edges.EDGES}
COUNTED = {
    "complete": "completed", "fail": "failed", "bury": "dead_letter", "stop": "cancelled", "cancel": "cancelled",
    "discard": "cancelled", "retry_later": "retried", "release": "released",
}  # fmt: skip
FINISHES = ("complete", "retry_later", "fail", "bury", "release", "stop")


@dataclass(kw_only=True)
class Expected:
    """What the model knows of one job."""

    state: State
    follow_up: bool
    unique_key: str | None = None
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


class LedgerMachine(RuleBasedStateMachine):
    """Clients, workers, a dispatcher and operators, interleaved at will; replies get lost on the way."""

    jobs = Bundle("jobs")
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.model: dict[uuid.UUID, Expected] = {}
        self.due: dict[uuid.UUID, datetime] = {}
        self.counted: Counter[str] = Counter()

    @initialize()
    def start_empty(self) -> None:
        for table in (Job, JobEvent, JobMinute, JobProgress):
            table.objects.all().delete()

    # -- clients -----------------------------------------------------------------------------

    @precondition(lambda self: len(self.model) < MOST_JOBS)
    @rule(
        target=jobs,
        delay=st.sampled_from([0.0, 0.0, 60.0]),
        follow_up=st.booleans(),
        key=st.sampled_from([None, None, "a", "b"]),
        twice=st.booleans(),
    )
    def submit(self, delay: float, follow_up: bool, key: str | None, twice: bool) -> object:
        payload = {"args": [], "kwargs": {}, "options": {"follow_up": FOLLOW_UP} if follow_up else {}}
        job = new_job(delay=delay, unique_key=key, payload=payload)
        taken = key is not None and any(e.unique_key == key and e.state in LIVE for e in self.model.values())
        inserted = lifecycle.submit([job], now=self.now).inserted
        assert bool(inserted) is not taken
        if twice:
            assert not lifecycle.submit([job], now=self.now).inserted
        if taken:
            return multiple()
        state = State.SCHEDULED if delay else State.PENDING
        self.model[job.id] = Expected(state=state, follow_up=follow_up, unique_key=key)
        self.due[job.id] = self.now + timedelta(seconds=delay)
        return job.id

    # -- workers -----------------------------------------------------------------------------

    @rule(target=claims, job=jobs, worker=st.sampled_from(WORKERS), reply=st.sampled_from(["heard", "lost"]))
    def a_worker_claims(self, job: uuid.UUID, worker: int, reply: str) -> object:
        return self.claim(job, worker, reply)

    def claim(self, job: uuid.UUID, worker: int, reply: str) -> object:
        wish = Claim(id=job, token=new_token())
        got = lifecycle.claim([wish], actors=["act"], worker_id=worker, suspects=True, now=self.now)
        expected = self.model[job]
        if expected.state != State.PENDING:
            assert got == []
            return multiple()
        if reply == "lost":
            got = lifecycle.recover_claims([wish])
        self._move(job, "claim", State.PROCESSING)
        expected.attempt += 1
        expected.token, expected.worker = wish.token, worker
        (claimed,) = got
        assert (claimed.attempt, claimed.run) == (expected.attempt, expected.run)
        return claimed

    @rule(claim=claims, edge=st.sampled_from(FINISHES), twice=st.booleans())
    def finish(self, claim: ClaimedJob, edge: str, twice: bool) -> None:
        """A worker reports: in time, late (the job was rescued and is someone else's by now), or twice."""
        self._finish([(claim, edge)])
        if twice:
            self._finish([(claim, edge)])

    @rule(first=claims, second=claims, edge=st.sampled_from(FINISHES), other=st.sampled_from(FINISHES))
    def finish_a_batch(self, first: ClaimedJob, second: ClaimedJob, edge: str, other: str) -> None:
        if first.id != second.id:
            self._finish([(first, edge), (second, other)])

    @rule(target=claims, job=jobs, edge=st.sampled_from(FINISHES))
    def a_report_comes_when_the_job_is_someone_elses(self, job: uuid.UUID, edge: str) -> object:
        late = self.claim(job, WORKERS[0], "heard")
        if not isinstance(late, ClaimedJob):
            return multiple()
        self._finish([(late, "release")])
        fresh = self.claim(job, WORKERS[1], "heard")
        self._finish([(late, edge)])
        return fresh if isinstance(fresh, ClaimedJob) else multiple()

    def _finish(self, reports: list[tuple[ClaimedJob, str]]) -> None:
        lifecycle.finish([outcome(claim, edge) for claim, edge in reports], worker_id=11, now=self.now)
        for claim, edge in reports:
            expected = self.model[claim.id]
            if expected.state != State.PROCESSING or expected.token != claim.token:
                continue
            taken = "stop" if expected.cancel_requested and edge in ("retry_later", "release") else edge
            expected.failures += edge in ("retry_later", "fail", "bury")
            self._move(claim.id, taken, EDGES[taken].targets[0])
            self._count(COUNTED[taken])
            if taken == "retry_later":
                self.due[claim.id] = self.now + timedelta(seconds=30)

    # -- the dispatcher ----------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 61, 61, 7200]))
    def time_passes_and_due_jobs_are_promoted(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        lifecycle.promote(limit=1000, order_key=int(self.now.timestamp()), now=self.now)
        for job, expected in self.model.items():
            if expected.state in (State.SCHEDULED, State.RETRYING) and self.due[job] <= self.now:
                self._move(job, "promote", State.PENDING)

    @rule(worker=st.sampled_from(WORKERS))
    def a_worker_dies_and_is_rescued_from(self, worker: int) -> None:
        moved = lifecycle.rescue([worker], worker_id=99, max_crashes=3, now=self.now)
        held = [job for job, e in self.model.items() if e.state == State.PROCESSING and e.worker == worker]
        assert moved == len(held)
        for job in held:
            expected = self.model[job]
            expected.crashes += 1
            state = State.DEAD_LETTER if expected.crashes >= 3 else State.RETRYING
            state = State.CANCELLED if expected.cancel_requested else state
            self._move(job, "rescue", state)
            self.due[job] = self.now
            self._count("rescued")
            if state in TERMINAL:
                self._count(str(state))

    # -- operators ---------------------------------------------------------------------------

    @rule(job=jobs)
    def cancel(self, job: uuid.UUID) -> None:
        done, _ = lifecycle.cancel([job], by="op", now=self.now)
        if self._expect(job, "cancel", bool(done)):
            self._count("cancelled")

    @rule(job=jobs)
    def ask_the_worker_to_stop(self, job: uuid.UUID) -> None:
        expected = self.model[job]
        asked = lifecycle.request_cancel([job], by="op", now=self.now)
        assert bool(asked) is (expected.state == State.PROCESSING and not expected.cancel_requested)
        if asked:
            expected.cancel_requested = True
            expected.edges.append("request_cancel")

    @rule(job=jobs)
    def retry(self, job: uuid.UUID) -> None:
        expected = self.model[job]
        ready = lifecycle.retry([job], by="op", order_key=1, now=self.now)
        key_taken = expected.unique_key is not None and any(
            other != job and e.unique_key == expected.unique_key and e.state in LIVE for other, e in self.model.items()
        )
        if key_taken or expected.cleaned:
            assert ready == []
            return
        if self._expect(job, "retry", bool(ready)):
            expected.run += 1
            expected.failures = expected.crashes = 0
            expected.cancel_requested = False

    @rule(job=jobs)
    def retry_now(self, job: uuid.UUID) -> None:
        self._expect(job, "retry_now", bool(lifecycle.retry_now([job], by="op", order_key=1, now=self.now)))

    @rule(job=jobs)
    def discard(self, job: uuid.UUID) -> None:
        done, _ = lifecycle.discard([job], by="op", now=self.now)
        if self._expect(job, "discard", bool(done)):
            self._count("cancelled")

    # -- retention ---------------------------------------------------------------------------

    @rule()
    def clean_up(self) -> None:
        """What ended over an hour ago is emptied, except dead letters and what a live follow-up may still need."""
        hours = {State.COMPLETED: 1, State.CANCELLED: 1, State.FAILED: 1}
        ages = retention.Ages(completed=1, cancelled=1, failed=1)
        cleaned = {job for batch in retention.clean(ages, now=self.now) for job in batch.ids}
        for job, expected in self.model.items():
            old = expected.ended_at is not None and expected.ended_at < self.now - timedelta(hours=1)
            due = expected.state in hours and old and not expected.announced and not expected.cleaned
            assert (job in cleaned) is due
            if due:
                expected.cleaned = True
                expected.edges.clear()

    # -- bookkeeping -------------------------------------------------------------------------

    def _expect(self, job: uuid.UUID, edge: str, moved: bool) -> bool:
        assert moved is (self.model[job].state in EDGES[edge].sources)
        if moved:
            self._move(job, edge, EDGES[edge].targets[0])
        return moved

    def _move(self, job: uuid.UUID, edge: str, state: State) -> None:
        expected = self.model[job]
        assert expected.state in EDGES[edge].sources
        assert state in EDGES[edge].targets
        expected.state = state
        expected.edges.append(edge)
        if state != State.PROCESSING:
            expected.token = expected.worker = None
        expected.ended_at = self.now if state in TERMINAL else None
        expected.announced += state in TERMINAL and expected.follow_up

    def _count(self, what: str) -> None:
        self.counted[what] += 1

    # -- what always holds -------------------------------------------------------------------

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        rows = {job.pk: job for job in Job.objects.filter(actor="act")}
        assert set(rows) == set(self.model)
        for job_id, expected in self.model.items():
            row = rows[job_id]
            assert (row.state, row.token, row.worker_id) == (expected.state, expected.token, expected.worker)
            assert (row.attempt, row.failures, row.crashes, row.run) == (
                expected.attempt, expected.failures, expected.crashes, expected.run,
            )  # fmt: skip
            assert row.finished_at == expected.ended_at
            assert (row.cleaned_at is not None, row.payload == {}) == (expected.cleaned, expected.cleaned)

    @invariant()
    def every_step_left_one_event_in_order(self) -> None:
        history: dict[uuid.UUID, list[str]] = {}
        for job_id, edge in JobEvent.objects.order_by("id").values_list("job_id", "edge"):
            history.setdefault(job_id, []).append(edge)
        for job_id, expected in self.model.items():
            assert history.get(job_id, []) == expected.edges

    @invariant()
    def every_ending_is_announced_once(self) -> None:
        announced = Counter(Job.objects.filter(actor="after").values_list("parent_id", flat=True))
        assert announced == Counter({job: e.announced for job, e in self.model.items() if e.announced})

    @invariant()
    def totals_equal_the_outcomes(self) -> None:
        names = ("completed", "failed", "dead_letter", "cancelled", "retried", "released", "rescued")
        sums = Counter[str]()
        for row in JobMinute.objects.values(*names):
            sums.update({name: row[name] for name in names if row[name]})
        assert sums == self.counted


def outcome(claim: ClaimedJob, edge: str) -> Outcome:
    match edge:
        case "complete":
            return lifecycle.complete(claim, result={"n": 1})
        case "retry_later":
            return lifecycle.retry_later(claim, delay=30, code="c", message="m")
        case "fail":
            return lifecycle.fail(claim, code="c", message="m")
        case "bury":
            return lifecycle.bury(claim, code="c", message="m")
        case "release":
            return lifecycle.release(claim, reason="r")
    return lifecycle.stop(claim)


def test_the_ledger_behaves_like_its_model() -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            derandomize=EXAMPLES < 100,
            suppress_health_check=list(HealthCheck),
        ),
    )
