"""Retention beside live traffic: RETENTION_ROWS expired jobs (default 20,000; 200,000 for a release) go unnoticed."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from statistics import median, quantiles

import pytest
from django.db import connection

from queueadmin import lifecycle, retention
from queueadmin.models import Job, JobEvent, JobMinute
from tests.queueadmin.factories import WORKER, claimed, submitted

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = int(os.environ.get("RETENTION_ROWS", "20000"))
_AGES = retention.Ages(completed=24, cancelled=24, failed=24 * 14)


def insert_expired(count: int) -> None:
    """Jobs that completed two days ago, each with its three events, counted in a minute of that day."""
    if connection.vendor != "postgresql":
        pytest.skip("generate_series and concurrent writers are PostgreSQL's")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO queueadmin_job (id, queue, actor, state, priority, order_key, partition_key, payload, result, "
            "attempt, failures, crashes, run, max_attempts, created_at, finished_at, error_code, error_message, "
            "fingerprint) SELECT gen_random_uuid(), 'old', 'act', 'completed', 0, n, 't', "
            """'{"args": [1], "kwargs": {}, "options": {}}', '{"n": 1}', 1, 0, 0, 1, 3, """
            "now() - interval '2 days', now() - interval '2 days' + n * interval '1 millisecond', '', '', '' "
            "FROM generate_series(1, %s) n",
            [count],
        )
        cursor.execute(
            "INSERT INTO queueadmin_jobevent (job_id, edge, attempt, at) SELECT id, edge, 1, created_at "
            "FROM queueadmin_job, unnest(ARRAY['submit', 'claim', 'complete']) edge"
        )
        cursor.execute("ANALYZE queueadmin_job")
        cursor.execute("ANALYZE queueadmin_jobevent")
    old = Job.objects.order_by("finished_at").values_list("finished_at", flat=True)[0]
    JobMinute.objects.create(minute=old, source_id=0, queue="old", actor="act", partition_key="t", completed=count)


class Traffic(threading.Thread):
    """Submits, claims and finishes jobs one after the other, and notes how long each took."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds: list[float] = []
        self.halt = threading.Event()

    def run(self) -> None:
        try:
            while not self.halt.is_set():
                started = time.perf_counter()
                lifecycle.finish([lifecycle.complete(claimed(submitted()))], worker_id=WORKER)
                self.seconds.append(time.perf_counter() - started)
        finally:
            connection.close()


class LockWatch(threading.Thread):
    """Looks every 20 ms for a session that waits for a lock, and sums up the longest wait."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.longest = 0.0
        self.halt = threading.Event()

    def run(self) -> None:
        try:
            while not self.halt.wait(0.02):
                with connection.cursor() as cursor:
                    cursor.execute(
                        "SELECT max(extract(epoch FROM clock_timestamp() - l.waitstart)) FROM pg_locks l "
                        "JOIN pg_database d ON d.oid = l.database AND d.datname = current_database() WHERE NOT granted"
                    )
                    self.longest = max(self.longest, float(cursor.fetchone()[0] or 0.0))
        finally:
            connection.close()


@pytest.fixture
def spared_collector() -> Iterator[None]:
    """As in a worker: a look through all the objects of a test run stops its threads for 100 to 300 ms."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("spared_collector")
@pytest.mark.timeout(900)
def test_expired_rows_go_beside_live_traffic_and_nobody_waits_for_a_lock() -> None:
    # Given many expired jobs, and live traffic
    insert_expired(ROWS)
    traffic, watch = Traffic(), LockWatch()
    traffic.start()
    watch.start()
    # When retention empties the expired ones
    started, locked_at, locked = time.monotonic(), [0.0], list[float]()
    for _ in retention.clean(_AGES, within=lambda ids: locked_at.append(time.perf_counter())):
        locked.append(time.perf_counter() - locked_at[-1])
    took = time.monotonic() - started
    for thread in (traffic, watch):
        thread.halt.set()
        thread.join(10)
    # Then they are empty rows, bounded in time, and live jobs kept theirs
    assert Job.objects.filter(queue="old", cleaned_at__isnull=False, payload={}, result__isnull=True).count() == ROWS
    live = Job.objects.filter(queue="q")
    assert not live.filter(cleaned_at__isnull=False).exists()
    assert JobEvent.objects.count() == 3 * live.count()
    assert took < 60 + ROWS / 500
    # And totals are what they were, no batch kept its rows locked for long, and nobody waited for a lock for long
    assert JobMinute.objects.get(queue="old").completed == ROWS
    p99_locked = quantiles(locked, n=100)[98]
    assert p99_locked < 0.1  # all of them where nothing else runs: a crowded machine may stop any one of them
    assert watch.longest < 0.1
    # (what it cost the traffic, for the page on reliability)
    p99 = quantiles(traffic.seconds, n=100)[98]
    print(  # noqa: T201  # shown with -s
        f"{ROWS} rows in {took:.1f} s, locked for {median(locked) * 1000:.0f} ms (p50), "
        f"{p99_locked * 1000:.0f} ms (p99), {max(locked) * 1000:.0f} ms at most; "
        f"{len(traffic.seconds)} live jobs, p99 {p99 * 1000:.0f} ms; longest lock wait {watch.longest * 1000:.0f} ms"
    )
    assert p99 < 1.0
