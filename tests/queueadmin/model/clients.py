"""The machine that all rules share, and the rules of those who submit and of those who operate."""

import uuid
from collections.abc import Iterable
from datetime import timedelta

import redis
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, precondition, rule

from queueadmin import lifecycle, limits, operations, retention
from queueadmin.broker import LedgerRedisBroker
from queueadmin.jobs import Ready
from queueadmin.models import (
    FailureMinute,
    Job,
    JobEvent,
    JobMinute,
    JobProgress,
    Lease,
    OperationLog,
    PartitionLimit,
    QueueControl,
    WorkerProcess,
)
from queueadmin.states import State
from tests.queueadmin.factories import new_job
from tests.queueadmin.model.expected import EDGES, Expected, Model

MOST_JOBS = 3
"""Few jobs, so that the steps of one example meet: a stale report needs a second claim of the same job."""
FOLLOW_UP = {"actor": "after", "queue": "f", "priority": 0, "max_attempts": 2}
TABLES = (
    Job, JobEvent, JobMinute, FailureMinute, JobProgress, WorkerProcess, Lease, OperationLog, PartitionLimit,
    QueueControl,
)  # fmt: skip

jobs = Bundle("jobs")


class Machine(RuleBasedStateMachine):
    """A ledger, a Valkey and the model of both. Publishing fails for a while, now and then."""

    def __init__(self, broker: LedgerRedisBroker, valkey: redis.Redis) -> None:
        super().__init__()
        self.broker, self.valkey = broker, valkey
        self.model = Model()
        self.publishes_arrive = True
        self._empty()

    def _empty(self) -> None:
        for table in TABLES:
            table.objects.all().delete()
        QueueControl.objects.create(queue="q")  # so that the queue is known also when it is empty
        self.valkey.flushall()

    def publish(self, ready: Iterable[Ready]) -> bool:
        """What every caller does after its commit, and may fail at."""
        due = list(ready)
        if self.publishes_arrive:
            assert self.broker.publisher.publish(due)
            self.model.line |= {job.id for job in due if job.queue == "q"}
        return self.publishes_arrive


class Clients(Machine):
    @initialize(target=jobs, follow_up=st.booleans(), partition=st.sampled_from(["", "t"]))
    def two_jobs_are_submitted(self, follow_up: bool, partition: str) -> object:
        """From the beginning: most examples leave the rule out, and would have nothing to do."""
        options = {"delay": 0.0, "key": None, "twice": False, "partition": partition}
        return multiple(*(self.submit(follow_up=promised, **options) for promised in (follow_up, False)))

    @precondition(lambda self: len(self.model.present()) < MOST_JOBS)
    @rule(
        target=jobs,
        delay=st.sampled_from([0.0, 0.0, 60.0]),
        follow_up=st.booleans(),
        key=st.sampled_from([None, None, "a", "b"]),
        twice=st.booleans(),
        partition=st.sampled_from(["", "t"]),
    )
    def submit(self, delay: float, follow_up: bool, key: str | None, twice: bool, partition: str) -> object:
        payload = {"args": [], "kwargs": {}, "options": {"follow_up": FOLLOW_UP} if follow_up else {}}
        job = new_job(delay=delay, unique_key=key, partition_key=partition, payload=payload)
        taken = self.model.is_key_held(key)
        submitted = lifecycle.submit([job], now=self.model.now)
        assert bool(submitted.inserted) is not taken
        if twice:
            assert not lifecycle.submit([job], now=self.model.now).inserted
        if taken:
            return multiple()
        state = State.SCHEDULED if delay else State.PENDING
        due = self.model.now + timedelta(seconds=delay)
        self.model.jobs[job.id] = Expected(
            state=state, follow_up=follow_up, due=due, unique_key=key, partition=partition
        )
        self.publish(submitted.ready)
        return job.id


