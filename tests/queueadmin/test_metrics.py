"""Metrics say what the ledger says, cost little at any size, and say so when a server is down."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.metrics_core import Metric

from queueadmin import lifecycle, lookup, measure_rows, presence
from queueadmin.broker import LedgerRedisBroker
from queueadmin.conf import QueueSettings
from queueadmin.dispatch import LEASE_NAME
from queueadmin.measures import JOB_RUN, JOB_WAIT, Measures
from queueadmin.metrics import families
from queueadmin.metrics.collector import LedgerReader, QueueCollector, Source
from queueadmin.metrics.ledger import Ledger, read
from queueadmin.metrics.samples import Sample
from queueadmin.models import Job, QueueControl, WorkerProcess
from queueadmin.states import State
from tests.queueadmin.factories import OTHER_WORKER, WORKER, claimed, job_in, submitted

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

Values = dict[tuple[str, ...], float]

FROZEN = {
    "queueadmin_jobs": ("gauge", "queue actor state"),
    "queueadmin_oldest_waiting_seconds": ("gauge", "queue"),
    "queueadmin_jobs_started_total": ("counter", "queue actor"),
    "queueadmin_jobs_finished_total": ("counter", "queue actor state"),
    "queueadmin_jobs_retried_total": ("counter", "queue actor"),
    "queueadmin_jobs_released_total": ("counter", "queue actor"),
    "queueadmin_jobs_rescued_total": ("counter", "queue actor"),
    "queueadmin_failures_total": ("counter", "queue actor error_code state"),
    "queueadmin_job_wait_seconds": ("histogram", "queue actor"),
    "queueadmin_job_run_seconds": ("histogram", "queue actor"),
    "queueadmin_job_stage_seconds": ("histogram", "actor stage"),
    "queueadmin_unknown_actor_jobs": ("gauge", "actor"),
    "queueadmin_queue_paused": ("gauge", "queue"),
    "queueadmin_queue_workers": ("gauge", "queue"),
    "queueadmin_workers": ("gauge", "state"),
    "queueadmin_worker_threads": ("gauge", "state"),
    "queueadmin_unwritten_outcomes": ("gauge", ""),
    "queueadmin_writer_lag_seconds": ("gauge", ""),
    "queueadmin_dispatcher_leader": ("gauge", ""),
    "queueadmin_dispatcher_lag_seconds": ("gauge", ""),
    "queueadmin_sweep_republished_total": ("counter", ""),
    "queueadmin_oldest_transaction_seconds": ("gauge", ""),
    "queueadmin_snapshot_age_seconds": ("gauge", ""),
    "queueadmin_snapshot_duration_seconds": ("gauge", ""),
    "queueadmin_database_up": ("gauge", ""),
    "queueadmin_database_latency_seconds": ("gauge", ""),
    "queueadmin_broker_up": ("gauge", ""),
    "queueadmin_broker_latency_seconds": ("gauge", ""),
    "queueadmin_broker_memory_used_bytes": ("gauge", ""),
    "queueadmin_broker_memory_limit_bytes": ("gauge", ""),
    "queueadmin_ready_jobs": ("gauge", "queue"),
}
"""Dashboards and alerts of others rest on these. Add; never rename, retype or relabel."""


def test_names_kinds_and_labels_are_frozen() -> None:
    found = {item.name: (item.kind, " ".join(item.labels)) for item in (*families.LEDGER, *families.SERVERS)}
    assert found == FROZEN


class Scraper:
    """Scrapes that are always fresh, and their values by labels, in the order of the family's."""

    def __init__(self, collector: QueueCollector) -> None:
        self.collector = collector
        self.labels = {item.name: item.labels for item in collector.families()}

    def metrics(self) -> dict[str, Metric]:
        return {metric.name: metric for metric in self.collector.collect()}

    def values(self, name: str) -> Values:
        """Samples called `name`; of a histogram name_count, name_sum or name_bucket."""
        family = name.removesuffix("_count").removesuffix("_sum").removesuffix("_bucket")
        labels = self.labels.get(name) or self.labels[family]
        return {
            tuple(sample.labels[label] for label in labels): float(sample.value)
            for metric in self.metrics().values()
            for sample in metric.samples
            if sample.name == name
        }

    def value(self, name: str, *labels: str) -> float:
        return self.values(name)[labels]


@pytest.fixture
def scraper(broker: LedgerRedisBroker) -> Scraper:
    return Scraper(a_collector(broker))


