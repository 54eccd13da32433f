"""The jobs in hand: each leaves once, and credits follow the work."""

import time
import uuid

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from queueadmin.hand import Hand
from queueadmin.ids import new_token
from queueadmin.jobs import Claim, ClaimedJob


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def job() -> ClaimedJob:
    return ClaimedJob(
        id=uuid.uuid4(), token=new_token(), queue="q", actor="a", payload={}, attempt=1, run=1, failures=0,
        crashes=0, max_attempts=1,
    )  # fmt: skip


def take(hand: Hand, *jobs: ClaimedJob) -> None:
    claims = [Claim(id=item.id, token=item.token) for item in jobs]
    hand.announce(claims)
    hand.take(claims, jobs)


def test_an_idle_process_fetches_no_more_than_its_threads() -> None:
    hand = Hand(threads=8)
    assert hand.wait_for_credit(0) == 8


def test_quick_jobs_earn_lookahead_and_long_ones_lose_it() -> None:
    clock = Clock()
    hand = Hand(threads=8, clock=clock)
    for seconds, expected in ((0.001, True), (2.0, False)):
        for _ in range(60):
            item = job()
            take(hand, item)
            hand.start(item.token)
            clock.now += seconds
            hand.settle(item.token)
        assert (hand.wait_for_credit(0) > 8) is expected


def test_right_after_a_claim_the_next_one_waits_for_half_of_the_threads() -> None:
    # Given seven jobs of eight threads, claimed a moment ago
    clock = Clock()
    hand = Hand(threads=8, clock=clock)
    jobs = [job() for _ in range(7)]
    take(hand, *jobs)
    # When another job is asked for, it has to wait for the moment to pass
    started = time.monotonic()
    assert hand.wait_for_credit(0.25) == 1
    assert 0.05 < time.monotonic() - started < 5
    # But not when half of the threads are free
    for item in jobs[3:]:
        hand.settle(item.token)
    assert hand.wait_for_credit(0) == 5
    # And later not at all
    clock.now += 1
    take(hand, *jobs[3:])
    clock.now += 1
    started = time.monotonic()
    assert hand.wait_for_credit(30) == 1
    assert time.monotonic() - started < 10


def test_what_waits_too_long_for_a_thread_is_given_back_and_never_runs() -> None:
    clock = Clock()
    hand = Hand(threads=1, clock=clock)
    running, waiting = job(), job()
    take(hand, running, waiting)
    hand.start(running.token)
    clock.now += 1.5
    assert [held.job for held in hand.take_unstarted(older_than=1.0)] == [waiting]
    assert not hand.start(waiting.token)
    assert hand.settle(waiting.token) is None


class HandMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order: a job is settled at most once, and credits never exceed the capacity."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.hand = Hand(threads=3, clock=self.clock)
        self.inside: set[uuid.UUID] = set()

    @rule(target=jobs)
    def take(self) -> ClaimedJob:
        item = job()
        take(self.hand, item)
        self.inside.add(item.token)
        return item

    @rule(item=jobs)
    def start(self, item: ClaimedJob) -> None:
        assert self.hand.start(item.token) == (item.token in self.inside)

    @rule(item=consumes(jobs))
    def settle(self, item: ClaimedJob) -> None:
        assert (self.hand.settle(item.token) is not None) == (item.token in self.inside)
        self.inside.discard(item.token)

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(older=st.sampled_from([0, 1.0]))
    def release(self, older: float) -> None:
        for held in self.hand.take_unstarted(older_than=older):
            assert held.started is None
            self.inside.remove(held.job.token)

    @invariant()
    def holds_exactly_what_was_not_given_away(self) -> None:
        assert self.hand.tokens() == self.inside
        assert self.hand.wait_for_credit(0) <= 3 + 96


TestHandMachine = HandMachine.TestCase
TestHandMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
