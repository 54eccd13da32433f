"""Concurrency limits: never more at once than allowed, nobody else held up, nothing lost and nothing spinning."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import dramatiq
import pytest
import redis
from django.db import connection, transaction

from queueadmin import inspection, lifecycle, limits, operations, selectors
from queueadmin.broker import LedgerRedisBroker
from queueadmin.exceptions import QueueAdminError
from queueadmin.ids import new_token
from queueadmin.jobs import Claim
from queueadmin.limits import Limits
from queueadmin.models import Job, OperationLog, PartitionLimit, QueueControl
from queueadmin.parking import Parking
from queueadmin.states import State
from queueadmin.sweep import sweep
from tests.queueadmin.factories import WORKER, submitted
from tests.servers import wait_until

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

WHO = {"by": "Ada", "source": "admin"}


@pytest.fixture(autouse=True)
def current_broker(broker: LedgerRedisBroker) -> Iterator[LedgerRedisBroker]:
    """Operations use Dramatiq's current broker: here the test's own."""
    before = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    dramatiq.actor(lambda: None, broker=broker, actor_name="act", queue_name="q")
    yield broker
    dramatiq.set_broker(before)


def limit(partition: str, most: int, *, queue: str = "") -> None:
    PartitionLimit.objects.create(partition_key=partition, queue=queue, concurrency_limit=most)


def limit_queue(queue: str, most: int) -> None:
    QueueControl.objects.create(queue=queue, concurrency_limit=most)


def many(count: int, partition: str, **fields: Any) -> list[UUID]:
    return [submitted(partition_key=partition, **fields) for _ in range(count)]


def claim(ids: list[UUID], *, known: Limits | None = None) -> limits.Claimed:
    claims = [Claim(id=job_id, token=new_token()) for job_id in ids]
    return limits.claim(
        claims, limits=limits.known() if known is None else known, actors=["act"], worker_id=WORKER, suspect_from=2
    )


def ids_of(jobs: Any) -> list[UUID]:
    return [job.id for job in jobs]


# -- claiming ------------------------------------------------------------------------------------


def test_a_partition_gets_what_its_limit_leaves_in_order_and_others_are_not_held_up() -> None:
    # Given a partition that may run two at once, beside one without a limit
    limit("a", 2)
    a, b = many(4, "a"), many(3, "b")
    # When both are claimed in one batch
    claimed = claim([a[0], b[0], a[1], a[2], b[1], b[2], a[3]])
    # Then
    assert set(ids_of(claimed.jobs)) == {a[0], a[1], *b}
    assert ids_of(claimed.over_partition) == [a[2], a[3]]
    assert claimed.over_queue == ()
    assert Job.objects.filter(state=State.PENDING).count() == 2
    # And there is no room until one of them ends
    assert ids_of(claim(a[2:]).jobs) == []
    first = next(job for job in claimed.jobs if job.id == a[0])
    lifecycle.finish([lifecycle.complete(first)], worker_id=WORKER)
    assert ids_of(claim(a[2:]).jobs) == [a[2]]


def test_the_narrowest_of_several_limits_decides() -> None:
    # Given limits of the queue, of the partition in it, and of the partition everywhere
    limit_queue("q", 4)
    limit("a", 3)
    limit("a", 2, queue="q")
    # When
    claimed = claim([*many(5, "a"), *many(5, "b")])
    # Then A has two of its own queue, B the rest of it
    running = Counter(job.partition_key for job in claimed.jobs)
    assert running == {"a": 2, "b": 2}
    assert (len(claimed.over_partition), len(claimed.over_queue)) == (3, 3)
    # And in another queue A has one more: three in all
    assert len(claim(many(5, "a", queue="other")).jobs) == 1


def test_a_limit_of_nought_lets_none_run() -> None:
    limit("a", 0)
    (job,) = many(1, "a")
    assert claim([job]).jobs == ()


def test_jobs_without_a_partition_can_be_limited_too() -> None:
    limit("", 1)
    assert len(claim([*many(3, ""), *many(2, "b")]).jobs) == 3


def test_without_limits_a_claim_is_one_statement(django_assert_max_num_queries: Callable[[int], Any]) -> None:
    jobs = many(3, "a")
    plain = 1 if connection.vendor == "postgresql" else 4  # BEGIN, UPDATE, INSERT, COMMIT
    with django_assert_max_num_queries(plain):
        assert len(claim(jobs, known=Limits()).jobs) == 3


def test_claims_at_once_never_take_more_than_the_limit() -> None:
    # Given a limit of three, and thirty jobs
    limit("a", 3)
    jobs = many(30, "a")
    taken: list[UUID] = []
    start = threading.Barrier(5)

    def take(mine: list[UUID]) -> None:
        try:
            start.wait(10)
            for at in range(0, len(mine), 2):
                taken.extend(ids_of(claim(mine[at : at + 2]).jobs))
        finally:
            connection.close()

    # When five threads claim them
    threads = [threading.Thread(target=take, args=(jobs[number::5],)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    # Then
    assert len(taken) == 3
    assert Job.objects.filter(state=State.PROCESSING).count() == 3


def test_a_forgotten_transaction_on_a_limit_stops_nobody_else() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no locks on rows")
    limit("a", 5)
    a, b = many(2, "a"), many(2, "b")
    held, over = threading.Event(), threading.Event()

    def forget() -> None:
        try:
            with transaction.atomic():
                PartitionLimit.objects.select_for_update().get()
                held.set()
                over.wait(20)
        finally:
            connection.close()

    # Given somebody who locked the limit's row and went away
    thread = threading.Thread(target=forget)
    thread.start()
    try:
        assert held.wait(10)
        # When
        claimed = claim([*a, *b])
        # Then the others run, and the limited ones wait
        assert set(ids_of(claimed.jobs)) == set(b)
        assert ids_of(claimed.over_partition) == a
    finally:
        over.set()
        thread.join(10)


# -- parking -------------------------------------------------------------------------------------


def park(broker: LedgerRedisBroker, ids: list[UUID]) -> None:
    broker.ready_sets.park(claim(ids).over_partition)


def test_parked_jobs_are_not_missing_and_come_back_in_their_order(broker: LedgerRedisBroker) -> None:
    # Given three jobs that a limit keeps from running
    limit("a", 0)
    jobs = many(3, "a", priority=5)
    park(broker, jobs)
    assert broker.ready_sets.parked_depth("q") == 3
    # Then the sweep leaves them where they are
    assert sweep(broker.ready_sets, spare_young=False).republished == 0
    # When the limit is raised to two
    operations.set_limit(2, partition="a", **WHO)
    parking = Parking(broker.ready_sets)
    # Then two line up, in order, and no more while they stand there
    assert parking.look(thoroughly=False) == 2
    assert parking.look(thoroughly=False) == 0
    assert [job_id for job_id, _ in broker.ready_sets.members("q", "high", start=0, count=9)] == jobs[:2]
    # And the last one when there is no limit any more
    operations.set_limit(None, partition="a", **WHO)
    assert parking.look(thoroughly=False) == 1
    assert broker.ready_sets.parked_depth("q") == 0


def test_cancelled_jobs_leave_the_parking(broker: LedgerRedisBroker) -> None:
    limit("a", 0)
    jobs = many(3, "a")
    park(broker, jobs)
    operations.cancel(jobs, **WHO)
    assert broker.ready_sets.parked_depth("q") == 0


def test_ghosts_in_the_parking_do_not_take_anybodys_turn(broker: LedgerRedisBroker) -> None:
    # Given parked jobs of which all but the last were cancelled while Redis was away
    limit("a", 0)
    jobs = many(30, "a")
    park(broker, jobs)
    lifecycle.cancel(jobs[:-1], by="Ada")
    # When there is room for one
    operations.set_limit(1, partition="a", **WHO)
    Parking(broker.ready_sets).look(thoroughly=False)
    # Then it is the one that waits
    assert [job_id for job_id, _ in broker.ready_sets.members("q", "normal", start=0, count=9)] == [jobs[-1]]
    assert broker.ready_sets.parked_depth("q") == 0


def test_a_redis_that_forgot_what_was_parked_costs_nothing(broker: LedgerRedisBroker, valkey: redis.Redis) -> None:
    limit("a", 0)
    jobs = many(3, "a")
    park(broker, jobs)
    valkey.flushall()
    assert sweep(broker.ready_sets, spare_young=False).republished == 3


def test_without_limits_nothing_is_asked_of_redis(broker: LedgerRedisBroker, valkey: redis.Redis) -> None:
    many(1, "a")
    parking = Parking(broker.ready_sets)
    parking.look(thoroughly=False)
    before = valkey.info("commandstats").get("cmdstat_zcard", {}).get("calls", 0)
    parking.look(thoroughly=False)
    assert valkey.info("commandstats").get("cmdstat_zcard", {}).get("calls", 0) == before
    # But for a look now and then, because a worker may have heard of a limit's end last
    parking.look(thoroughly=True)
    assert valkey.info("commandstats")["cmdstat_zcard"]["calls"] > before


def test_partitions_are_told_apart_however_they_are_spelt(broker: LedgerRedisBroker) -> None:
    names = ["", "a", "a\x01b", "a b", "ä", "aa"]
    for name in names:
        limit(name, 0)
        park(broker, many(2, name))
    found = list(broker.ready_sets.parked_partitions("q", "normal"))
    assert sorted(found) == sorted(names)
    for name in names:
        parked = broker.ready_sets.parked("q", "normal", name, count=9)
        assert [job.partition_key for job in parked] == [name, name]


# -- with a worker -------------------------------------------------------------------------------


class Watched:
    """An actor's body that notes who runs at once."""

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._seconds = seconds
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.ended: list[str] = []

    def __call__(self, whose: str) -> None:
        with self._lock:
            self.now[whose] += 1
            self.most[whose] = max(self.most[whose], self.now[whose])
            self.most["all"] = max(self.most["all"], self.now.total())
        time.sleep(self._seconds)
        with self._lock:
            self.now[whose] -= 1
            self.ended.append(whose)