def a_collector(broker: LedgerRedisBroker, *sources: Source, reader: LedgerReader | None = None) -> QueueCollector:
    return QueueCollector(
        broker.ready_sets,
        declared={("q", "act")},
        sources=sources,
        reader=reader or LedgerReader(fresh_seconds=0, share=0),
    )


def a_worker(worker_id: int = WORKER, *, actors: tuple[str, ...] = ("act",), silent_for: float = 0.0) -> None:
    me = presence.Identity(id=worker_id, name=f"w{worker_id}", host="h", pid=worker_id, pid_started="1")
    presence.register(me, queues=["q"], actors=actors, threads=4)
    if silent_for:
        WorkerProcess.objects.filter(pk=worker_id).update(beat_at=timezone.now() - timedelta(seconds=silent_for))


# -- what the ledger says ------------------------------------------------------------------------


def test_jobs_by_queue_actor_and_state(scraper: Scraper) -> None:
    for state in State:
        job_in(state, queue="q" if state != State.FAILED else "other")
    found = {labels: value for labels, value in scraper.values("queueadmin_jobs").items() if value}
    assert found == {
        ("q", "act", "pending"): 1, ("q", "act", "scheduled"): 1, ("q", "act", "retrying"): 1,
        ("q", "act", "processing"): 1, ("q", "act", "dead_letter"): 1, ("other", "act", "failed"): 1,
    }  # fmt: skip


def test_what_has_not_happened_yet_is_zero_for_the_actors_of_this_code(scraper: Scraper) -> None:
    assert scraper.value("queueadmin_jobs", "q", "act", "pending") == 0
    assert scraper.value("queueadmin_jobs_started_total", "q", "act") == 0
    assert scraper.value("queueadmin_jobs_finished_total", "q", "act", "dead_letter") == 0
    assert scraper.value("queueadmin_oldest_waiting_seconds", "q") == 0
    assert scraper.value("queueadmin_sweep_republished_total") == 0


def test_totals_are_those_of_the_outcomes(scraper: Scraper) -> None:
    # Given one job in each state, a rescue, a release, and a job cancelled before it ran
    for state in State:
        job_in(state)
    job_in(State.PROCESSING)
    lifecycle.rescue([WORKER], worker_id=OTHER_WORKER, max_crashes=9)  # of both that are in hand
    lifecycle.finish([lifecycle.release(claimed(submitted()), reason="shutdown")], worker_id=WORKER)
    lifecycle.cancel([submitted()], by="me")
    job_in(State.PROCESSING)
    # Then
    assert scraper.value("queueadmin_jobs_started_total", "q", "act") == 5 + 2 + 1 + 1
    finished = scraper.values("queueadmin_jobs_finished_total")
    assert finished == {
        ("q", "act", "completed"): 1, ("q", "act", "failed"): 1, ("q", "act", "dead_letter"): 1,
        ("q", "act", "cancelled"): 2,
    }  # fmt: skip
    assert scraper.value("queueadmin_jobs_retried_total", "q", "act") == 1
    assert scraper.value("queueadmin_jobs_rescued_total", "q", "act") == 2
    assert scraper.value("queueadmin_jobs_released_total", "q", "act") == 1
    assert scraper.values("queueadmin_failures_total") == {
        ("q", "act", "x", "retrying"): 1, ("q", "act", "x", "failed"): 1, ("q", "act", "x", "dead_letter"): 1,
        ("q", "act", "worker_lost", "retrying"): 2,
    }  # fmt: skip


def test_an_attempt_stays_counted_as_started_when_it_ends(scraper: Scraper) -> None:
    job = claimed(submitted())
    assert scraper.value("queueadmin_jobs_started_total", "q", "act") == 1
    lifecycle.finish([lifecycle.complete(job)], worker_id=WORKER)
    assert scraper.value("queueadmin_jobs_started_total", "q", "act") == 1


def test_the_oldest_waiting_age_of_each_queue(scraper: Scraper) -> None:
    for queue, age in (("q", 40), ("b", 90)):
        due = timezone.now() - timedelta(seconds=age)
        Job.objects.filter(pk=submitted(queue=queue, order_key=int(due.timestamp() * 1e6))).update(created_at=due)
    assert scraper.value("queueadmin_oldest_waiting_seconds", "q") == pytest.approx(40, abs=10)
    assert scraper.value("queueadmin_oldest_waiting_seconds", "b") == pytest.approx(90, abs=10)


