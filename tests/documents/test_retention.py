"""Retention of tasks: what goes when, in which order, and what stays."""

import json
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from documents import orphans, retention
from documents.conf import RetentionPolicy
from documents.exceptions import ResultNotFound, StorageUnavailable
from documents.models import Batch, IngestionTask, WebhookAttempt
from documents.storage import DirectoryResultStore, DirectoryStore, DocumentStore, ResultStore, StoredObject
from documents.storage.keys import upload_key
from queueadmin import lifecycle
from queueadmin.ids import uuid7
from queueadmin.jobs import Ready, order_key_now
from queueadmin.models import Job, JobEvent, JobMinute
from queueadmin.retention import clean as clean_jobs
from queueadmin.selectors import totals
from tests.documents import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

POLICY = RetentionPolicy(hours=24, audit_days=365)


@pytest.fixture
def results(tmp_path: Path) -> DirectoryResultStore:
    return DirectoryResultStore(tmp_path / "results")


@pytest.fixture
def documents(tmp_path: Path) -> DirectoryStore:
    root = tmp_path / "documents"
    root.mkdir()
    return DirectoryStore(root)


def clean(
    policy: RetentionPolicy, *, results: ResultStore, documents: DocumentStore | None = None, **options: Any
) -> retention.Report:
    """`retention.clean`, by default where nothing was uploaded to us."""
    return retention.clean(
        policy, results=results, documents=documents or DirectoryStore(Path("nothing here")), **options
    )


def ended(state: str, *, hours_ago: float, results: DirectoryResultStore | None = None, **fields: Any) -> uuid.UUID:
    """A task that ended that long ago, with a stored result when it completed."""
    task_id = factories.task(**fields)
    factories.end(task_id, state)
    age(task_id, hours_ago)
    if results is not None and state == "completed":
        results.write(task_id, 1, [b"text"])
    return task_id


def age(job_id: uuid.UUID, hours: float) -> None:
    """Move a job into the past. Only its times: nothing else may be written from here."""
    Job.objects.filter(pk=job_id).update(finished_at=datetime.now(UTC) - timedelta(hours=hours))


def is_emptied(task_id: uuid.UUID) -> bool:
    job = Job.objects.get(pk=task_id)
    return job.cleaned_at is not None and job.payload == {} and job.result is None


def test_an_expired_task_loses_its_result_arguments_and_events_and_keeps_a_slim_row(
    results: DirectoryResultStore,
) -> None:
    # Given a task that completed 25 hours ago, and its webhook's log
    task_id = ended("completed", hours_ago=25, results=results, callback_url="https://x.test:8443/hook?token=t")
    WebhookAttempt.objects.create(
        task_id=task_id, job_id=uuid7(), event="task.completed", attempt=1, url="https://x.test:8443/hook?token=t",
        status_code=200, response_excerpt="ok",
    )  # fmt: skip
    # When the clean-up runs
    report = clean(POLICY, results=results)
    # Then what it carried is gone
    assert is_emptied(task_id)
    assert not JobEvent.objects.filter(job_id=task_id).exists()
    with pytest.raises(ResultNotFound):
        results.open(f"{task_id}/1")
    task, attempt = IngestionTask.objects.get(pk=task_id), WebhookAttempt.objects.get()
    assert (task.metadata, task.callback_url, attempt.response_excerpt) == ({}, "", "")
    # And what an auditor asks for is there
    job = Job.objects.get(pk=task_id)
    assert (job.state, job.attempt, job.finished_at is not None) == ("completed", 1, True)
    assert (task.document_id, task.user_id, task.file_name, task.r2_key) == ("doc-1", "user-1", "a.txt", "a.txt")
    assert (attempt.url, attempt.status_code) == ("https://x.test:8443", 200)
    assert report.as_dict() == {
        "tasks": {"completed": 1, "cancelled": 0, "failed": 0, "dead_letter": 0},
        "results": 1, "other_jobs": 0, "events": 3, "audit_rows": 0,
    }  # fmt: skip


def test_an_upload_goes_with_its_task_and_a_document_of_the_client_stays(
    results: DirectoryResultStore, documents: DirectoryStore
) -> None:
    # Given expired tasks: of an upload, of a document that the client put there, and of another task's upload
    task_id, other = (ended("failed", hours_ago=30 * 24) for _ in range(2))
    own, foreign = upload_key("default", task_id, "a.txt"), upload_key("default", uuid7(), "b.txt")
    for key in (own, foreign, "reports/a.txt"):
        documents.put(key, BytesIO(b"text"))
    IngestionTask.objects.filter(pk=task_id).update(r2_key=own)
    IngestionTask.objects.filter(pk=other).update(r2_key=foreign)
    ended("failed", hours_ago=30 * 24, r2_key="reports/a.txt")
    # When the clean-up runs
    clean(POLICY, results=results, documents=documents)
    # Then only the first is gone
    assert {one.key for one in documents.stored("")} == {"reports/a.txt", foreign}


