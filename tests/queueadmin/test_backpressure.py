"""When the database stalls, a worker holds no more than it must: nothing more is fetched, and nobody spins."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import dramatiq
import pytest
from django.db import connection, transaction

from queueadmin import lifecycle
from queueadmin.broker import LedgerRedisBroker
from queueadmin.conf import QueueSettings
from queueadmin.jobs import Ready
from queueadmin.ledger import Writer
from queueadmin.models import Job
from queueadmin.states import State
from tests.queueadmin.factories import WORKER, claimed, submitted
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

UNWRITTEN, THREADS = 4, 2


@pytest.fixture
def settings_of_queue(settings_of_queue: QueueSettings) -> QueueSettings:
    return replace(settings_of_queue, max_unwritten=UNWRITTEN, unstarted_seconds=60.0)


@contextmanager
def no_outcome_can_be_written() -> Iterator[None]:
    """Claims succeed and outcomes wait: somebody else has locked what they are counted in."""
    locked, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("LOCK TABLE queueadmin_jobminute IN ACCESS EXCLUSIVE MODE")
                locked.set()
                let_go.wait(30)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert locked.wait(10)
        yield
    finally:
        let_go.set()
        thread.join(10)


def test_what_cannot_be_written_stops_the_fetching(
    broker: LedgerRedisBroker, run_worker: Callable[..., dramatiq.Worker]
) -> None:
    # Given quick jobs, and a database that takes no outcome
    started: list[int] = []
    actor: Any = dramatiq.actor(started.append, actor_name="act", queue_name="q", broker=broker)
    broker.enqueue_many(actor.message(number) for number in range(100))
    with no_outcome_can_be_written():
        # When a worker is at work
        run_worker(threads=THREADS)
        wait_until(lambda: len(started) >= UNWRITTEN, seconds=10, what="the first jobs")
        time.sleep(1.0)
        # Then it did as many as may be unwritten, has one more in each thread, and left the others in line
        most = UNWRITTEN + THREADS
        assert len(started) <= most
        assert broker.runtime is not None
        assert len(broker.runtime.writer.tokens()) <= most
        assert broker.ready_sets.depth("q")["normal"] >= 100 - 2 * most
    # And it goes on as soon as it can
    wait_until(lambda: Job.objects.filter(state=State.COMPLETED).count() == 100, seconds=30, what="all jobs")
    assert sorted(started) == list(range(100))


class Nowhere:
    """Stands where the publisher stands, at the edge to Redis."""

    def publish(self, jobs: Sequence[Ready]) -> bool:
        return True


def test_a_writer_without_a_database_neither_spins_nor_sleeps_long(caplog: pytest.LogCaptureFixture) -> None:
    # Given an outcome, and a database in which it has no place for a while
    job = claimed(submitted())
    writer = Writer(worker_id=WORKER, publisher=Nowhere(), max_unwritten=9)  # type: ignore[arg-type]  # the edge to Redis
    rename("queueadmin_jobminute", "elsewhere")
    try:
        with caplog.at_level(logging.WARNING, "queueadmin.ledger"):
            writer.start()
            writer.put(lifecycle.complete(job))
            threading.Event().wait(2.0)
    finally:
        rename("elsewhere", "queueadmin_jobminute")
    # Then it has tried again a few times
    tries = [record for record in caplog.records if record.message == "outcomes wait for the database"]
    assert 2 <= len(tries) <= 8
    # And soon after it is back, it succeeds
    assert writer.flush(4)
    writer.stop()
    writer.join(5)
    assert Job.objects.get().state == State.COMPLETED


def rename(table: str, to: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {to}")
