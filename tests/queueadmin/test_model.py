"""The ledger against a model: whatever happens in whatever order, both agree after every step.

Runs a few examples with the other tests; `make model` runs 2,000 on each database
(`MODEL_EXAMPLES=n` chooses). The rules are in `tests/queueadmin/model/`.
"""

import os
import uuid
from collections import Counter
from collections.abc import Iterator

import dramatiq
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from queueadmin.broker import LedgerRedisBroker
from queueadmin.models import Job, JobEvent, JobMinute, Lease, WorkerProcess
from tests.queueadmin.model.clients import Clients, Operators, Retention
from tests.queueadmin.model.dispatchers import Dispatchers
from tests.queueadmin.model.workers import Workers

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "25"))


class LedgerMachine(Clients, Workers, Dispatchers, Operators, Retention):
    """Clients, workers, a dispatcher, operators and retention, interleaved at will; replies get lost on the way."""

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        rows = {job.pk: job for job in Job.objects.filter(actor="act")}
        assert set(rows) == set(self.model.present())
        for job_id, expected in self.model.present().items():
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
        for job_id, expected in self.model.jobs.items():
            assert history.get(job_id, []) == expected.edges

    @invariant()
    def every_ending_is_announced_once(self) -> None:
        announced = Counter(Job.objects.filter(actor="after").values_list("parent_id", flat=True))
        assert announced == Counter({job: e.announced for job, e in self.model.jobs.items() if e.announced})

    @invariant()
    def totals_equal_the_outcomes(self) -> None:
        names = ("completed", "failed", "dead_letter", "cancelled", "retried", "released", "rescued")
        sums = Counter[str]()
        for row in JobMinute.objects.values(*names):
            sums.update({name: row[name] for name in names if row[name]})
        assert sums == self.model.counted

    @invariant()
    def the_line_holds_what_was_published_and_not_popped(self) -> None:
        members = self.broker.ready_sets.members("q", "normal", start=0, count=999)
        assert {job for job, _ in members} == self.model.line

    @invariant()
    def only_the_dead_are_buried_and_one_leads(self) -> None:
        rows = WorkerProcess.objects.values_list("pk", "beat_at", "buried_at", "stopped_at")
        found = {pk: (beat, buried is not None, stopped is not None) for pk, beat, buried, stopped in rows}
        assert found == {pk: (seat.beat_at, seat.buried, seat.stopped) for pk, seat in self.model.seats.items()}
        leading = list(Lease.objects.filter(expires_at__gte=self.model.now).values_list("holder", flat=True))
        leads = self.model.leader is not None and self.model.leads_until >= self.model.now
        assert leading == ([self.model.leader] if leads else [])


@pytest.fixture
def current_broker(broker: LedgerRedisBroker) -> Iterator[LedgerRedisBroker]:
    """Operations use Dramatiq's current broker: here the test's own."""
    before = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    yield broker
    dramatiq.set_broker(before)


def test_the_ledger_behaves_like_its_model(current_broker: LedgerRedisBroker, valkey: redis.Redis) -> None:
    run_state_machine_as_test(
        lambda: LedgerMachine(current_broker, valkey),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            derandomize=EXAMPLES < 100,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_claim_that_nobody_heard_of_is_announced_when_it_was_to_be_cancelled(
    current_broker: LedgerRedisBroker, valkey: redis.Redis
) -> None:
    """Found by the machine: such a job was given back without what it carries, and so its follow-up was never made."""
    state = LedgerMachine(current_broker, valkey)
    state.two_workers_start()
    job = state.submit(delay=0.0, follow_up=True, key=None, twice=False, partition="")
    state.a_worker_claims(job=job, worker=11, reply="lost", alone=True)
    state.ask_the_worker_to_stop(job=job)
    state.a_worker_beats(worker=11)
    assert state.model.jobs[job].announced == 1
    state.every_ending_is_announced_once()
    state.the_ledger_says_what_the_model_says()
