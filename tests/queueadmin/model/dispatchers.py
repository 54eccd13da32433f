"""The rules of the dispatcher and of Redis: time passes, the silent are judged, what is missing is published again."""

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from queueadmin import dispatch, lifecycle, presence
from queueadmin.models import Job
from queueadmin.states import State
from queueadmin.sweep import sweep
from tests.queueadmin.model.clients import Machine
from tests.queueadmin.model.expected import LEASE_SECONDS, MAX_CRASHES, SILENT_SECONDS
from tests.queueadmin.model.workers import JUDGE, workers


class Dispatchers(Machine):
    @rule(seconds=st.sampled_from([1, 5, 61, 61, 7200]))
    def time_passes_and_due_jobs_are_promoted(self, seconds: int) -> None:
        self.model.now += timedelta(seconds=seconds)
        promoted = lifecycle.promote(limit=1000, order_key=int(self.model.now.timestamp()), now=self.model.now)
        for job, expected in self.model.jobs.items():
            if expected.state in (State.SCHEDULED, State.RETRYING) and expected.due <= self.model.now:
                self.model.move(job, "promote", State.PENDING)
        self.publish(promoted)

    # -- who leads, who is dead --------------------------------------------------------------

    @rule(worker=workers, gives_up=st.booleans())
    def a_worker_wants_to_lead(self, worker: int, gives_up: bool) -> None:
        """There is one leader until it gives up or its lease has expired."""
        model = self.model
        free = model.leader in (None, worker) or model.leads_until < model.now
        assert presence.acquire("dispatcher", holder=worker, seconds=LEASE_SECONDS, now=model.now) is free
        if free:
            model.leader, model.leads_until = worker, model.now + timedelta(seconds=LEASE_SECONDS)
        if gives_up:
            presence.give_up("dispatcher", holder=worker, now=model.now - timedelta(seconds=1))
            model.leader = None if model.leader == worker else model.leader

    @rule(is_sound=st.booleans())
    def the_silent_are_judged(self, is_sound: bool) -> None:
        self._judge(is_sound=is_sound)

    @rule(worker=workers)
    def one_worker_falls_silent_and_is_judged(self, worker: int) -> None:
        self.model.now += timedelta(seconds=11)
        for other, seat in self.model.seats.items():
            if other != worker and not seat.is_over:
                assert presence.beat(other, busy=0, unwritten=0, now=self.model.now)
                seat.beat_at = self.model.now
        self._judge(is_sound=True)

    def _judge(self, *, is_sound: bool) -> None:
        """Who was silent for too long is buried, if the judge was not; who is gone from this host, in any case."""
        now = self.model.now
        lost = dispatch.lost_workers(silent_seconds=SILENT_SECONDS, judge_is_sound=is_sound, me=JUDGE, now=now)
        for seat in self.model.seats.values():
            is_silent = now - seat.beat_at >= timedelta(seconds=SILENT_SECONDS)
            if not seat.is_over and ((seat.is_here and not seat.runs) or (is_sound and is_silent)):
                seat.buried = True
        over = [worker for worker, seat in self.model.seats.items() if seat.is_over]
        assert sorted(lost) == sorted({self.model.jobs[job].worker for job in self.model.held_by(over)})
        moved = lifecycle.rescue(lost, worker_id=JUDGE.id, max_crashes=MAX_CRASHES, now=now)
        held = self.model.held_by(over)
        assert moved == len(held)
        for job in held:
            self.model.rescue(job)

    # -- Redis -------------------------------------------------------------------------------

    @rule()
    def publishing_begins_to_fail_or_ceases_to(self) -> None:
        self.publishes_arrive = not self.publishes_arrive

    @precondition(lambda self: self.model.line)
    @rule()
    def redis_forgets(self) -> None:
        self.valkey.flushall()
        self.model.line.clear()

    @rule()
    def the_sweep_publishes_what_is_missing(self) -> None:
        """Exactly that: who stands in line keeps its place."""
        sets = self.broker.ready_sets
        follow_ups = set(Job.objects.filter(actor="after").values_list("pk", flat=True))
        in_line = {job for job, _ in sets.members("f", "normal", start=0, count=999)}
        pending = self.model.pending()
        swept = sweep(sets, spare_young=False)
        assert swept.pending == len(pending) + len(follow_ups)
        assert swept.republished == len(pending - self.model.line) + len(follow_ups - in_line)
        self.model.line |= pending