class Operators(Machine):
    @initialize(queue=st.sampled_from([None, None, 1, 2]), partition=st.sampled_from([None, None, 1]))
    def there_may_be_limits(self, queue: int | None, partition: int | None) -> None:
        """From the beginning: a rule alone comes too seldom before two jobs want to run."""
        for scope, limit in ((("q", None), queue), (("q", "t"), partition)):
            if limit is not None:
                self.set_limit(scope=scope, limit=limit)

    @rule(scope=st.sampled_from([("q", None), ("q", "t"), ("", "t")]), limit=st.sampled_from([None, 0, 1, 1, 2]))
    def set_limit(self, scope: limits.Scope, limit: int | None) -> None:
        """What runs goes on."""
        queue, partition = scope
        operations.set_limit(limit, queue=queue, partition=partition, by="op", source="cli")
        self.model.limits.pop(scope, None)
        if limit is not None:
            self.model.limits[scope] = limit

    @rule(job=jobs)
    def cancel(self, job: uuid.UUID) -> None:
        done, follow_ups = lifecycle.cancel([job], by="op", now=self.model.now)
        self.publish(follow_ups)
        if self.expect(job, "cancel", bool(done)):
            self.model.counted["cancelled"] += 1

    @rule()
    def purge(self) -> None:
        """The pending jobs of the queue are cancelled, and leave the line; no others."""
        pending = self.model.pending()
        result = operations.purge("q", by="op", source="cli")
        assert (result.requested, result.changed) == (len(pending), len(pending))
        for job in pending:
            self.model.move(job, "cancel", State.CANCELLED)
            self.model.jobs[job].ended_at = Job.objects.get(pk=job).finished_at  # an operation has no other clock
            self.model.counted["cancelled"] += 1
        self.model.line -= pending

    @rule(job=jobs)
    def ask_the_worker_to_stop(self, job: uuid.UUID) -> None:
        expected = self.model.jobs[job]
        asked = lifecycle.request_cancel([job], by="op", now=self.model.now)
        assert bool(asked) is (expected.state == State.PROCESSING and not expected.cancel_requested)
        if asked:
            expected.cancel_requested = True
            expected.edges.append("request_cancel")

    @rule(job=jobs)
    def retry(self, job: uuid.UUID) -> None:
        expected = self.model.jobs[job]
        ready = lifecycle.retry([job], by="op", order_key=1, now=self.model.now)
        self.publish(ready)
        if expected.cleaned or self.model.is_key_held(expected.unique_key, but=job):
            assert ready == []
            return
        if self.expect(job, "retry", bool(ready)):
            expected.run += 1
            expected.failures = expected.crashes = 0
            expected.cancel_requested = False

    @rule(job=jobs)
    def retry_now(self, job: uuid.UUID) -> None:
        ready = lifecycle.retry_now([job], by="op", order_key=1, now=self.model.now)
        self.publish(ready)
        self.expect(job, "retry_now", bool(ready))

    @rule(job=jobs)
    def discard(self, job: uuid.UUID) -> None:
        done, follow_ups = lifecycle.discard([job], by="op", now=self.model.now)
        self.publish(follow_ups)
        if self.expect(job, "discard", bool(done)):
            self.model.counted["cancelled"] += 1

    def expect(self, job: uuid.UUID, edge: str, moved: bool) -> bool:
        """A single job moved exactly if its state allows the edge."""
        assert moved is (self.model.jobs[job].state in EDGES[edge].sources)
        if moved:
            self.model.move(job, edge, EDGES[edge].targets[0])
        return moved


class Retention(Machine):
    @rule(hours=st.sampled_from([0, 2]))
    def clean_up(self, hours: int) -> None:
        """What ended over an hour ago is emptied, except dead letters and what a live follow-up may still need."""
        self.model.now += timedelta(hours=hours)
        now = self.model.now
        ages = retention.Ages(completed=1, cancelled=1, failed=1)
        cleaned = {job for batch in retention.clean(ages, now=now) for job in batch.ids}
        for job, expected in self.model.jobs.items():
            kept = expected.state == State.DEAD_LETTER or expected.announced or expected.cleaned
            due = self._ended_before(expected, hours=1) and not kept
            assert (job in cleaned) is due
            if due:
                expected.cleaned = True
                expected.edges.clear()

    @rule(hours=st.sampled_from([0, 4]))
    def forget(self, hours: int) -> None:
        """The rows of jobs that were emptied are deleted after three hours, and nothing else is."""
        self.model.now += timedelta(hours=hours)
        forgotten = {job for ids in retention.forget(older_than_days=0.125, now=self.model.now) for job in ids}
        for job, expected in self.model.present().items():
            due = expected.cleaned and self._ended_before(expected, hours=3)
            assert (job in forgotten) is due
            if due:
                expected.state = None

    def _ended_before(self, expected: Expected, *, hours: int) -> bool:
        return expected.ended_at is not None and expected.ended_at < self.model.now - timedelta(hours=hours)