def test_a_limited_partition_takes_its_time_and_nobody_elses(
    broker: LedgerRedisBroker, run_worker: Callable[..., dramatiq.Worker], valkey: redis.Redis
) -> None:
    # Given a partition that may run one at once, with a backlog, and six jobs of another behind it
    body = Watched(0.05)
    actor = dramatiq.actor(body, broker=broker, actor_name="watched", queue_name="q")
    limit("a", 1)
    for _ in range(25):
        actor.send_with_options(args=("a",), partition_key="a")
    for _ in range(6):
        actor.send_with_options(args=("b",), partition_key="b")
    # When a worker with four threads runs them
    popped = valkey.info("commandstats").get("cmdstat_bzmpop", {}).get("calls", 0)
    run_worker(threads=4)
    wait_until(lambda: len(body.ended) == 31, seconds=20, what="all jobs")
    # Then never two of A ran at once, B was done long before A, and Redis was not asked in circles
    assert body.most["a"] == 1
    assert body.most["all"] >= 2
    assert body.ended.index("b") < 6 and body.ended[:20].count("b") == 6
    assert valkey.info("commandstats")["cmdstat_bzmpop"]["calls"] - popped < 120


def test_a_limited_queue_runs_no_more_than_it_may_and_the_other_queues_run_on(
    broker: LedgerRedisBroker, run_worker: Callable[..., dramatiq.Worker], valkey: redis.Redis
) -> None:
    body = Watched(0.05)
    narrow = dramatiq.actor(body, broker=broker, actor_name="narrow", queue_name="narrow")
    wide = dramatiq.actor(body, broker=broker, actor_name="wide", queue_name="wide")
    limit_queue("narrow", 2)
    for _ in range(12):
        narrow.send("narrow")
    for _ in range(12):
        wide.send("wide")
    run_worker(threads=4)
    wait_until(lambda: len(body.ended) == 24, seconds=20, what="all jobs")
    assert body.most["narrow"] == 2
    assert body.most["wide"] >= 2


