"""Django's own lists in the admin: what stands in an address or a form is no failure of the database."""

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from queueadmin.models import Job, QueueControl
from tests.queueadmin.people import staff

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]

USERS, GROUPS = "/admin/auth/user/", "/admin/auth/group/"


@pytest.fixture
def root() -> Client:
    return staff(superuser=True)


@pytest.mark.parametrize("base", [USERS, GROUPS])
@pytest.mark.parametrize(
    "query", ["q=%00", "q=a%00b", "o=%00", "p=%00", "id__exact=%00", "nonsense=%00", "q=" + "9" * 400]
)
def test_a_damaged_address_of_a_list_leads_to_the_list(root: Client, base: str, query: str) -> None:
    assert root.get(f"{base}?{query}", follow=True).status_code == 200


@pytest.mark.parametrize("base", [USERS, GROUPS])
@pytest.mark.parametrize("key", ["\x00", "x", "", "9" * 30, "-1e9"])
def test_a_damaged_selection_is_refused_and_deletes_nothing(root: Client, base: str, key: str) -> None:
    Group.objects.get_or_create(name="Temporary")
    before = (User.objects.count(), Group.objects.count())
    answer = root.post(base, {"action": "delete_selected", "_selected_action": [key], "post": "yes"})
    assert answer.status_code == 400
    assert (User.objects.count(), Group.objects.count()) == before


@pytest.mark.parametrize("path", ["%00/change/", "%00/history/", "%00/delete/", "9" * 30 + "/change/", "x/change/"])
def test_a_row_that_cannot_be_is_not_there(root: Client, path: str) -> None:
    for base in (USERS, GROUPS):
        assert root.get(f"{base}{path}", follow=True).status_code in (200, 404)
    assert root.get(f"{USERS}%00/password/").status_code == 404


def test_fields_that_complete_what_is_typed_find_nothing_for_it(root: Client) -> None:
    source = {"app_label": "documents", "model_name": "tenantmember", "field_name": "user"}
    assert root.get("/admin/autocomplete/", {**source, "term": "\x00"}).status_code in (200, 403)


@pytest.mark.parametrize("key", ["x", "%00", "9" * 30])
def test_the_way_from_a_row_to_its_page_is_not_found_for_what_is_no_row(root: Client, key: str) -> None:
    for model in (Job, QueueControl, User):
        assert root.get(f"/admin/r/{ContentType.objects.get_for_model(model).pk}/{key}/").status_code == 404
    assert root.get(f"/admin/r/{key}/1/").status_code == 404


def test_a_list_is_called_what_it_lists(root: Client) -> None:
    assert "<h1>Users</h1>" in root.get(USERS).text
    assert "<h1>Jobs</h1>" in root.get("/admin/queueadmin/job/").text
    log = root.get("/admin/queueadmin/operationlog/").text
    assert "<h1>Operations log</h1>" in log
    assert "0 operations\n" in log
