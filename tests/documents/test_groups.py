"""The groups that are shipped: what each may do, and that a tenant's viewer sees that tenant only."""

from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client

from documents.models import Tenant, TenantMember
from queueadmin.models import Job
from tests.documents import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

TASKS = "/admin/documents/ingestiontask/"


@pytest.fixture(autouse=True)
def groups() -> None:
    """As the migration makes them; a test that emptied all tables may have been here before."""
    import_module("documents.migrations.0005_groups").make_groups(apps, None)


def member_of(group: str, *, tenant: str = "") -> Client:
    user = get_user_model().objects.create_user(group.replace(" ", ""), password="a-long-password", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    if tenant:
        TenantMember.objects.create(user=user, tenant_id=tenant)
    client = Client()
    client.force_login(user)
    return client


def may(group: str) -> set[str]:
    return {permission.codename for permission in Group.objects.get(name=group).permissions.all()}


def test_each_group_may_do_more_than_the_one_before_it() -> None:
    assert "view_job" in may("Viewer")
    assert all(name.startswith("view_") for name in may("Viewer"))
    assert may("Operator") - may("Viewer") >= {"retry_job", "cancel_job", "discard_job", "pause_queue"}
    assert "purge_job" not in may("Operator")
    assert may("Administrator") > may("Operator")
    assert may("Administrator") >= {"purge_job", "add_apikey"}
    assert may("Tenant viewer") == {"view_own_ingestiontask"}


def test_a_tenants_viewer_sees_its_tasks_and_nothing_else() -> None:
    # Given the tasks of two tenants, and somebody who belongs to one of them
    for slug in ("acme", "globex"):
        Tenant.objects.create(slug=slug, key_prefix=f"{slug}/")
    own = factories.task(tenant="acme", file_name="mine.pdf", document_id="d-1")
    other = factories.task(tenant="globex", file_name="theirs.pdf", document_id="d-1")
    viewer = member_of("Tenant viewer", tenant="acme")

    # Then the list and the search hold the own task only, and other tenants are not even named
    for query in ("", "?q=document:d-1", "?q=state:pending", f"?q={other}", "?tenant=globex"):
        page = viewer.get(f"{TASKS}{query}").text
        assert "theirs.pdf" not in page
        assert f"{TASKS}{other}/" not in page
    assert "globex" not in viewer.get(TASKS).text
    assert "mine.pdf" in viewer.get(TASKS).text

    # And so does the page of a task; nothing can be done, and no other page opens
    assert viewer.get(f"{TASKS}{own}/change/").status_code == 200
    assert viewer.get(f"{TASKS}{other}/change/").status_code == 302
    assert viewer.get(f"{TASKS}operate/cancel/", {"ids": other.hex}).status_code == 403
    assert viewer.post(f"{TASKS}operate/cancel/", {"ids": own.hex}).status_code == 403
    for address in ("queueadmin/job/", "queueadmin/queuecontrol/", "control/overview/", "documents/webhookattempt/"):
        assert viewer.get(f"/admin/{address}").status_code == 403
    assert Job.objects.filter(state="pending").count() == 2


def test_somebody_without_a_tenant_sees_no_task() -> None:
    factories.task(file_name="theirs.pdf")
    assert "theirs.pdf" not in member_of("Tenant viewer").get(TASKS).text
    assert "theirs.pdf" in member_of("Viewer").get(TASKS).text