@pytest.mark.parametrize(
    ("state", "hours_ago", "goes"),
    [
        ("completed", 23, False), ("completed", 25, True),
        ("cancelled", 23, False), ("cancelled", 25, True),
        ("failed", 25, False), ("failed", 13 * 24, False), ("failed", 15 * 24, True),
        ("dead_letter", 1000 * 24, False),
    ],
)  # fmt: skip
def test_each_state_has_its_age(state: str, hours_ago: float, goes: bool, results: DirectoryResultStore) -> None:
    task_id = ended(state, hours_ago=hours_ago, results=results)
    clean(POLICY, results=results)
    assert is_emptied(task_id) is goes


def test_dead_letters_go_only_when_somebody_says_so(results: DirectoryResultStore) -> None:
    task_id = ended("dead_letter", hours_ago=25)
    clean(POLICY, results=results, include_dead_letters=True)
    assert is_emptied(task_id)


def test_failed_tasks_outlive_completed_ones_even_under_a_long_policy(results: DirectoryResultStore) -> None:
    task_id = ended("failed", hours_ago=20 * 24)
    clean(RetentionPolicy(hours=30 * 24, audit_days=365), results=results)
    assert not is_emptied(task_id)


def test_live_tasks_are_never_touched(results: DirectoryResultStore) -> None:
    pending, running = factories.task(), factories.task()
    factories.claimed(running)
    clean(RetentionPolicy(hours=0, audit_days=0), results=results)
    assert set(Job.objects.filter(cleaned_at=None).values_list("state", flat=True)) == {"pending", "processing"}
    assert Job.objects.get(pk=pending).payload["kwargs"] == {"r2_key": "a.txt"}


def test_a_task_waits_for_its_webhook(results: DirectoryResultStore) -> None:
    # Given an expired task whose webhook has not been delivered
    task_id = ended("completed", hours_ago=100, results=results, follow_up=True)
    webhook = Job.objects.get(parent_id=task_id)
    # When the clean-up runs, Then the task stays as it is
    clean(POLICY, results=results)
    assert not is_emptied(task_id)
    results.open(f"{task_id}/1").close()
    # But once the webhook is delivered, it goes
    factories.end(webhook.pk, "completed", actor="deliver_webhook")
    clean(POLICY, results=results)
    assert is_emptied(task_id)


def test_webhooks_and_other_jobs_are_cleaned_like_tasks(results: DirectoryResultStore) -> None:
    task_id = ended("completed", hours_ago=30, results=results, follow_up=True)
    webhook = Job.objects.get(parent_id=task_id)
    factories.end(webhook.pk, "completed", actor="deliver_webhook")
    age(webhook.pk, 30)
    report = clean(POLICY, results=results)
    assert (report.tasks["completed"], report.other_jobs) == (1, 1)
    assert is_emptied(webhook.pk)


