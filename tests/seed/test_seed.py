"""The seeded ledger is one that the system could have written, and its pages cost the same at any size."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from documents.models import IngestionTask
from queueadmin import selectors
from queueadmin.models import Job, JobEvent
from queueadmin.states import State
from tests.seed import pages
from tests.seed.load import NotEmpty, load
from tests.seed.story import INGEST, SILENT_WORKER, WORKERS, stories

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def seed(valkey: object) -> Callable[[int], None]:
    def fill(rows: int) -> None:
        now = timezone.now()
        told = stories(rows=rows, seed=1, now=now - timedelta(seconds=2), ingest_queue="document_ingestion")
        load(told, now=now, ingest_queue="document_ingestion", tick=lambda jobs: None)

    return fill


@pytest.mark.both_databases
def test_the_rows_agree_with_each_other(seed: Callable[[int], None]) -> None:
    # When a ledger is seeded
    seed(600)

    # Then all jobs are there, each document with its request, each attempt with the event that ends it
    assert sum(selectors.job_counts().values()) == Job.objects.count() == 600
    assert IngestionTask.objects.count() == Job.objects.filter(actor=INGEST).count()
    running = Job.objects.filter(state=State.PROCESSING).count()
    ends = JobEvent.objects.filter(edge__in=["complete", "fail", "bury", "stop", "retry_later"]).count()
    assert JobEvent.objects.filter(edge="claim").count() == ends + running

    # And the totals say the same as the rows
    assert selectors.totals().completed == Job.objects.filter(state=State.COMPLETED).count()
    assert selectors.totals().dead_letter == Job.objects.filter(state=State.DEAD_LETTER).count()


def test_a_ledger_with_jobs_is_not_seeded(seed: Callable[[int], None]) -> None:
    seed(10)
    with pytest.raises(NotEmpty):
        seed(10)


def test_no_page_makes_more_queries_when_there_are_more_rows(seed: Callable[[int], None]) -> None:
    # Given a ledger with more rows than a page shows
    seed(1_500)
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", "root@example.com", "a-long-password"))
    somebody_works()
    few = {url: queries_of(client, url) for url in pages.urls()}
    assert few

    # When it has four times as many
    Job.objects.all().delete()
    for model in (IngestionTask, JobEvent):
        model.objects.all().delete()
    wipe_counters()
    seed(6_000)

    # Then no page asks more, the pages of single rows included
    somebody_works()
    many = {url: queries_of(client, url) for url in pages.urls()}
    lists = [url for url in few if url in many]
    assert {url: many[url] for url in lists if many[url] > few[url]} == {}
    assert sorted(many.values())[-1] <= sorted(few.values())[-1]


def somebody_works() -> None:
    """Jobs in the hands of a worker and of none that is known: few rows may tell of no such ones, and what is not
    there is not asked about.
    """
    held, lost = Job.objects.filter(state=State.PENDING).order_by("pk").values_list("pk", flat=True)[:2]
    for job_id, worker_id in ((held, min(WORKERS)), (lost, SILENT_WORKER + 1)):
        Job.objects.filter(pk=job_id).update(state=State.PROCESSING, worker_id=worker_id, claimed_at=timezone.now())


def queries_of(client: Client, url: str) -> int:
    client.get(url, follow=True)  # what is asked once per process
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url, follow=True).status_code == 200, url
        return len(queries)


def wipe_counters() -> None:
    """The other tables of the seed, emptied for the second one."""
    tables = ["documents_tenant", "documents_webhookattempt", "queueadmin_workerprocess", "queueadmin_queuecontrol"]
    with connection.cursor() as cursor:
        for table in [*tables, "queueadmin_jobminute", "queueadmin_failureminute"]:
            cursor.execute(f"DELETE FROM {table}")
