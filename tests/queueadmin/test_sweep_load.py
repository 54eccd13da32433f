"""The sweep of a long line: SWEEP_ROWS pending jobs (default 20,000; 1,000,000 for a release) starve nobody."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from django.db import connection
from django.utils import timezone

from queueadmin import lookup, presence
from queueadmin.broker import LedgerRedisBroker
from queueadmin.dispatch import Dispatcher
from queueadmin.models import Job, JobEvent
from queueadmin.states import State
from tests.queueadmin.factories import claimed, submitted
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = int(os.environ.get("SWEEP_ROWS", "20000"))
_GONE = 2**22 + 1
"""A process id above the largest."""


def insert_pending(count: int) -> None:
    """Jobs of fifty tenants that became due one after the other, an hour ago, and are in no ready set."""
    if connection.vendor != "postgresql":
        pytest.skip("generate_series is PostgreSQL's")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO queueadmin_job (id, queue, actor, state, priority, order_key, partition_key, payload, "
            "attempt, failures, crashes, run, max_attempts, created_at, error_code, error_message, fingerprint) "
            "SELECT gen_random_uuid(), 'long', 'act', 'pending', 0, "
            "(extract(epoch FROM now()) - 3600) * 1000000 + n, 't' || n %% 50, "
            """'{"args": [1], "kwargs": {}, "options": {}}', 0, 0, 0, 1, 3, now() - interval '1 hour', '', '', '' """
            "FROM generate_series(1, %s) n",
            [count],
        )
        cursor.execute("ANALYZE queueadmin_job")


@pytest.fixture
def dispatch(broker: LedgerRedisBroker) -> Iterator[Callable[[], Dispatcher]]:
    """Starts a dispatcher that leads, with the service's own times."""
    made: list[Dispatcher] = []

    def start() -> Dispatcher:
        dispatcher = Dispatcher(
            presence.identify(1), settings=replace(broker.settings, sweep_seconds=15.0, promote_seconds=0.25),
            sets=broker.ready_sets, publisher=broker.publisher, actors={}, sweep_wanted=threading.Event(),
            is_healthy=lambda: True, beats_on_time=lambda: True,
        )  # fmt: skip
        made.append(dispatcher)
        dispatcher.start()
        return dispatcher

    yield start
    for dispatcher in made:
        dispatcher.stop()


def lags_of_promotion(until: Callable[[], bool]) -> list[float]:
    """Seconds from when a job was due until it was promoted, one job after the other."""
    lags = []
    while not until():
        job_id = submitted(delay=0.2)
        due = time.monotonic() + 0.2
        wait_until(lambda job=job_id: Job.objects.get(pk=job).state == State.PENDING, seconds=60, what="the promotion")
        lags.append(time.monotonic() - due)
    return lags


@pytest.mark.timeout(900)
def test_a_long_line_is_published_while_due_jobs_are_promoted_and_lost_ones_rescued(
    broker: LedgerRedisBroker, dispatch: Callable[[], Dispatcher]
) -> None:
    # Given a Redis that has lost everything, and a job whose worker dies
    insert_pending(ROWS)
    orphan = claimed(submitted(), worker_id=5)
    gone = presence.Identity(id=5, name="w5", host=presence.this_host(), pid=_GONE, pid_started="1")
    presence.register(gone, queues=["q"], actors=["act"], threads=2)

    def in_line() -> int:
        return broker.ready_sets.depth("long")["normal"]

    # When a dispatcher leads
    started, began = time.monotonic(), timezone.now()
    dispatch()
    lags = lags_of_promotion(lambda: in_line() == ROWS)
    took = time.monotonic() - started
    # Then everything is in line again, and nobody waited for that (a rescue waits a second for how the worker died)
    wait_until(JobEvent.objects.filter(job_id=orphan.id, edge="rescue").exists, seconds=8, what="the rescue", every=0.1)
    rescued = JobEvent.objects.get(job_id=orphan.id, edge="rescue").at - began
    assert took < 10 + ROWS / 10_000
    assert max(lags) < 3
    assert rescued.total_seconds() < 8
    # And when only the last one is missing, it is found
    started = time.monotonic()
    last = list(Job.objects.filter(queue="long").order_by("-order_key").values_list("pk", flat=True)[:1])
    broker.ready_sets.remove(lookup.waiting(last))
    broker.ready_sets.ask_for_sweep()
    wait_until(lambda: in_line() == ROWS, seconds=300, every=0.1, what="the last one")
    print(  # noqa: T201  # shown with -s
        f"{ROWS} rows in line after {took:.1f} s; promoted after {max(lags):.2f} s at most; "
        f"the last one found after {time.monotonic() - started:.1f} s"
    )
