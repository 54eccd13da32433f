"""Operators in a real browser: each action of the control plane is found, asks first, acts, and says what it did."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from documents.models import Tenant
from queueadmin import lifecycle, presence
from queueadmin.models import BulkOperation, Job, JobMinute, OperationLog, QueueControl, WorkerProcess
from queueadmin.states import State
from tests.browser.conftest import Person, PersonFactory
from tests.documents import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _tenant(transactional_db: None) -> None:
    Tenant.objects.get_or_create(slug="default", defaults={"key_prefix": ""})


def ended(state: str, **fields: Any) -> uuid.UUID:
    task = factories.task(**fields)
    factories.end(task, state)
    return task


def confirm(somebody: Person, button: str, *, reason: str = "seen in a browser") -> Page:
    """Give a reason and say yes; what comes of it is told on the next page."""
    page = somebody.page
    if page.locator("#qa-reason").count():
        page.fill("#qa-reason", reason)
    somebody.click(f"input[type=submit][value='{button}']")
    return page


def state_of(task: uuid.UUID) -> str:
    return str(Job.objects.get(pk=task).state)


def test_jobs_are_retried_cancelled_and_discarded_from_their_pages_and_lists(person: PersonFactory) -> None:
    # Given a failed job, a dead letter and two that wait
    failed, dead, waiting = ended("failed"), ended("dead_letter"), factories.task()
    operator = person("Operator")
    page = operator.page

    # When each is acted on from its own page
    operator.visit(f"/admin/documents/ingestiontask/{failed}/change/")
    operator.click("ul.object-tools a:text-is('Retry')")
    confirm(operator, "Retry 1 job")
    expect(page.locator("ul.messagelist")).to_contain_text("1 job queued again.")
    operator.visit(f"/admin/queueadmin/job/{waiting}/change/")
    operator.click("ul.object-tools a:text-is('Cancel')")
    confirm(operator, "Cancel 1 job")
    operator.visit(f"/admin/queueadmin/job/{dead}/change/")
    operator.click("ul.object-tools a:text-is('Discard')")
    confirm(operator, "Discard 1 job")
    # Then
    assert [state_of(task) for task in (failed, waiting, dead)] == [State.PENDING, State.CANCELLED, State.CANCELLED]

    # When those that were cancelled are selected in a list
    operator.visit("/admin/documents/ingestiontask/?state=cancelled")
    page.check("#action-toggle")
    page.select_option("select[name=action]", "retry_jobs")
    operator.click("button[name=index]")
    expect(page.locator(".qa-count")).to_contain_text("2 of 2 selected jobs are eligible")
    confirm(operator, "Retry 2 jobs")
    # Then they run again, the operations log knows who and why, and nothing was wrong on the way
    assert {state_of(task) for task in (waiting, dead)} == {State.PENDING}
    assert set(OperationLog.objects.values_list("by", "reason")) == {("operator", "seen in a browser")}
    assert operator.wrong == {}


def test_all_that_a_search_finds_is_retried_after_a_dry_run(person: PersonFactory) -> None:
    for _ in range(3):
        ended("failed")
    operator = person("Operator")
    page = operator.visit("/admin/queueadmin/job/?q=state:failed")
    operator.click("p.qa-note a.button:text-is('Retry')")
    expect(page.locator(".qa-count")).to_contain_text("3 of 3 matching jobs are eligible")
    confirm(operator, "Retry 3 jobs")
    expect(page.locator("h1")).to_contain_text("Retry")
    assert BulkOperation.objects.get().reason == "seen in a browser"
    assert operator.wrong == {}


def test_a_group_of_failures_leads_to_its_jobs_and_to_retrying_them(person: PersonFactory) -> None:
    task = factories.task()
    job = factories.claimed(task)
    bad = lifecycle.bury(job, code="bad_release", message="KeyError", fingerprint="ab" * 16)
    lifecycle.finish([bad], worker_id=factories.WORKER)
    operator = person("Operator")
    page = operator.visit("/admin/control/overview/")
    operator.click("th a:text-is('bad_release')")
    operator.click("a.button:text-is('Retry this group')")
    expect(page.locator(".qa-count")).to_contain_text("1 of 1 matching jobs")
    confirm(operator, "Retry 1 jobs")
    assert BulkOperation.objects.get().search == f"fingerprint:{'ab' * 16}"
    assert operator.wrong == {}


def test_a_queue_is_paused_limited_resumed_and_purged_by_those_who_may(person: PersonFactory) -> None:
    factories.task()
    operator, administrator = person("Operator"), person("Administrator")
    queues = "/admin/queueadmin/queuecontrol/"
    row = "tr:has(th span:text-is('q'))"

    page = operator.visit(queues)
    operator.click(f"{row} a.button:text-is('Pause')")
    confirm(operator, "Pause q", reason="a bad release")
    expect(page.locator(row)).to_contain_text("a bad release")
    assert QueueControl.objects.get(queue="q").paused_by == "operator"
    operator.click(f"{row} a.button:text-is('Resume')")
    confirm(operator, "Resume q")
    assert page.locator(f"{row} a.button:text-is('Purge')").count() == 0, "operators may not purge"

    page = administrator.visit(queues)
    administrator.click(f"{row} a.button:text-is('Purge')")
    confirm(administrator, "Cancel 1 job")
    assert Job.objects.get().state == State.CANCELLED
    assert operator.wrong == administrator.wrong == {}


def test_a_worker_is_asked_to_drain(person: PersonFactory) -> None:
    me = presence.identify(7, name="west-1")
    presence.register(me, queues=["q"], actors=["ingest_document"], threads=4)
    WorkerProcess.objects.update(beat_at=timezone.now() + timedelta(minutes=5))  # it is not silent before it is seen
    operator = person("Operator")
    page = operator.visit("/admin/control/workers/")
    operator.click("a.button:text-is('Drain')")
    expect(page.locator(".qa-confirm")).to_contain_text("starts a new one in its place")
    confirm(operator, "Drain this worker")
    expect(page.locator("tr:has(th:text-is('west-1'))")).to_contain_text("Draining")
    assert WorkerProcess.objects.get().drain_requested_at is not None
    assert operator.wrong == {}


def test_a_periodic_job_is_run_now_and_the_broker_repaired(person: PersonFactory) -> None:
    administrator = person("Administrator")
    page = administrator.visit("/admin/control/periodic/")
    administrator.click("tr:has(a:text-is('cleanup')) a.button:text-is('Run now')")
    confirm(administrator, "Run cleanup")
    assert Job.objects.get().actor == "cleanup"
    administrator.visit("/admin/control/truth/")
    administrator.click("a.button:has-text('Compare')")
    page.fill("#qa-reason", "seen in a browser")
    administrator.click("input[type=submit][value^='Repair']")
    expect(page.locator("ul.messagelist")).to_contain_text("pending jobs were missing")
    assert administrator.wrong == {}


def test_the_overview_updates_itself_and_keeps_what_is_open(person: PersonFactory) -> None:
    # Given an overview that somebody looks at, with the table of its chart open
    minute = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=3)
    JobMinute.objects.create(minute=minute, source_id=1, queue="q", actor="a", completed=41, failed=1)
    viewer = person("Viewer")
    page = viewer.visit("/admin/control/overview/")
    pending = page.locator(".qa-figures a", has_text=re.compile("Pending"))
    expect(pending.locator("strong")).to_have_text("0")
    expect(page.locator(".qa-chart")).to_contain_text("41 completed, 1 failed")
    page.click("summary:has-text('The chart as a table')")
    page.evaluate("window.__same = true")
    # When a job is submitted
    factories.task()
    # Then it shows within seconds, without a reload, and the table is still open
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    expect(pending.locator("strong")).to_have_text("1", timeout=20_000)
    assert page.evaluate("window.__same") is True
    assert page.locator("details[data-live-keep=chart]").get_attribute("open") is not None
    # And each bar leads to the jobs behind it
    assert "finished" in str(page.locator(".qa-chart svg a").first.get_attribute("href"))
    viewer.click(".qa-spans a:text-is('By hour')")
    expect(page.locator("h2").first).to_contain_text("Ended by hour")
    assert viewer.wrong == {}


def test_an_id_is_copied_by_its_button(person: PersonFactory) -> None:
    task = factories.task()
    viewer = person("Viewer", permissions=["clipboard-read", "clipboard-write"])
    page = viewer.visit(f"/admin/queueadmin/job/{task}/change/")
    page.click("button.qa-copy")
    expect(page.locator("button.qa-copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == str(task)
    expect(page.locator("button.qa-copy")).to_have_text("Copy", timeout=10_000)
    assert viewer.wrong == {}
