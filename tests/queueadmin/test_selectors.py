"""Reads: they agree with the ledger, and cost the same whatever lies in it."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from queueadmin import lifecycle, presence, selectors
from queueadmin.context import Progress
from queueadmin.models import Job, WorkerProcess
from queueadmin.states import State
from tests.queueadmin.factories import WORKER, claimed, job_in, submitted

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


def an_identity(worker_id: int = 1, *, name: str = "host:1") -> presence.Identity:
    return presence.Identity(id=worker_id, name=name, host="host/boot/ns", pid=worker_id, pid_started="1")


def test_every_state_is_counted_also_where_there_is_none() -> None:
    assert selectors.job_counts() == dict.fromkeys(State.values, 0)
    for state in State:
        job_in(state)
    assert selectors.job_counts() == dict.fromkeys(State.values, 1)


def test_counts_can_be_of_one_actor_and_one_tenant() -> None:
    submitted(partition_key="acme")
    submitted(partition_key="other")
    submitted(actor="else", partition_key="acme")
    assert selectors.job_counts("act", "acme")["pending"] == 1
    assert selectors.job_counts(partition_key="acme")["pending"] == 2
    assert selectors.queue_depths("else")["q"]["pending"] == 1


def test_open_depths_leave_out_what_nobody_has_to_look_at() -> None:
    for state in State:
        job_in(state)
    assert selectors.queue_depths() == {"q": dict.fromkeys(State.values, 1)}
    wanted = [state for state in State.values if state not in ("completed", "cancelled")]
    assert selectors.open_depths() == {"q": dict.fromkeys(wanted, 1)}


def test_a_queue_that_holds_only_failed_jobs_is_known() -> None:
    job_in(State.FAILED, queue="old")
    assert "old" in selectors.known_queues()
    assert "old" in [queue.name for queue in selectors.queues()]


def test_jobs_that_retention_emptied_are_not_current_but_stay_in_the_totals() -> None:
    job_id, _ = job_in(State.COMPLETED, partition_key="acme")
    Job.objects.filter(pk=job_id).update(cleaned_at=datetime.now(UTC))
    assert selectors.job_counts()["completed"] == 0
    assert selectors.totals("act", "acme").completed == 1
    assert selectors.totals("act", "nobody").completed == 0


def test_a_task_retried_after_failing_counts_in_both_totals() -> None:
    job_id, _ = job_in(State.FAILED)
    lifecycle.retry([job_id], by="x", order_key=1)
    lifecycle.finish([lifecycle.complete(claimed(job_id))], worker_id=WORKER)
    assert (selectors.totals().failed, selectors.totals().completed) == (1, 1)


def test_the_oldest_waiting_age_is_that_of_the_first_in_line() -> None:
    now = datetime.now(UTC)
    assert selectors.oldest_pending_seconds() is None
    for queue, age in (("a", 10), ("a", 40), ("b", 90)):
        due = now - timedelta(seconds=age)
        job_id = submitted(queue=queue, order_key=int(due.timestamp() * 1e6))
        Job.objects.filter(pk=job_id).update(created_at=due)
    assert selectors.oldest_pending_seconds("a") == pytest.approx(40, abs=5)
    assert selectors.oldest_pending_seconds() == pytest.approx(90, abs=5)
    assert selectors.oldest_pending_seconds(actor="nobody") is None


def test_a_timeline_names_each_edge_its_worker_and_the_time_between() -> None:
    presence.register(an_identity(WORKER, name="worker-a"), queues=["q"], actors=["act"], threads=2)
    job_id, _ = job_in(State.DEAD_LETTER)
    lifecycle.retry([job_id], by="Ada", order_key=1)
    entries = selectors.timeline(job_id)
    assert [entry.edge for entry in entries] == ["submit", "claim", "bury", "retry"]
    assert [entry.worker for entry in entries] == ["", "worker-a", "worker-a", ""]
    assert entries[-1].detail == {"by": "Ada"}
    assert entries[0].after is None
    assert all(entry.after is not None and entry.after >= 0 for entry in entries[1:])
    assert selectors.timeline(uuid.uuid4()) == []


def test_silent_workers_come_first_and_stopped_ones_are_left_out() -> None:
    for number, name in ((1, "a-alive"), (2, "b-silent"), (3, "c-stopped"), (4, "d-buried")):
        presence.register(an_identity(number, name=name), queues=["q"], actors=["act"], threads=4)
    WorkerProcess.objects.filter(pk=2).update(beat_at=datetime.now(UTC) - timedelta(minutes=5))
    presence.mark_stopped(3)
    presence.bury(4, silent_for=0)
    assert [(worker.name, worker.state) for worker in selectors.workers()] == [
        ("b-silent", "silent"), ("d-buried", "buried"), ("a-alive", "alive"),
    ]  # fmt: skip
    assert "c-stopped" in [worker.name for worker in selectors.workers(include_ended=True)]


def test_a_queue_is_known_by_its_jobs_by_its_workers_and_by_its_setting() -> None:
    submitted(queue="by-job")
    presence.register(an_identity(), queues=["by-worker"], actors=["act"], threads=4)
    names = {queue.name: queue for queue in selectors.queues()}
    assert names["by-job"].pending == 1
    assert names["by-job"].workers == 0
    assert names["by-worker"].workers == 1
    assert set(names) <= set(selectors.known_queues())


def test_progress_is_the_latest_report() -> None:
    job_id, _ = job_in(State.PROCESSING)
    presence.write_progress([(job_id, 1, Progress(stage="download", done=1, total=3))])
    presence.write_progress([(job_id, 1, Progress(stage="extract", done=2, total=3))])
    assert selectors.progress([job_id, uuid.uuid4()])[job_id].stage == "extract"


def test_the_number_of_queries_does_not_grow_with_the_jobs() -> None:
    def cost() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            selectors.queues()
            selectors.job_counts()
            selectors.totals()
            selectors.workers()
        return len(queries)

    submitted()
    one = cost()
    for _ in range(30):
        submitted()
    assert cost() == one


def test_counting_reads_the_partial_indexes_of_the_current_rows() -> None:
    """On a large ledger most rows are slim ones that retention keeps; counting must not walk them."""
    if connection.vendor != "postgresql":
        pytest.skip("the plan is PostgreSQL's")
    with connection.cursor() as cursor, CaptureQueriesContext(connection) as queries:
        selectors.job_counts()
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("EXPLAIN " + queries[0]["sql"])
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")
    assert {"job_ready", "job_due", "job_held", "job_finished"} <= set(plan.replace("(", " ").split()), plan
