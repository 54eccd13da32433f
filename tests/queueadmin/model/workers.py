"""The rules of the worker processes: they start, beat, claim, report, fall silent, come too late."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from django.db import InterfaceError, connection
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, initialize, multiple, precondition, rule

from queueadmin import lifecycle, limits, lookup, presence
from queueadmin.ids import new_token
from queueadmin.jobs import Claim, ClaimedJob, Outcome
from queueadmin.models import WorkerProcess
from tests.queueadmin.model.clients import Machine, jobs
from tests.queueadmin.model.expected import RETRY_SECONDS, SUSPECT_FROM, Desk, Seat

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
        desk = Desk(worker, publisher=self, now=lambda: self.model.now)  # type: ignore[arg-type]  # the edge to Redis
        self.model.seats[worker] = Seat(is_here=is_here, beat_at=self.model.now, desk=desk)
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
        strangers = [
            Claim(id=job, token=token) for job, (token, _) in held.items() if token not in seat.desk.hand.tokens()
        ]
        assert {stranger.token for stranger in strangers} <= seat.unheard
        self.finish_all([(job, "release") for job in lifecycle.recover_claims(strangers)])

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
        """The jobs that the worker knows it holds now. Never do more run than a limit says."""
        may = self.model.claimable(ids, alone=alone)
        got = self._claim(ids, worker, reply=reply, alone=alone)
        if reply == "asked for again":  # in company, so that of those that run alone it has what it had taken
            again = self.model.claimable(ids, alone=False)
            assert set(again) <= {job.id for job in got} <= set(may)
        else:
            assert {job.id for job in got} == set(may)
        for job in got:
            self.model.claim(job.id, worker=worker, token=job.token)
        assert all(self.model.running(scope) <= most for job in got for scope, most in self.model.covering(job.id))
        known = {job: (e.token, e.attempt, e.run) for job, e in self.model.jobs.items()}
        assert all((job.token, job.attempt, job.run) == known[job.id] for job in got)
        if reply == "lost":
            self.model.seats[worker].unheard |= {job.token for job in got}
            return []
        return got

    def _claim(self, ids: Sequence[uuid.UUID], worker: int, *, reply: str, alone: bool) -> list[ClaimedJob]:
        claimer = self.model.seats[worker].desk.claimer
        if reply == "heard":
            return [held.job for held in claimer.claim(ids, ["act"], suspects=alone).held]
        if reply == "asked for again":
            with reply_lost(), suppress(InterfaceError):
                claimer.claim(ids, ["act"], suspects=alone)
            return [held.job for held in claimer.clear_up(["act"]).held] if claimer.has_unclear else []
        wishes = [Claim(id=job, token=new_token()) for job in ids]
        options = {"suspects": alone, "suspect_from": SUSPECT_FROM, "now": self.model.now}
        return list(limits.claim(wishes, limits=limits.known(), actors=["act"], worker_id=worker, **options).jobs)

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

    def finish_all(self, reports: Sequence[tuple[ClaimedJob, str]]) -> None:
        """What the workers that claimed these jobs report, each in one batch."""
        by_seat: dict[int, list[tuple[ClaimedJob, str]]] = {}
        for claim, edge in reports:
            by_seat.setdefault(self.model.holders[claim.token], []).append((claim, edge))
        for worker, those in by_seat.items():
            outcomes = [outcome(claim, edge) for claim, edge in those]
            self.model.seats[worker].desk.report(outcomes)
            for claim, edge in those:
                self.model.finish(claim.id, edge, token=claim.token)
            assert lifecycle.still_owed(outcomes) == []


@contextmanager
def reply_lost() -> Iterator[None]:
    """The statement that claims takes effect, unless it is part of a transaction, and nobody hears of it."""

    def lose(execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: Any) -> Any:
        result = execute(sql, parameters, many, context)
        if "'claim'" in sql:
            raise InterfaceError("the reply was lost")
        return result

    with connection.execute_wrapper(lose):
        yield


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