# -- setting and seeing --------------------------------------------------------------------------


def test_setting_a_limit_is_recorded_with_what_it_was_before() -> None:
    assert operations.set_limit(3, queue="q", **WHO).before is None
    result = operations.set_limit(5, queue="q", **WHO, reason="more memory")
    assert (result.before, result.limit) == (3, 5)
    log = OperationLog.objects.get(pk=result.log_id)
    assert (log.operation, log.target, log.outcome, log.reason) == ("set_limit", "q", "done", "more memory")
    assert log.detail == {"queue": "q", "partition": None, "limit": 5, "before": 3}
    operations.set_limit(2, partition="a", queue="q", **WHO)
    operations.set_limit(7, partition="a", **WHO)
    assert [(one.queue, one.partition, one.limit) for one in selectors.limits_in_force()] == [
        ("q", None, 5), ("", "a", 7), ("q", "a", 2),
    ]  # fmt: skip
    # And lifted
    assert operations.set_limit(None, partition="a", queue="q", **WHO).before == 2
    assert operations.set_limit(None, queue="q", **WHO).before == 5
    assert [(one.queue, one.partition) for one in selectors.limits_in_force()] == [("", "a")]


@pytest.mark.parametrize(
    "wanted",
    [
        {"limit": -1, "queue": "q"}, {"limit": 10**9, "queue": "q"}, {"limit": 1}, {"limit": 1, "queue": "nowhere"},
        {"limit": 1, "partition": "a" * 65}, {"limit": 1, "partition": "a\x00"},
    ],
)  # fmt: skip
def test_a_limit_that_makes_no_sense_is_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(QueueAdminError):
        operations.set_limit(**wanted, **WHO)
    assert not limits.known()


def test_a_job_says_which_limit_it_waits_for(broker: LedgerRedisBroker) -> None:
    # Given a partition with one running and one parked
    limit("a", 1, queue="q")
    jobs = many(2, "a")
    park(broker, jobs)
    # When
    reasons = " ".join(inspection.why_waiting(Job.objects.get(pk=jobs[1]), broker.ready_sets))
    # Then
    assert "Its partition, a, may run one job at once in the queue q" in reasons
    assert "next in line when there is room" in reasons
    (queue,) = [one for one in inspection.overview(broker.ready_sets).queues if one.summary.name == "q"]
    assert (queue.ready, queue.parked) == (0, 1)
