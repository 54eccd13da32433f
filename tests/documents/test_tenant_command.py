"""`manage.py tenant`: what operators set for each tenant."""

import io
import json
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from documents import api_keys, webhooks
from documents.callbacks import endpoints, secrets
from queueadmin.models import PartitionLimit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases, pytest.mark.usefixtures("valkey")]


@pytest.fixture(autouse=True)
def acme() -> None:
    api_keys.issue("k", scopes=["read"], tenant="acme")


def tenant(*arguments: str) -> str:
    out = io.StringIO()
    call_command("tenant", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def tenant_json(*arguments: str) -> Any:
    return json.loads(tenant(*arguments, "--json"))


def test_everything_of_a_tenant_is_set_and_shown_in_one_place() -> None:
    url = "https://example.org/hook"
    tenant("set", "acme", "--webhook-url", url, "--requests-per-minute", "600", "--running", "4")
    shown = tenant_json("show", "acme")
    assert (shown["webhook_url"], shown["requests_per_minute"], shown["running_limit"]) == (url, 600, 4)
    assert PartitionLimit.objects.get().queue == settings.QUEUE_NAME
    assert "acme: running limit 4; requests per minute 600; has a webhook endpoint" in tenant("list")
    # And taken away again
    tenant("set", "acme", "--webhook-url", "none", "--requests-per-minute", "none", "--running", "none")
    shown = tenant_json("show", "acme")
    assert (shown["webhook_url"], shown["requests_per_minute"], shown["running_limit"]) == ("", None, None)
    assert len(tenant_json("list")) == 1


def test_a_secret_is_printed_once_and_signs() -> None:
    printed = tenant("rotate-secret", "acme", "--overlap-hours", "0").strip()
    assert secrets.signing("acme", shared=()) == (printed,)
    assert tenant_json("reencrypt") == {"reencrypted": 2}
    assert secrets.signing("acme", shared=()) == (printed,)


def test_addresses_that_are_gone_are_enabled_again() -> None:
    endpoints.disable("acme", "https://example.org/hook")
    assert tenant("enable-webhooks", "acme") == "1 address is enabled again.\n"
    assert webhooks.endpoint("acme").disabled_at is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "nobody"), ("set", "acme", "--running", "-1"), ("set", "acme", "--webhook-url", "http://10.0.0.1/"),
        ("rotate-secret", "acme", "--overlap-hours", "9999"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_explained(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        tenant(*arguments)