def test_a_dry_run_logs_what_would_be_and_a_run_what_was(
    results: DirectoryResultStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for dry_run in (True, False):
        clean(POLICY, results=results, dry_run=dry_run)
    said = [record.getMessage() for record in caplog.records if record.name == "documents.retention"]
    assert said == ["expired tasks would be cleaned", "expired tasks were cleaned"]


def test_a_dry_run_tells_the_same_figures_and_removes_nothing(results: DirectoryResultStore) -> None:
    # Given tasks of every kind, one of them protected and one slim and old
    for state in ("completed", "cancelled", "failed", "dead_letter"):
        ended(state, hours_ago=400, results=results)
    protected = ended("completed", hours_ago=400, results=results, follow_up=True)
    old = ended("completed", hours_ago=400, results=results)
    clean(POLICY, results=results)
    make_old(old, days=400)
    ended("completed", hours_ago=400, results=results)
    before = (Job.objects.filter(cleaned_at=None).count(), JobEvent.objects.count(), Job.objects.count())
    # When it is run dry, Then nothing has changed
    promised = clean(POLICY, results=results, dry_run=True, include_dead_letters=True)
    assert before == (Job.objects.filter(cleaned_at=None).count(), JobEvent.objects.count(), Job.objects.count())
    # And when it is run in earnest, Then it does what it said
    assert clean(POLICY, results=results, include_dead_letters=True) == promised
    assert promised.as_dict()["audit_rows"] == 1
    assert not is_emptied(protected)


def make_old(task_id: uuid.UUID, *, days: float) -> None:
    """Give a slim row the id and times of one that is `days` old: the id begins with its time."""
    then = datetime.now(UTC) - timedelta(days=days)
    old_id = uuid7(int(then.timestamp() * 1000))
    IngestionTask.objects.filter(pk=task_id).update(job_id=old_id)
    Job.objects.filter(pk=task_id).update(id=old_id, created_at=then, finished_at=then)


def test_slim_rows_go_after_their_retention(results: DirectoryResultStore) -> None:
    # Given slim rows of 366 and of 300 days, and a dead letter of 500
    tasks = [ended("completed", hours_ago=30, results=results) for _ in range(2)]
    clean(POLICY, results=results)
    make_old(tasks[0], days=366)
    make_old(tasks[1], days=300)
    make_old(ended("dead_letter", hours_ago=30), days=500)
    # When the clean-up runs
    report = clean(POLICY, results=results)
    # Then the oldest is gone from both tables, and what waits for a decision is not
    assert report.audit_rows == 1
    assert sorted(Job.objects.values_list("state", flat=True)) == ["completed", "dead_letter"]
    assert IngestionTask.objects.count() == 2


def test_totals_survive(results: DirectoryResultStore) -> None:
    task_id = ended("completed", hours_ago=30, results=results)
    clean(POLICY, results=results)
    make_old(task_id, days=400)
    clean(POLICY, results=results)
    assert not Job.objects.exists()
    assert totals(factories.INGEST).completed == 1
    assert JobMinute.objects.exists()


class Interrupted:
    """A result store in front of which something happens before each deletion."""

    def __init__(self, inner: DirectoryResultStore, happens: Callable[[uuid.UUID], None]) -> None:
        self.inner, self.happens = inner, happens

    def delete(self, task_id: uuid.UUID) -> int:
        self.happens(task_id)
        return self.inner.delete(task_id)

    def write(self, task_id: uuid.UUID, attempt: int, chunks: Iterable[bytes]) -> str:
        raise NotImplementedError

    def stored(self) -> Iterator[StoredObject]:
        return self.inner.stored()

    def open(self, key: str, part: Any = None) -> BinaryIO:
        raise NotImplementedError

    def size(self, key: str, part: Any = None) -> int:
        raise NotImplementedError


def test_what_a_store_that_is_away_keeps_is_removed_by_the_sweep_of_orphans(
    results: DirectoryResultStore, documents: DirectoryStore
) -> None:
    # Given a store that is away
    tasks = [ended("completed", hours_ago=30, results=results) for _ in range(3)]

    def away(task_id: uuid.UUID) -> None:
        raise StorageUnavailable()

    # When the clean-up runs into it
    with pytest.raises(StorageUnavailable):
        clean(POLICY, results=Interrupted(results, away))
    # Then nobody can queue these tasks again, and the next sweep finds what they have left
    assert all(is_emptied(task_id) for task_id in tasks)
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    assert orphans.sweep(results=results, documents=documents, now=tomorrow).results == 3
    assert not list(results.stored())


def test_a_task_whose_document_is_being_removed_cannot_be_queued_again(results: DirectoryResultStore) -> None:
    # Given an expired task that a person retries in the moment in which what it has stored is removed
    task_id = ended("cancelled", hours_ago=30)
    queued: list[Ready] = []

    def retried(task: uuid.UUID) -> None:
        queued.extend(lifecycle.retry([task], by="ann", order_key=order_key_now()))

    # When the clean-up runs
    clean(POLICY, results=Interrupted(results, retried))
    # Then it is too late for that: it would have run without its document
    assert (queued, is_emptied(task_id)) == ([], True)


def test_a_task_that_was_queued_again_before_it_is_erased_keeps_its_document(
    results: DirectoryResultStore, documents: DirectoryStore
) -> None:
    # Given a task of an upload that has ended, and a person who queues it again just before another erases it
    task_id = ended("failed", hours_ago=1)
    key = upload_key("default", task_id, "a.txt")
    documents.put(key, BytesIO(b"text"))
    IngestionTask.objects.filter(pk=task_id).update(r2_key=key)
    lifecycle.retry([task_id], by="ann", order_key=order_key_now())
    # Then nothing of it is touched: it would run without its document
    assert not retention.erase(task_id, results=results, documents=documents)
    assert (Job.objects.get(pk=task_id).state, [one.key for one in documents.stored("")]) == ("pending", [key])
    # And one that is slim already loses what was left of it
    factories.end(task_id, "failed")
    for _ in range(2):
        documents.put(key, BytesIO(b"text"))
        assert retention.erase(task_id, results=results, documents=documents)
        assert (is_emptied(task_id), list(documents.stored(""))) == (True, [])


def test_a_task_that_is_being_queued_again_keeps_its_document(
    results: DirectoryResultStore, documents: DirectoryStore
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time: the clean-up would wait for the retry")
    # Given an expired task of an upload, and a person whose retry has not been committed yet
    task_id = ended("cancelled", hours_ago=30)
    key = upload_key("default", task_id, "a.txt")
    documents.put(key, BytesIO(b"text"))
    IngestionTask.objects.filter(pk=task_id).update(r2_key=key)
    retried, cleaned = threading.Event(), threading.Event()

    def retry() -> None:
        try:
            with transaction.atomic():
                lifecycle.retry([task_id], by="ann", order_key=order_key_now())
                retried.set()
                cleaned.wait(10)
        finally:
            connection.close()

    person = threading.Thread(target=retry)
    person.start()
    retried.wait(10)
    # When the clean-up comes
    report = clean(POLICY, results=results, documents=documents)
    cleaned.set()
    person.join()
    # Then the task keeps its arguments and its document, and will run
    job = Job.objects.get(pk=task_id)
    assert (job.state, job.payload["kwargs"], sum(report.tasks.values())) == ("pending", {"r2_key": "a.txt"}, 0)
    assert [one.key for one in documents.stored("")] == [key]


def test_many_tasks_go_in_small_batches_and_protected_ones_are_passed_by(results: DirectoryResultStore) -> None:
    # Given 12 expired tasks that ended in the same moment, 3 of them protected
    tasks = [ended("completed", hours_ago=30, follow_up=number % 4 == 0) for number in range(12)]
    Job.objects.filter(pk__in=tasks).update(finished_at=datetime(2020, 1, 1, tzinfo=UTC))
    # When they are cleaned in batches of 2
    sizes = [len(batch.ids) for batch in clean_jobs(retention.ages(POLICY, include_dead_letters=False), batch=2)]
    # Then each batch is small, and every unprotected task is emptied once
    assert max(sizes) <= 2
    assert sum(sizes) == 9
    assert Job.objects.filter(pk__in=tasks, cleaned_at__isnull=False).count() == 9


def test_a_worker_that_shuts_down_stops_it_between_batches(results: DirectoryResultStore) -> None:
    for state in ("completed", "cancelled"):
        ended(state, hours_ago=30)
    report = clean(POLICY, results=results, stopped=lambda: True)
    assert sum(report.tasks.values()) == 1


# -- the command ---------------------------------------------------------------------------------


def run_command(*arguments: str) -> str:
    output = StringIO()
    call_command("cleanup_tasks", *arguments, stdout=output)
    return output.getvalue()


def test_the_command_prints_what_it_removed() -> None:
    task_id = ended("completed", hours_ago=3)
    assert "Nothing has outlived" in run_command()
    assert json.loads(run_command("--hours", "2", "--dry-run", "--json", "--skip-orphans")) == {
        "dry_run": True, "hours": 2.0, "results": 1, "other_jobs": 0, "events": 3, "audit_rows": 0,
        "tasks": {"completed": 1, "cancelled": 0, "failed": 0, "dead_letter": 0}, "orphans": None,
    }  # fmt: skip
    assert not is_emptied(task_id)
    printed = run_command("--hours", "2")
    assert "completed tasks" in printed
    assert "Nothing has outlived" not in printed
    assert is_emptied(task_id)


@pytest.mark.parametrize("hours", ["-1", "nan", "inf", "1e30"])
def test_the_command_refuses_an_age_that_means_nothing(hours: str) -> None:
    with pytest.raises(CommandError, match="--hours"):
        run_command("--hours", hours)


def test_batches_lose_what_the_client_added_and_in_time_go(results: DirectoryResultStore) -> None:
    def batch(*, completed_days_ago: float | None, created_days_ago: float) -> Batch:
        now = datetime.now(UTC)
        completed = None if completed_days_ago is None else now - timedelta(days=completed_days_ago)
        return Batch.objects.create(
            id=uuid7(), tenant="default", accepted=1, metadata={"case": "7"}, refusals=[{"index": 1}],
            callback_url="https://x.test/hook", completed_at=completed,
            created_at=now - timedelta(days=created_days_ago),
        )  # fmt: skip

    # Given batches of all ages, one of which never ended
    young, old = batch(completed_days_ago=13, created_days_ago=13), batch(completed_days_ago=15, created_days_ago=15)
    open_one = batch(completed_days_ago=None, created_days_ago=400)
    batch(completed_days_ago=366, created_days_ago=366)
    # When
    clean(POLICY, results=results)
    # Then
    kept = {found.pk: found for found in Batch.objects.all()}
    assert set(kept) == {young.pk, old.pk, open_one.pk}
    assert (kept[old.pk].metadata, kept[old.pk].callback_url, kept[old.pk].refusals) == ({}, "", [])
    assert kept[young.pk].metadata == kept[open_one.pk].metadata == {"case": "7"}
