"""The sweep for stored objects: it removes what no task knows, spares what is young, and stops before a disaster."""

import json
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from documents import conf, orphans
from documents.models import IngestionTask
from documents.storage import (
    DirectoryResultStore,
    DirectoryStore,
    DocumentStore,
    ResultStore,
    S3Connection,
    S3ResultStore,
    S3Store,
)
from documents.storage.keys import upload_key, uploaded_for
from queueadmin.ids import uuid7
from queueadmin.models import Job
from tests.documents import factories
from tests.servers import S3Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

SOON = datetime.now(UTC) + timedelta(hours=25)
"""A clock by which what is stored now is older than a day."""


@pytest.fixture
def results(tmp_path: Path) -> DirectoryResultStore:
    return DirectoryResultStore(tmp_path / "results")


@pytest.fixture
def documents(tmp_path: Path) -> DirectoryStore:
    (tmp_path / "documents").mkdir()
    return DirectoryStore(tmp_path / "documents")


def keep(task_id: uuid.UUID, *, results: ResultStore | None = None, documents: DocumentStore | None = None) -> None:
    """Store the results of two attempts, an upload of one, or both."""
    if results is not None:
        results.write(task_id, 1, [b"text"])
        results.write(task_id, 2, [b"{}"])
    if documents is not None:
        documents.put(upload_key("default", task_id, "a.txt"), BytesIO(b"text"))


def left(results: ResultStore, documents: DocumentStore) -> set[str]:
    """Ids of the tasks for which something is stored, and the keys of other documents."""
    found = {one.key.partition("/")[0] for one in results.stored()}
    for one in documents.stored(""):
        if not one.key.startswith(f"{conf.RESULT_PREFIX}/"):  # in S3 both share a bucket
            task_id = uploaded_for(one.key)
            found.add(one.key if task_id is None else str(task_id))
    return found


def test_what_belongs_to_no_task_goes_and_everything_else_stays(
    results: DirectoryResultStore, documents: DirectoryStore
) -> None:
    # Given a live task, an ended one, one that retention has emptied, and two that were never committed
    live, ended, emptied, unknown, rolled_back = (*(factories.task() for _ in range(3)), uuid7(), uuid7())
    factories.end(ended, "completed")
    factories.end(emptied, "completed")
    Job.objects.filter(pk=emptied).update(cleaned_at=datetime.now(UTC))
    for task_id in (live, ended, emptied, unknown):
        keep(task_id, results=results, documents=documents)
    keep(rolled_back, documents=documents)
    documents.put("reports/a.txt", BytesIO(b"a document of the client, for which nobody asked yet"))
    # When it sweeps a day later, first dry
    promised = orphans.sweep(results=results, documents=documents, dry_run=True, now=SOON)
    assert len(left(results, documents)) == 6
    report = orphans.sweep(results=results, documents=documents, now=SOON)
    # Then it did what it had promised
    assert report == promised
    assert (report.results, report.uploads, report.objects, report.bytes) == (2, 3, 7, 2 * 6 + 3 * 4)
    assert report.emptied == 2
    assert left(results, documents) == {str(live), str(ended), "reports/a.txt"}
    assert orphans.sweep(results=results, documents=documents, now=SOON).orphans == 0


def test_what_is_younger_than_a_day_may_belong_to_an_attempt_that_still_runs(
    results: DirectoryResultStore, documents: DirectoryStore
) -> None:
    # Given an unknown task with an old object and a new one, and an unknown task with an old one
    half_old, old = uuid7(), uuid7()
    for task_id in (half_old, old):
        keep(task_id, results=results)
    for one in results.root.rglob("*.1"):
        os.utime(one, times=(0, 0))
    for one in results.root.rglob(f"{old}.2"):
        os.utime(one, times=(0, 0))
    # Then only the one of which everything is old goes
    assert orphans.sweep(results=results, documents=documents).results == 1
    assert left(results, documents) == {str(half_old)}