def test_workers_their_threads_and_what_they_do_not_know(scraper: Scraper) -> None:
    # Given two live workers and a silent one, and a job of an actor that no live one knows
    a_worker(1)
    a_worker(2)
    a_worker(3, actors=("act", "old"), silent_for=60)
    presence.beat(1, busy=3, unwritten=7, writer_lag=1.25)
    presence.beat(2, busy=1, unwritten=1, writer_lag=0.5)
    submitted(actor="old")
    submitted(actor="act")
    # And one that was judged dead, one that was so long ago, and one that signed off
    a_worker(4, silent_for=60)
    a_worker(5, silent_for=7200)
    for worker_id in (4, 5):
        presence.bury(worker_id, silent_for=10)
    a_worker(6)
    presence.mark_stopped(6)
    # Then
    assert scraper.values("queueadmin_workers") == {("alive",): 2, ("silent",): 2}
    assert scraper.values("queueadmin_worker_threads") == {("busy",): 4, ("idle",): 4}
    assert scraper.value("queueadmin_queue_workers", "q") == 2
    assert scraper.value("queueadmin_unwritten_outcomes") == 8
    assert scraper.value("queueadmin_writer_lag_seconds") == 1.25
    assert scraper.values("queueadmin_unknown_actor_jobs") == {("old",): 1}


def test_jobs_of_an_actor_that_nobody_knows_are_added_up_over_queues(scraper: Scraper) -> None:
    submitted(queue="a", actor="gone")
    submitted(queue="b", actor="gone")
    assert scraper.values("queueadmin_unknown_actor_jobs") == {("gone",): 2}


def test_the_dispatcher_its_leader_and_what_it_has_not_promoted(scraper: Scraper) -> None:
    assert scraper.value("queueadmin_dispatcher_leader") == 0
    presence.acquire(LEASE_NAME, holder=1, seconds=30)
    assert scraper.value("queueadmin_dispatcher_leader") == 1
    assert scraper.value("queueadmin_dispatcher_lag_seconds") == 0
    Job.objects.filter(pk=submitted(delay=60)).update(run_at=timezone.now() - timedelta(seconds=25))
    assert scraper.value("queueadmin_dispatcher_lag_seconds") == pytest.approx(25, abs=10)


def test_a_paused_queue(scraper: Scraper) -> None:
    QueueControl.objects.create(queue="q", paused_at=timezone.now())
    assert scraper.value("queueadmin_queue_paused", "q") == 1


def test_histograms_of_all_processes_are_one(scraper: Scraper) -> None:
    for number, seconds in ((1, 0.02), (2, 3.0)):
        measures = Measures()
        measures.observe(JOB_RUN, ("q", "act"), seconds)
        measures.observe(JOB_WAIT, ("q", "act"), seconds)
        a_worker(number)
        measure_rows.write(number, measures.unwritten())
    assert scraper.value(f"{JOB_RUN}_count", "q", "act") == 2
    assert scraper.value(f"{JOB_RUN}_sum", "q", "act") == pytest.approx(3.02)
    buckets = {
        sample.labels["le"]: sample.value
        for sample in scraper.metrics()[JOB_RUN].samples
        if sample.name.endswith("_bucket")
    }
    assert (buckets["0.01"], buckets["0.025"], buckets["2.5"], buckets["5.0"], buckets["+Inf"]) == (0, 1, 1, 2, 2)


def test_the_oldest_transaction_is_that_of_somebody_else(scraper: Scraper, database_kind: str) -> None:
    if database_kind != "postgresql":
        assert scraper.values("queueadmin_oldest_transaction_seconds") == {}
        return
    assert scraper.value("queueadmin_oldest_transaction_seconds") < 1
    began, over = threading.Event(), threading.Event()

    def hold() -> None:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT pg_sleep(1.1)")
            began.set()
            over.wait(30)
            cursor.execute("ROLLBACK")
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    began.wait(30)
    try:
        assert scraper.value("queueadmin_oldest_transaction_seconds") >= 1
    finally:
        over.set()
        thread.join()


# -- what the broker says ------------------------------------------------------------------------


def test_the_broker_its_memory_and_its_ready_sets(scraper: Scraper, broker: LedgerRedisBroker) -> None:
    job_id = submitted()
    broker.ready_sets.add(lookup.pending_page("q", after=None, due_before=2**62, limit=10))
    assert job_id
    assert scraper.value("queueadmin_broker_up") == 1
    assert 0 < scraper.value("queueadmin_broker_latency_seconds") < 5
    assert scraper.value("queueadmin_broker_memory_used_bytes") > 100_000
    assert scraper.value("queueadmin_broker_memory_limit_bytes") == 0
    assert scraper.value("queueadmin_ready_jobs", "q") == 1


