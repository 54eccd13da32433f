"""Browsers of people with permissions, for the tests of pages."""

from uuid import uuid4

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client


def staff(*permissions: str, superuser: bool = False) -> Client:
    """A browser of a staff user who has these permissions of queueadmin and no others."""
    users = get_user_model().objects
    made = users.create_user(f"user-{uuid4().hex[:8]}", is_staff=True, is_superuser=superuser)
    made.user_permissions.set(Permission.objects.filter(codename__in=permissions, content_type__app_label="queueadmin"))
    client = Client()
    client.force_login(made)
    return client


def text_of(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, (url, answer.status_code)
    return answer.content.decode()
