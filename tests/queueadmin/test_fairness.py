"""Who is next: partitions take turns, each in its own order, and what is remembered of them may be lost."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, count
from uuid import UUID

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from queueadmin.jobs import Ready
from queueadmin.ready import ReadySets
from queueadmin.redis_client import RedisOptions, connect
from tests.servers import ValkeyServer


@pytest.fixture
def sets(valkey: redis.Redis, valkey_server: ValkeyServer) -> Iterator[ReadySets]:
    client = connect(RedisOptions(url=valkey_server.url), namespace="t", timeout=2)
    made = ReadySets(client, namespace="t", high_priority_from=3)
    yield made
    made.close()


_ids = (UUID(int=7 << 76 | 2 << 62 | number << 80) for number in count())
"""Ids break ties; these rise, as those of jobs that were not made within one millisecond."""


def jobs(partition: str, count: int, *, since: int = 0) -> list[Ready]:
    """New jobs of one partition, in their order."""
    return [
        Ready(id=next(_ids), queue="q", priority=0, order_key=since + number, partition_key=partition)
        for number in range(count)
    ]


def pop(sets: ReadySets, count: int) -> list[UUID]:
    return sets.pop(["q"], count=count, timeout=0.05, normal_first=False)


def line(sets: ReadySets) -> list[UUID]:
    return [job_id for job_id, _ in sets.members("q", "normal", start=0, count=10_000)]


def places(sets: ReadySets, wanted: list[Ready]) -> list[int | None]:
    """Places in line, beginning at 1."""
    ranks = [sets.rank(job) for job in wanted]
    return [None if rank is None else rank + 1 for rank in ranks]


def test_a_newcomer_waits_for_one_job_of_a_long_backlog_not_for_all_of_it(sets: ReadySets) -> None:
    # Given a backlog of A, of which some has run
    backlog = jobs("a", 1500)
    sets.add(backlog)
    pop(sets, 100)
    # When five jobs of B arrive
    mine = jobs("b", 5, since=10_000)
    sets.add(mine)
    # Then they and A's jobs take turns
    assert places(sets, mine) == [2, 4, 6, 8, 10]
    # And A's jobs are in their order still
    assert [job_id for job_id in line(sets) if job_id not in {job.id for job in mine}] == [
        job.id for job in backlog[100:]
    ]


def test_three_partitions_get_a_third_each_whatever_they_have_waiting(sets: ReadySets) -> None:
    # Given
    waiting = {"a": jobs("a", 900), "b": jobs("b", 40, since=1000), "c": jobs("c", 40, since=2000)}
    for partition in waiting.values():
        sets.add(partition)
    owner = {job.id: name for name, partition in waiting.items() for job in partition}
    # When
    first = pop(sets, 90)
    # Then
    assert Counter(owner[job_id] for job_id in first) == {"a": 30, "b": 30, "c": 30}


def test_without_partitions_the_order_is_that_of_arrival(sets: ReadySets) -> None:
    all_of_one = jobs("", 50)
    sets.add(all_of_one[:20])
    sets.add(all_of_one[20:])
    assert line(sets) == [job.id for job in all_of_one]


def test_publishing_again_costs_no_turn(sets: ReadySets) -> None:
    # Given a job of A that was published ten times, beside a backlog of B
    sets.add(jobs("b", 20))
    first, second = jobs("a", 2)
    for _ in range(10):
        sets.add([first])
    # When A's next one comes
    sets.add([second])
    # Then it has the second turn
    assert places(sets, [first, second]) == [2, 4]


def test_a_job_that_is_given_back_stands_at_the_head_and_has_paid(sets: ReadySets) -> None:
    # Given three jobs of A taken by a worker that stops
    backlog = jobs("a", 10)
    sets.add(backlog)
    sets.add(jobs("b", 10, since=100))
    taken = pop(sets, 3)
    # When it gives A's back
    sets.add([replace(job, given_back=True) for job in backlog if job.id in taken])
    # Then they are next, and A's next job stands behind A's last
    assert line(sets)[0] == backlog[0].id
    (late,) = jobs("a", 1, since=500)
    sets.add([late])
    assert [job_id for job_id in line(sets) if job_id in {job.id for job in [*backlog, late]}] == [
        job.id for job in [*backlog, late]
    ]


def test_whoever_cancels_a_backlog_does_not_wait_behind_its_ghost(sets: ReadySets) -> None:
    # Given 1,000 jobs of A, cancelled, beside a few of B
    backlog = jobs("a", 1000)
    sets.add(backlog)
    sets.add(jobs("b", 5, since=2000))
    sets.remove(backlog)
    # When A submits again, and then C, which has used nothing
    mine, theirs = jobs("a", 1, since=3000), jobs("c", 1, since=4000)
    sets.add(mine)
    sets.add(theirs)
    # Then A waits for the few that are there, not for a thousand turns
    (place,) = places(sets, mine)
    assert place is not None
    assert place <= 7


def test_an_empty_line_remembers_nobody(sets: ReadySets, valkey: redis.Redis) -> None:
    # Given many partitions that came and went
    sets.add([job for number in range(200) for job in jobs(f"tenant-{number}", 1)])
    pop(sets, 200)
    # When one job comes
    sets.add(jobs("a", 1))
    # Then only its partition is remembered
    assert valkey.zrange("{t}:fair:q:normal", 0, -1) == [b"a"]


def test_partitions_that_have_had_their_turn_are_forgotten_beside_a_backlog(
    sets: ReadySets, valkey: redis.Redis
) -> None:
    sets.add(jobs("a", 500))
    for number in range(100):
        sets.add(jobs(f"tenant-{number}", 1, since=1000))
        pop(sets, 4)
    assert valkey.zcard("{t}:fair:q:normal") < 10


def test_a_lost_memory_costs_order_only(sets: ReadySets, valkey: redis.Redis) -> None:
    # Given
    everything = jobs("a", 30) + jobs("b", 30)
    sets.add(everything)
    # When Redis forgets, and the sweep publishes what is missing
    valkey.flushall()
    valkey.script_flush()
    assert sets.add(sets.missing(everything)) == 60
    # Then everything is in line again, in turns
    owner = {job.id: job.partition_key for job in everything}
    turns = [owner[job_id] for job_id in line(sets)]
    assert Counter(turns[:10]) == {"a": 5, "b": 5}


def test_bands_are_lines_of_their_own(sets: ReadySets) -> None:
    urgent = replace(jobs("a", 1)[0], priority=5)
    sets.add(jobs("a", 10))
    sets.add([urgent])
    assert pop(sets, 1) == [urgent.id]


def test_every_key_lies_in_the_namespace_s_slot(sets: ReadySets, valkey: redis.Redis) -> None:
    sets.add(jobs("a", 1))
    assert all(key.startswith(b"{t}:") for key in valkey.scan_iter())


# -- any sequence of events ----------------------------------------------------------------------

PARTITIONS = st.sampled_from(["a", "b", "c"])


class Line(RuleBasedStateMachine):
    """Jobs come, are published again, are popped and given back, in any order."""

    sets: ReadySets
    valkey: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.valkey.flushall()
        self.clock = 0
        self.waiting: dict[str, list[Ready]] = {"a": [], "b": [], "c": []}
        self.taken: list[Ready] = []
        self.served: Counter[str] = Counter()
        self.since: dict[tuple[str, str], Counter[str]] = {}
        """Pairs of partitions that have had jobs waiting without a break, and what each was served by then."""

    @rule(partition=PARTITIONS, count=st.integers(1, 30))
    def submit(self, partition: str, count: int) -> None:
        new = jobs(partition, count, since=self.clock)
        self.clock += count
        assert self.sets.add(new) == count
        self.waiting[partition] += new

    @rule(partition=PARTITIONS)
    def publish_again(self, partition: str) -> None:
        assert self.sets.add(self.waiting[partition]) == 0

    @precondition(lambda self: any(self.waiting.values()))
    @rule(count=st.integers(1, 12))
    def take(self, count: int) -> None:
        for job_id in pop(self.sets, count):
            self._follow_pairs()
            partition, job = next(
                (name, line[0]) for name, line in self.waiting.items() if line and line[0].id == job_id
            )  # the first of its partition, or StopIteration
            self.waiting[partition].pop(0)
            self.taken.append(job)
            self.served[partition] += not job.given_back
            self._follow_pairs()

    @precondition(lambda self: self.taken)
    @rule(count=st.integers(1, 4))
    def give_back(self, count: int) -> None:
        """The latest ones, as a worker does that stops. They have had their turns, and are next."""
        back = [replace(job, given_back=True) for job in self.taken[-count:]]
        del self.taken[-count:]
        assert self.sets.add(back) == len(back)
        for name, line in self.waiting.items():
            line[:0] = [job for job in back if job.partition_key == name]

    @invariant()
    def nobody_is_lost(self) -> None:
        assert sorted(line(self.sets)) == sorted(job.id for line in self.waiting.values() for job in line)

    def _follow_pairs(self) -> None:
        """Whoever has jobs waiting all the while has at most two turns more than another: the paper's bound."""
        busy = [name for name, line in self.waiting.items() if line]
        self.since = {pair: self.since.get(pair, Counter(self.served)) for pair in combinations(busy, 2)}
        for pair, before in self.since.items():
            one, other = (self.served[name] - before[name] for name in pair)
            assert abs(one - other) <= 2, (pair, one, other)


def test_in_any_sequence_of_events_turns_are_fair_and_partitions_keep_their_order(
    sets: ReadySets, valkey: redis.Redis
) -> None:
    machine = type("OnValkey", (Line,), {"sets": sets, "valkey": valkey})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
