"""Further actions in a real browser: changed jobs, limits, pauses that end, periodic jobs, bulk operations, exports."""

import uuid

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from documents.models import Tenant
from queueadmin.models import BulkOperation, Job, OperationLog, PeriodicControl, QueueControl
from queueadmin.states import State
from tests.browser.conftest import PersonFactory
from tests.browser.test_actions import confirm, ended, state_of
from tests.documents import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _tenant(transactional_db: None) -> None:
    Tenant.objects.get_or_create(slug="default", defaults={"key_prefix": ""})


def page_of(task: uuid.UUID) -> str:
    return f"/admin/documents/ingestiontask/{task}/change/"


def test_a_job_gets_another_priority_and_one_is_retried_with_changes(person: PersonFactory) -> None:
    waiting, failed = factories.task(), ended("failed")
    operator = person("Operator")
    page = operator.visit(page_of(waiting))
    operator.click("ul.object-tools a:text-is('Change priority')")
    page.fill("#id_priority", "7")
    confirm(operator, "Change priority 1 job")
    assert Job.objects.get(pk=waiting).priority == 7

    operator.visit(page_of(failed))
    operator.click("ul.object-tools a:text-is('Retry with changes')")
    page.fill("#id_max_attempts", "9")
    page.select_option("#id_own-ocr", "force")
    confirm(operator, "Retry with these")
    job = Job.objects.get(pk=failed)
    assert (job.state, job.max_attempts, job.payload["kwargs"]["options"]) == (State.PENDING, 9, {"ocr": "force"})
    assert operator.wrong == {}


def test_a_queue_is_limited_and_drained_until_a_time(person: PersonFactory) -> None:
    factories.task()
    operator = person("Operator")
    page = operator.visit("/admin/queueadmin/queuecontrol/")
    row = "tr:has(th span:text-is('q'))"
    operator.click(f"{row} a.button:text-is('Limit')")
    page.fill("#id_limit", "3")
    confirm(operator, "Limit q")
    expect(page.locator(row)).to_contain_text("At most 3 at once")
    operator.click(f"{row} a.button:text-is('Drain')")
    page.fill("#id_length", "2h")
    confirm(operator, "Drain q", reason="an upgrade")
    expect(page.locator(row)).to_contain_text("Resumes by itself in")
    control = QueueControl.objects.get(queue="q")
    assert control.concurrency_limit == 3
    assert control.resume_at is not None
    assert control.resume_at > timezone.now()
    assert operator.wrong == {}


def test_a_periodic_job_is_paused_and_resumed(person: PersonFactory) -> None:
    operator = person("Operator")
    page = operator.visit("/admin/control/periodic/")
    row = "tr:has(a:text-is('cleanup'))"
    operator.click(f"{row} a.button:text-is('Pause')")
    confirm(operator, "Pause cleanup", reason="it is in the way")
    expect(page.locator(row)).to_contain_text("it is in the way")
    assert PeriodicControl.objects.get().paused_by == "operator"
    operator.click(f"{row} a.button:text-is('Resume')")
    confirm(operator, "Resume cleanup")
    assert not PeriodicControl.objects.exists()
    assert operator.wrong == {}


@pytest.mark.parametrize(
    ("label", "search", "state"),
    [
        ("Cancel", "state:pending", None),
        ("Purge", "state:pending", None),
        ("Discard", "state:dead_letter", "dead_letter"),
        ("Change priority", "state:pending", None),
        ("Retry now", "state:failed", "failed"),
    ],
)
def test_each_bulk_operation_is_found_asks_first_and_can_be_stopped(
    person: PersonFactory, label: str, search: str, state: str | None
) -> None:
    task = ended(state) if state else factories.task()
    administrator = person("Administrator")
    page = administrator.visit(f"/admin/queueadmin/job/?q={search}")
    administrator.click(f"p.qa-note a.button:text-is('{label}')")
    expect(page.locator(".qa-count")).to_contain_text("1 of 1 matching jobs")
    confirm(administrator, f"{label} 1 jobs")
    assert state_of(task) == (state or State.PENDING)  # no worker is there to do it
    administrator.click("input[type=submit][value='Stop it']")
    expect(page.locator(".qa-headline")).to_contain_text("Stopping")
    assert BulkOperation.objects.get().abort_requested_at is not None
    assert administrator.wrong == {}


def test_dead_letters_are_requeued_discarded_and_taken_along(person: PersonFactory) -> None:
    first, second = ended("dead_letter"), ended("dead_letter")
    operator = person("Operator")
    page = operator.visit("/admin/control/dead_letters/")
    with page.expect_download() as export:
        page.click("a:text-is('CSV')")
    assert str(first) in export.value.path().read_text()
    operator.click(f"a[href$='retry/?ids={first}']")
    confirm(operator, "Retry 1 job")
    operator.visit("/admin/control/dead_letters/")
    operator.click("a.button:text-is('Discard')")
    confirm(operator, "Discard 1 job")
    assert [state_of(task) for task in (first, second)] == [State.PENDING, State.CANCELLED]
    # And the audit knows, in a file as well, and was changed by nobody
    page = operator.visit("/admin/queueadmin/operationlog/")
    with page.expect_download() as export:
        page.click("a:text-is('JSON lines')")
    assert len(export.value.path().read_text().splitlines()) == OperationLog.objects.count() == 2
    operator.visit("/admin/control/audit/")
    operator.click("input[type=submit][value='Verify the chain']")
    expect(page.locator(".qa-banner-info")).to_contain_text("Verified up to entry 4")
    assert operator.wrong == {}
