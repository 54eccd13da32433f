"""The admin in a real browser: every page works, light and dark, wide and on a phone, for whom it is for."""

import uuid
from typing import Any

import pytest

from documents.models import Tenant
from queueadmin import presence
from queueadmin.models import Job, JobMinute
from queueadmin.pages.base import url as control_url
from queueadmin.pages.table import PAGES
from tests.browser.conftest import PASSWORD, PHONE, PersonFactory
from tests.documents import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

HOSTILE = "<script>window.__hacked = 1</script>\u202e.pdf"


@pytest.fixture
def failed() -> uuid.UUID:
    """Tasks in several states; this one failed and has a hostile name."""
    Tenant.objects.get_or_create(slug="default", defaults={"key_prefix": ""})
    me = presence.identify(7, name=f"west {HOSTILE}")
    presence.register(me, queues=["q", HOSTILE], actors=["ingest_document"], threads=4, version=HOSTILE)
    task = factories.task(file_name=HOSTILE, metadata={"a": "<img src=x onerror='window.__hacked = 1'>"})
    factories.end(task, "failed")
    Job.objects.filter(pk=task).update(error_message=f"Cannot read {HOSTILE}")
    factories.end(factories.task(), "completed")
    factories.end(factories.task(), "dead_letter")
    factories.task()
    assert JobMinute.objects.exists()
    return task


def control_pages() -> list[str]:
    return [control_url(page.name) for page in PAGES if page.in_menu]


def main_pages(task: uuid.UUID) -> list[str]:
    return [
        *control_pages(), "/admin/", "/admin/queueadmin/job/", "/admin/queueadmin/queuecontrol/",
        "/admin/documents/ingestiontask/", f"/admin/documents/ingestiontask/{task}/change/",
        f"/admin/queueadmin/job/{task}/change/",
    ]  # fmt: skip


def other_pages(task: uuid.UUID) -> list[str]:
    return [
        "/admin/documents/", "/admin/queueadmin/", "/admin/documents/ingestiontask/?state=failed",
        "/admin/queueadmin/job/?q=state:failed", "/admin/queueadmin/operationlog/",
        "/admin/documents/webhookattempt/", "/admin/control/overview/?chart=day", "/admin/control/workers/?ended=yes",
        "/admin/control/truth/?compare=yes", "/admin/control/failures/?span=week",
    ]  # fmt: skip


def acting_pages(task: uuid.UUID) -> list[str]:
    return [
        f"/admin/queueadmin/job/operate/retry/?ids={task}", "/admin/queueadmin/queuecontrol/operate/pause/?queue=q",
        f"/admin/control/bulk/new/?operation=retry&q=id:{task}", "/admin/control/workers/7/drain/",
    ]  # fmt: skip


def pages_of_administrators() -> list[str]:
    return [
        "/admin/documents/apikey/", "/admin/documents/apikey/add/", "/admin/documents/tenant/", "/admin/auth/user/",
        "/admin/password_change/",
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_works_without_a_barrier(person: PersonFactory, failed: uuid.UUID, scheme: str) -> None:
    # When somebody who may do everything opens every page, the main ones with axe looking over the shoulder
    root = person("superuser", scheme=scheme)
    for path in (*main_pages(failed), *acting_pages(failed)):
        root.visit_with_axe(path)
    if scheme == "light":  # these have no colours of their own
        for path in (*other_pages(failed), *pages_of_administrators()):
            root.visit(path)
    # Then nothing is wrong with any of them
    assert root.wrong == {}


def test_pages_are_readable_on_a_phone(person: PersonFactory, failed: uuid.UUID) -> None:
    root = person("superuser", screen=PHONE)
    for path in (*main_pages(failed), *acting_pages(failed)):
        root.visit(path)
    assert root.wrong == {}


def test_a_viewer_sees_every_page_and_no_button_that_acts(person: PersonFactory, failed: uuid.UUID) -> None:
    viewer = person("Viewer")
    for path in (*main_pages(failed), *other_pages(failed)):
        page = viewer.visit(path)
        assert page.locator("#content form[method=post] input[type=submit]").count() == 0, path
        assert page.locator("#content a.button", has_text="Drain").count() == 0, path
        assert page.locator("#content a.button", has_text="Pause").count() == 0, path
        assert page.locator("select[name=action] option[value$=_jobs]").count() == 0, path
    for path in acting_pages(failed):
        if "drain" not in path:  # which shows who would be asked, without the button
            viewer.visit(path, status=403)
    assert viewer.visit("/admin/control/workers/7/drain/").locator("text=Drain this worker").count() == 0
    assert viewer.wrong == {}


def test_an_outsider_finds_an_empty_admin(person: PersonFactory, failed: uuid.UUID) -> None:
    outsider = person("outsider")
    page = outsider.visit("/admin/")
    assert page.locator("#content-main .module").count() == 0
    for path in (*main_pages(failed), *acting_pages(failed)):
        if path != "/admin/":
            outsider.visit(path, status=403)
    assert outsider.wrong == {}


def test_somebody_who_has_not_logged_in_does_so_and_arrives_where_he_wanted(
    person: PersonFactory, django_user_model: Any
) -> None:
    # Given somebody with a link to a view
    django_user_model.objects.create_superuser("root", password=PASSWORD)
    stranger = person("anonymous")
    page = stranger.visit("/admin/queueadmin/job/?q=state:failed")
    # When he logs in
    page.fill("#id_username", "root")
    page.fill("#id_password", PASSWORD)
    stranger.click("input[type=submit]")
    # Then that very view is open
    assert page.url.endswith("/admin/queueadmin/job/?q=state:failed")
    assert page.input_value("#searchbar") == "state:failed"
    assert stranger.wrong == {}
