"""The rules of the worker processes: they start, beat, claim, report, fall silent, come too late."""

import uuid
from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, initialize, multiple, precondition, rule

from queueadmin import lifecycle, lookup, presence
from queueadmin.ids import new_token
from queueadmin.jobs import Claim, ClaimedJob, Outcome
from queueadmin.models import WorkerProcess
from queueadmin.states import State
from tests.queueadmin.model.clients import Machine, jobs
from tests.queueadmin.model.expected import RETRY_SECONDS, SUSPECT_FROM, Seat

FINISHES = ("complete", "retry_later", "fail", "bury", "release", "stop")
MOST_WORKERS = 5
NO_PROCESS = 2**22 + 1
"""A process id above the largest."""
JUDGE = presence.identify(99)

claims = Bundle("claims")
workers = Bundle("workers")


class Workers(Machine):
    # -- processes ---------------------------------------------------------------------------

    @initialize(target=workers)
    def two_workers_start(self) -> object:
        return multiple(self._start(is_here=False), self._start(is_here=True))

    @precondition(lambda self: len(self.model.seats) < MOST_WORKERS)
    @rule(target=workers, is_here=st.booleans())
    def a_worker_starts(self, is_here: bool) -> int:
        return self._start(is_here=is_here)

    def _start(self, *, is_here: bool) -> int:
        worker = 11 + len(self.model.seats)
        me = presence.Identity(
            id=worker, name=f"w{worker}", host=JUDGE.host if is_here else "elsewhere", pid=JUDGE.pid,
            pid_started=JUDGE.pid_started,
        )  # fmt: skip
        presence.register(me, queues=["q"], actors=["act"], threads=2, now=self.model.now)
        self.model.seats[worker] = Seat(is_here=is_here, beat_at=self.model.now)
        return worker

    @rule(worker=workers)
    def a_worker_beats(self, worker: int) -> None:
        """It learns whether it is buried; if not, the ledger says what it holds, and strangers are given back."""
        seat = self.model.seats[worker]
        if not seat.runs or seat.stopped:
            return
        assert (presence.beat(worker, busy=0, unwritten=0, now=self.model.now) is None) is seat.buried
        if seat.buried:
            seat.runs = False
            return
        seat.beat_at = self.model.now
        held = {row["id"]: (row["token"], row["cancel"]) for row in lookup.held_by(worker)}
        mine = {job: self.model.jobs[job] for job in self.model.held_by([worker])}
        assert held == {job: (e.token, e.cancel_requested) for job, e in mine.items()}
        strangers = [Claim(id=job, token=token) for job, (token, _) in held.items() if token in seat.unheard]
        self.finish_all([(job, "release") for job in lifecycle.recover_claims(strangers)], worker=worker)

    @rule(worker=workers)
    def a_worker_stops_in_order_and_overlooks_what_it_holds(self, worker: int) -> None:
        seat = self.model.seats[worker]
        if seat.runs and not seat.is_over:
            presence.mark_stopped(worker, now=self.model.now)
            seat.stopped, seat.runs = True, False

    @rule(worker=workers)
    def a_process_is_killed(self, worker: int) -> None:
        self.model.seats[worker].runs = False
        WorkerProcess.objects.filter(pk=worker).update(pid=NO_PROCESS)

    # -- jobs --------------------------------------------------------------------------------

    @rule(
        target=claims, job=jobs, worker=workers, reply=st.sampled_from(["heard", "asked for again", "lost"]),
        alone=st.booleans(),
    )  # fmt: skip
    def a_worker_claims(self, job: uuid.UUID, worker: int, reply: str, alone: bool) -> object:
        """By an id that it popped before, once or twice. Also when it is buried: it has not learnt of that yet."""
        return multiple(*self.claim([job], worker, reply=reply, alone=alone))

    @precondition(lambda self: self.model.line)
    @rule(target=claims, worker=workers, reply=st.sampled_from(["heard", "lost"]))
    def a_worker_pops_and_claims(self, worker: int, reply: str) -> object:
        """What it pops is gone from Redis, also when the reply never reaches it."""
        popped = self.broker.ready_sets.pop(["q"], count=2, timeout=1.0, normal_first=False)
        assert len(popped) == min(2, len(self.model.line))
        assert set(popped) <= self.model.line
        self.model.line -= set(popped)
        return multiple(*(self.claim(popped, worker) if reply == "heard" else ()))

    def claim(
        self, ids: Sequence[uuid.UUID], worker: int, *, reply: str = "heard", alone: bool = True
    ) -> list[ClaimedJob]:
        """The jobs that the worker knows it holds now."""
        wishes = [Claim(id=job, token=new_token()) for job in ids]
        got = lifecycle.claim(
            wishes, actors=["act"], worker_id=worker, suspects=alone, suspect_from=SUSPECT_FROM, now=self.model.now
        )
        for wish in wishes:
            expected = self.model.jobs[wish.id]
            may = expected.state == State.PENDING and (alone or expected.crashes < SUSPECT_FROM)
            assert (wish.id in {job.id for job in got}) is may
            if may:
                self.model.claim(wish.id, worker=worker, token=wish.token)
        if reply == "lost":
            self.model.seats[worker].unheard |= {job.token for job in got}
            return []
        if reply == "asked for again":
            got = lifecycle.recover_claims(wishes)
        known = {job: (e.token, e.attempt, e.run) for job, e in self.model.jobs.items()}
        assert all((job.token, job.attempt, job.run) == known[job.id] for job in got)
        return got

    @rule(claim=claims, edge=st.sampled_from(FINISHES), twice=st.booleans())
    def finish(self, claim: ClaimedJob, edge: str, twice: bool) -> None:
        """A worker reports: in time, late (the job was rescued and is someone else's by now), or twice."""
        self.finish_all([(claim, edge)])
        if twice:
            self.finish_all([(claim, edge)])

    @rule(first=claims, second=claims, edge=st.sampled_from(FINISHES), other=st.sampled_from(FINISHES))
    def finish_a_batch(self, first: ClaimedJob, second: ClaimedJob, edge: str, other: str) -> None:
        if first.id != second.id:
            self.finish_all([(first, edge), (second, other)])

    @rule(target=claims, job=jobs, first=workers, second=workers, edge=st.sampled_from(FINISHES))
    def a_report_comes_when_the_job_is_someone_elses(
        self, job: uuid.UUID, first: int, second: int, edge: str
    ) -> object:
        late = self.claim([job], first)
        self.finish_all([(claim, "release") for claim in late])
        fresh = self.claim([job], second) if late else []
        self.finish_all([(claim, edge) for claim in late])
        return multiple(*fresh)

    def finish_all(self, reports: Sequence[tuple[ClaimedJob, str]], *, worker: int = 11) -> None:
        """A batch as the writer commits it, and what became due by it published."""
        outcomes = [outcome(claim, edge) for claim, edge in reports]
        finished = lifecycle.finish(outcomes, worker_id=worker, now=self.model.now)
        taken = [self.model.finish(claim.id, edge, token=claim.token) for claim, edge in reports]
        assert finished.written == sum(taken)
        assert lifecycle.still_owed(outcomes) == []
        self.publish(finished.due)


def outcome(claim: ClaimedJob, edge: str) -> Outcome:
    match edge:
        case "complete":
            return lifecycle.complete(claim, result={"n": 1})
        case "retry_later":
            return lifecycle.retry_later(claim, delay=RETRY_SECONDS, code="c", message="m")
        case "fail":
            return lifecycle.fail(claim, code="c", message="m")
        case "bury":
            return lifecycle.bury(claim, code="c", message="m")
        case "release":
            return lifecycle.release(claim, reason="r")
    return lifecycle.stop(claim)
