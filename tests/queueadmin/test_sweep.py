"""The sweep publishes exactly what is missing, oldest first, and never becomes a flood."""

import threading

import pytest

from queueadmin import lifecycle, lookup
from queueadmin.broker import LedgerRedisBroker
from queueadmin.jobs import order_key_now
from queueadmin.measures import Measures
from queueadmin.models import Job
from queueadmin.sweep import Sweeper, sweep, sweep_pages
from tests.queueadmin.factories import new_job, submitted

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


def test_the_sweep_publishes_exactly_what_is_missing(broker: LedgerRedisBroker) -> None:
    # Given pending jobs of two queues and priorities, some of them published
    ids = [submitted(queue=queue, priority=priority) for queue in ("a", "b") for priority in (0, 5) for _ in range(5)]
    everything = sorted(Job.objects.values_list("pk", flat=True))
    sweep(broker.ready_sets, spare_young=False)
    broker.ready_sets.remove(lookup.waiting(ids[:3]))
    # When it sweeps
    swept = sweep(broker.ready_sets, spare_young=False)
    # Then it put back the three, and every job is there once, in its band
    assert (swept.pending, swept.republished) == (20, 3)
    members = [
        job for queue in ("a", "b") for band in ("high", "normal")
        for job, _ in broker.ready_sets.members(queue, band, start=0, count=100)
    ]  # fmt: skip
    assert sorted(members) == everything
    assert broker.ready_sets.depth("a") == {"high": 5, "normal": 5}


def test_the_sweep_leaves_jobs_alone_that_are_just_being_published(broker: LedgerRedisBroker) -> None:
    submitted()
    assert sweep(broker.ready_sets).pending == 0


def test_the_sweep_sees_jobs_of_a_host_whose_clock_is_ahead(broker: LedgerRedisBroker) -> None:
    # Given a job that was accepted by a host whose clock is an hour ahead, and never published
    submitted(order_key=order_key_now() + 3600 * 1_000_000)
    # Then the next regular sweep publishes it, not the one in an hour
    assert sweep(broker.ready_sets).republished == 1


def test_a_sweep_can_stop_after_any_page_and_go_on_later(broker: LedgerRedisBroker) -> None:
    # Given more jobs than a page holds
    lifecycle.submit([new_job() for _ in range(2300)])
    # When it is taken page by page
    pages = sweep_pages(broker.ready_sets, spare_young=False)
    first = next(pages)
    # Then the oldest are published first, and the rest when it goes on
    assert (first.pending, broker.ready_sets.depth("q")["normal"]) == (1000, 1000)
    *_, last = pages
    assert (last.pending, last.republished, broker.ready_sets.depth("q")["normal"]) == (2300, 2300, 2300)


class Clock:
    """Seconds that pass when somebody looks, and when they are added."""

    def __init__(self, *, each_look: float = 0.0) -> None:
        self.now, self._each_look = 0.0, each_look

    def __call__(self) -> float:
        self.now += self._each_look
        return self.now


def test_a_fault_that_never_ends_makes_one_sweep_a_second_and_no_flood(broker: LedgerRedisBroker) -> None:
    # Given a job that is lost from the line again and again, and somebody who always wants a sweep
    clock, wanted, measures = Clock(), threading.Event(), Measures()
    sweeper = Sweeper(broker.ready_sets, every_seconds=15, measures=measures, clock=clock)
    job_id = submitted()
    found = 0
    # When ten seconds pass
    for _ in range(100):
        clock.now += 0.1
        broker.ready_sets.remove(lookup.waiting([job_id]))
        wanted.set()
        sweeper.step(wanted)
        found += broker.ready_sets.depth("q")["normal"]
    # Then it was looked for ten times
    assert 9 <= found <= 10


def test_sweeps_of_a_long_line_leave_time_for_everything_else(broker: LedgerRedisBroker) -> None:
    # Given a line of three pages, each of which takes a while, and somebody who always wants a sweep
    clock, wanted = Clock(each_look=0.3), threading.Event()
    sweeper = Sweeper(broker.ready_sets, every_seconds=15, measures=Measures(), clock=clock)
    lifecycle.submit([new_job() for _ in range(2300)])
    busy, sweeps = 0.0, 0
    # When time passes
    while clock.now < 120:
        before, was_busy = clock.now, sweeper.hurries
        wanted.set()
        sweeper.step(wanted)
        sweeps += was_busy and not sweeper.hurries
        busy += clock.now - before if was_busy or sweeper.hurries else 0.0
    # Then it was swept now and then, about a quarter of the time
    assert sweeps >= 5
    assert busy < clock.now / 3


def test_the_sweep_pages_through_jobs_of_one_instant(broker: LedgerRedisBroker) -> None:
    for _ in range(30):
        submitted(order_key=1000)

    first = lookup.pending_page("q", after=None, due_before=2000, limit=20)
    rest = lookup.pending_page("q", after=(first[-1].order_key, first[-1].id), due_before=2000, limit=20)
    assert len({job.id for job in first + rest}) == 30