def test_a_database_that_knows_hardly_any_of_it_removes_nothing_until_a_person_says_so(
    results: DirectoryResultStore, documents: DirectoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a store full of results, and a database that knows few of them
    known = [factories.task() for _ in range(3)]
    for task_id in (*known, *(uuid7() for _ in range(120))):
        keep(task_id, documents=documents)
    # When the sweep comes by itself, Then it only complains
    report = orphans.sweep(results=results, documents=documents, now=SOON)
    assert (report.refused, report.uploads, len(left(results, documents))) == (True, 120, 123)
    assert "most of what is stored belongs to no task" in caplog.text
    # And when a person has looked, it removes them
    assert not orphans.sweep(results=results, documents=documents, by_hand=True, now=SOON).refused
    assert left(results, documents) == {str(task_id) for task_id in known}


def test_what_retention_could_not_remove_goes_however_much_it_is(
    results: DirectoryResultStore, documents: DirectoryStore
) -> None:
    # Given nothing but objects of tasks that were emptied while the store was away
    for _ in range(orphans._SUSPICIOUS):
        task_id = factories.task()
        factories.end(task_id, "completed")
        keep(task_id, documents=documents)
    Job.objects.update(cleaned_at=datetime.now(UTC))
    # Then the database is not suspected of being the wrong one
    report = orphans.sweep(results=results, documents=documents, now=SOON)
    assert (report.refused, report.uploads, left(results, documents)) == (False, orphans._SUSPICIOUS, set())


def test_it_works_in_pages_rests_between_them_and_stops_when_asked(
    results: DirectoryResultStore, documents: DirectoryStore
) -> None:
    keep(uuid7(), results=results, documents=documents)
    rests: list[float] = []
    report = orphans.sweep(
        results=results, documents=documents, rest=rests.append, stopped=lambda: len(rests) == 1, now=SOON
    )
    assert (report.results, report.uploads, len(rests)) == (1, 0, 1)
    assert len(left(results, documents)) == 1


def test_a_task_that_appears_while_the_store_is_listed_keeps_its_objects(
    results: DirectoryResultStore, documents: DirectoryStore
) -> None:
    task_id = uuid7()
    keep(task_id, documents=documents)

    def submit_late(_: float) -> None:
        if not Job.objects.filter(pk=task_id).exists():
            other = factories.task()
            IngestionTask.objects.filter(pk=other).update(job_id=task_id)
            Job.objects.filter(pk=other).update(id=task_id)

    orphans.sweep(results=results, documents=documents, rest=submit_late, now=SOON)
    assert left(results, documents) == {str(task_id)}


def test_both_stores_in_s3_are_swept(s3_bucket: tuple[ResultStore, DocumentStore]) -> None:
    # Given results and uploads in one bucket, as in production
    results, documents = s3_bucket
    known, unknown = factories.task(), uuid7()
    for task_id in (known, unknown):
        keep(task_id, results=results, documents=documents)
    documents.put("uploads-of-mine/a", BytesIO(b"x"))
    # When it sweeps
    report = orphans.sweep(results=results, documents=documents, now=SOON)
    # Then one task's objects are gone, and everything else is there
    assert (report.tasks, report.results, report.uploads, report.objects) == (4, 1, 1, 3)
    assert left(results, documents) == {str(known), "uploads-of-mine/a"}


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> tuple[ResultStore, DocumentStore]:
    connection = S3Connection(
        bucket=f"orphans-{uuid7().hex[-12:]}", endpoint_url=s3_server.url, region=s3_server.region,
        access_key_id=s3_server.access_key_id, secret_access_key=s3_server.secret_access_key,
    )  # fmt: skip
    client = connection.client()
    client.create_bucket(Bucket=connection.bucket)
    client.close()
    prefix = conf.RESULT_PREFIX
    return S3ResultStore(connection, prefix=prefix), S3Store(connection, reserved_prefixes=(prefix,))


# -- the command ---------------------------------------------------------------------------------


@pytest.fixture
def old_orphan() -> Iterator[uuid.UUID]:
    """A result of an unknown task, two days old, where the settings say."""
    task_id = uuid7()
    store = conf.result_store()
    keep(task_id, results=store)
    for path in (Path(settings.DATA_DIR) / "results").rglob(f"{task_id}.*"):
        os.utime(path, times=(0, 0))
    yield task_id
    store.delete(task_id)


def run_command(*arguments: str) -> str:
    output = StringIO()
    call_command("cleanup_tasks", *arguments, stdout=output)
    return output.getvalue()


def test_the_command_shows_orphans_and_removes_them(old_orphan: uuid.UUID) -> None:
    shown = json.loads(run_command("--dry-run", "--json"))["orphans"]
    assert (shown["results"], shown["objects"], shown["bytes"], shown["refused"]) == (1, 2, 6, False)
    assert "results of unknown tasks" in run_command("--dry-run")
    assert "unknown" not in run_command("--skip-orphans")
    run_command()
    assert json.loads(run_command("--json"))["orphans"]["results"] == 0


def test_the_command_refuses_to_empty_a_store_that_belongs_to_another_database() -> None:
    store = conf.result_store()
    made = [uuid7() for _ in range(101)]
    for task_id in made:
        keep(task_id, results=store)
    for path in (Path(settings.DATA_DIR) / "results").rglob("*"):
        os.utime(path, times=(0, 0))
    try:
        with pytest.raises(CommandError, match=r"\d+ of \d+ tasks .* --all-orphans"):
            run_command()
        run_command("--all-orphans")
        assert list(store.stored()) == []
    finally:
        for task_id in made:
            store.delete(task_id)
