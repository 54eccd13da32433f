"""What every page of the control plane does: who may see it, what GET may do, where it stands in the menu."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from queueadmin.pages.base import Page, url
from queueadmin.pages.table import PAGES

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

WITHOUT_ROW = [page for page in PAGES if page.in_menu]


def client_with(*permissions: str) -> Client:
    user = get_user_model().objects.create_user(f"staff-{len(permissions)}", password="a-long-password", is_staff=True)
    for name in permissions:
        app, _, codename = name.partition(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("page", WITHOUT_ROW, ids=lambda page: page.name)
def test_a_page_is_for_those_who_may_see_it_and_takes_no_post_unless_it_says_so(page: Page) -> None:
    allowed, other = client_with(page.permission), client_with()
    assert allowed.get(url(page.name)).status_code == 200
    assert other.get(url(page.name)).status_code == 403
    assert Client().get(url(page.name)).status_code == 302  # to the login
    assert allowed.post(url(page.name)).status_code == (403 if page.post_permission else 405)


def test_the_menu_shows_the_pages_that_a_person_may_see() -> None:
    assert url("overview") in client_with("queueadmin.view_job").get("/admin/").text
    assert url("overview") not in client_with().get("/admin/").text


def test_no_two_pages_share_a_name() -> None:
    assert len({page.name for page in PAGES}) == len(PAGES)
