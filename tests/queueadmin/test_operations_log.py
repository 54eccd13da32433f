"""The operations log in the admin: who, what, when, from where, at what; exports; links; the state of the chain."""

import csv
import io
import json
import uuid
from collections.abc import Iterator
from datetime import timedelta

import dramatiq
import pytest
from django.test import Client
from django.utils import timezone

from queueadmin import audit, operations
from queueadmin.broker import LedgerRedisBroker
from queueadmin.models import AuditEntry, OperationLog
from queueadmin.pages.audit import MOST
from queueadmin.pages.base import url
from tests.queueadmin.factories import submitted
from tests.queueadmin.people import staff, text_of

pytestmark = [pytest.mark.django_db(transaction=True)]

LOG = "/admin/queueadmin/operationlog/"


@pytest.fixture(autouse=True)
def current_broker(broker: LedgerRedisBroker) -> Iterator[None]:
    before = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    yield
    dramatiq.set_broker(before)


@pytest.fixture
def viewer(db: None) -> Client:
    return staff("view_operationlog")


@pytest.fixture
def logs() -> dict[str, OperationLog]:
    """Three operations: Ada cancelled a job, Bob paused a queue from the API, the system resumed it a week ago."""
    job_id = submitted()
    submitted()
    operations.cancel([job_id], by="Ada", source="cli", reason="no longer wanted")
    operations.pause("q", by="Bob", source="api", reason="=upgrade")
    operations.resume("q", by="dispatcher", source="system")
    OperationLog.objects.filter(by="dispatcher").update(at=timezone.now() - timedelta(days=7, hours=1))
    return {log.by: log for log in OperationLog.objects.all()}


def exported(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"{LOG}export/jsonl/{query}")
    assert answer.status_code == 200
    return [json.loads(line)["by"] for line in b"".join(answer).splitlines()]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["Bob", "Ada", "dispatcher"]), ("?by=Ada", ["Ada"]), ("?operation=pause", ["Bob"]),
        ("?source__exact=system", ["dispatcher"]), ("?when=week", ["Bob", "Ada"]), ("?outcome=done", None),
        ("?q=wanted", ["Ada"]), ("?q=BOB", ["Bob"]),
        ("?when=never&by=", ["Bob", "Ada", "dispatcher"]),
        ("?by=Ada&operation=pause", []), ("?q=q", None),
    ],
)  # fmt: skip
def test_the_list_and_its_export_show_what_the_filters_ask_for(
    viewer: Client, logs: dict[str, OperationLog], query: str, found: list[str] | None
) -> None:
    page = text_of(viewer, LOG + query)
    names = exported(viewer, query)
    if found is not None:
        assert names == found
    assert [name for name in logs if f"{LOG}{logs[name].pk}/change/" in page] == [n for n in logs if n in names]


def test_a_jobs_id_finds_the_operations_that_changed_it_among_others(viewer: Client) -> None:
    first, second = submitted(), submitted()
    operations.cancel([first, second], by="Both", source="cli")
    operations.retry([second], by="Second", source="cli")
    assert exported(viewer, f"?q={first}") == ["Both"]
    assert exported(viewer, f"?q={second}") == ["Second", "Both"]
    assert exported(viewer, f"?q={uuid.uuid4()}") == []


def test_an_export_as_csv_holds_no_formula(viewer: Client, logs: dict[str, OperationLog]) -> None:
    answer = viewer.get(f"{LOG}export/csv/?by=Bob")
    assert answer["Content-Disposition"] == 'attachment; filename="operations.csv"'
    (row,) = csv.DictReader(io.StringIO(b"".join(answer).decode()))
    assert (row["by"], row["operation"], row["target"], row["reason"]) == ("Bob", "pause", "q", "'=upgrade")


@pytest.mark.parametrize("query", ["?nonsense=1", "?at__gte=x", "?o=99", "?p=-1"])
def test_a_damaged_address_of_an_export_does_no_harm(viewer: Client, query: str) -> None:
    assert viewer.get(f"{LOG}export/csv/{query}").status_code in (200, 302)


def test_an_export_is_for_those_who_may_see_the_log(viewer: Client) -> None:
    assert staff("view_job").get(f"{LOG}export/csv/").status_code == 403
    assert viewer.get(f"{LOG}export/xml/").status_code == 404
    assert not OperationLog.objects.exists()


def test_a_row_leads_to_its_job_and_its_entries(viewer: Client, logs: dict[str, OperationLog]) -> None:
    log = logs["Ada"]
    page = text_of(viewer, f"{LOG}{log.pk}/change/")
    assert f"/admin/queueadmin/job/{log.target}/change/" in page
    for entry in AuditEntry.objects.filter(operation_id=log.pk):
        assert entry.hash in page


# -- the chain -------------------------------------------------------------------------------------


def test_the_chain_is_verified_when_asked(viewer: Client, logs: dict[str, OperationLog]) -> None:
    OperationLog.objects.filter(by="dispatcher").delete()
    AuditEntry.objects.all().delete()
    head = str(audit.head())
    assert head in text_of(viewer, url("audit"))
    assert "not sound" in text_of(viewer, f"{url('audit')}?verify=yes")


def test_a_sound_chain_says_up_to_which_entry(viewer: Client) -> None:
    operations.cancel([submitted()], by="Ada", source="cli")
    head = str(audit.head())
    assert "Verified up to" not in text_of(viewer, url("audit"))
    assert "Verified up to entry 2" in text_of(viewer, f"{url('audit')}?verify=yes&anchor={head}")
    assert "not sound" in text_of(viewer, f"{url('audit')}?verify=yes&anchor=1:{'0' * 64}")
    assert "An anchor is NUMBER:HASH" in text_of(viewer, f"{url('audit')}?verify=yes&anchor=x")
    OperationLog.objects.update(by="Eve")
    page = text_of(viewer, f"{url('audit')}?verify=yes")
    assert "The audit is not sound" in page
    assert "was changed: by" in page


def test_a_very_long_chain_is_for_the_command_line(viewer: Client) -> None:
    audit.head()
    audit.AuditHead.objects.create(pk=1, number=MOST + 1, hash="a" * 64)
    page = text_of(viewer, f"{url('audit')}?verify=yes")
    assert "manage.py audit verify" in page
    assert "Verify the chain" not in page