def test_without_its_broker_the_ledger_is_told_all_the_same(settings_of_queue: QueueSettings, free_port: int) -> None:
    away = LedgerRedisBroker(settings=replace(settings_of_queue, redis_url=f"redis://127.0.0.1:{free_port}/0"))
    submitted()
    scraper = Scraper(a_collector(away))
    assert scraper.value("queueadmin_broker_up") == 0
    assert scraper.value("queueadmin_database_up") == 1
    assert scraper.value("queueadmin_jobs", "q", "act", "pending") == 1
    away.close()


def test_without_its_database_it_says_so_and_shows_nothing_stale(broker: LedgerRedisBroker) -> None:
    # Given a ledger that was read, and then answers no more
    answers = iter([read()])

    def failing() -> Ledger:
        try:
            return next(answers)
        except StopIteration:
            raise OperationalError("server closed the connection unexpectedly") from None

    scraper = Scraper(a_collector(broker, reader=LedgerReader(fresh_seconds=0, share=0, read=failing)))
    assert "queueadmin_jobs" in scraper.metrics()
    # Then its metrics are gone, and the broker's are there
    assert set(scraper.metrics()) == {
        "queueadmin_database_up", "queueadmin_broker_up", "queueadmin_broker_latency_seconds",
        "queueadmin_broker_memory_used_bytes", "queueadmin_broker_memory_limit_bytes", "queueadmin_ready_jobs",
    }  # fmt: skip
    assert scraper.value("queueadmin_database_up") == 0


# -- what it costs -------------------------------------------------------------------------------


def test_a_scrape_asks_the_same_few_questions_at_any_size(scraper: Scraper) -> None:
    # Given a little of everything, and then a lot of it
    def fill(count: int) -> None:
        for _ in range(count):
            for state in (State.PENDING, State.COMPLETED, State.FAILED, State.RETRYING):
                job_in(state)

    fill(1)
    with CaptureQueriesContext(connection) as few:
        scraper.metrics()
    fill(25)
    with CaptureQueriesContext(connection) as many:
        scraper.metrics()
    assert len(few) == len(many) <= 20


def test_the_ledger_is_read_seldom_when_reading_is_slow() -> None:
    now = [0.0]
    read_at: list[float] = []
    ledger = read()

    def slow() -> Ledger:
        now[0] += 3.0
        read_at.append(now[0])
        return ledger

    reader = LedgerReader(read=slow, clock=lambda: now[0])
    for _ in range(130):
        _, age = reader.latest()
        assert age <= 60.0
        now[0] += 1.0
    assert read_at == [3.0, 66.0, 129.0]


def test_who_scrapes_while_another_reads_gets_what_was_read_last() -> None:
    # Given a reader whose second reading hangs
    ledger, reading, go_on = read(), threading.Event(), threading.Event()
    turns = iter([None, reading])

    def hanging() -> Ledger:
        turn = next(turns)
        if turn is not None:
            turn.set()
            go_on.wait(30)
        return ledger

    reader = LedgerReader(fresh_seconds=0, share=0, read=hanging)
    reader.latest()
    thread = threading.Thread(target=reader.latest)
    thread.start()
    assert reading.wait(30)
    # Then
    assert reader.latest()[0] is ledger
    go_on.set()
    thread.join()


# -- what an application adds --------------------------------------------------------------------


def test_an_application_adds_what_its_meters_fill_and_what_it_derives(broker: LedgerRedisBroker) -> None:
    def derive(ledger: Ledger) -> Iterator[Sample]:
        yield Sample(name="shop_orders_total", value=float(len(ledger.totals)), labels=("x",))

    measures = Measures()
    measures.add("shop_visits_total", ("door",), 3)
    a_worker(1)
    measure_rows.write(1, measures.unwritten())
    added = (
        families.counter("shop_orders_total", "Orders.", "kind"),
        families.counter("shop_visits_total", "V.", "by"),
    )
    scraper = Scraper(a_collector(broker, Source(families=added, derive=derive)))
    job_in(State.COMPLETED)
    assert scraper.value("shop_orders_total", "x") == 1
    assert scraper.value("shop_visits_total", "door") == 3
