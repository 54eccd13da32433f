"""API keys, and the command that makes them."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from documents import api_keys, tenants
from documents.api_keys import ApiKeyExpired, ApiKeyRevoked, InvalidApiKey, InvalidScopes, NoSuchApiKey
from documents.models import ApiKey
from queueadmin.models import AuditEntry, OperationLog

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def manage(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("api_key", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def manage_json(*arguments: str) -> Any:
    return json.loads(manage(*arguments, "--json")[0])


def test_a_key_is_recognised_and_stored_as_a_hash_only() -> None:
    issued = api_keys.issue("ci", scopes=["read", "submit", "read"], tenant="acme")
    caller = api_keys.recognise(issued.key)
    assert (caller.name, caller.tenant, caller.scopes) == ("ci", "acme", {"read", "submit"})
    row = ApiKey.objects.values().get()
    assert issued.key not in str(row)
    assert issued.key.startswith(row["prefix"])
    assert len(row["prefix"]) == 12
    assert len(issued.key) == 47


def test_an_expired_a_revoked_and_an_unknown_key_are_told_apart() -> None:
    expiring = api_keys.issue("a", scopes=["read"], expires_at=NOW)
    assert api_keys.recognise(expiring.key, now=NOW - timedelta(seconds=1)).name == "a"
    with pytest.raises(ApiKeyExpired):
        api_keys.recognise(expiring.key, now=NOW)
    revoked = api_keys.issue("b", scopes=["read"])
    api_keys.revoke(str(revoked.record.pk))
    with pytest.raises(ApiKeyRevoked):
        api_keys.recognise(revoked.key)
    for unknown in ("", "x", "x" * 10_000, "\ud800", revoked.key[:-1]):
        with pytest.raises(InvalidApiKey):
            api_keys.recognise(unknown)


def test_revoking_twice_keeps_the_first_time() -> None:
    issued = api_keys.issue("a", scopes=["read"])
    first = api_keys.revoke(issued.record.prefix, now=NOW).revoked_at
    assert api_keys.revoke(issued.record.prefix, now=NOW + timedelta(days=1)).revoked_at == first == NOW


@pytest.mark.parametrize("scopes", [[], ["write"], ["read", "admin"]])
def test_unknown_scopes_are_refused(scopes: list[str]) -> None:
    with pytest.raises(InvalidScopes):
        api_keys.issue("a", scopes=scopes)


def test_a_refused_tenant_leaves_no_key() -> None:
    with pytest.raises(tenants.InvalidTenant):
        api_keys.issue("a", scopes=["read"], tenant="A B")
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("reference", ["", "x", "999999", "9" * 40, "²"])
def test_revoking_what_does_not_exist_says_so(reference: str) -> None:
    with pytest.raises(NoSuchApiKey):
        api_keys.revoke(reference)


def test_an_ambiguous_prefix_asks_for_the_id() -> None:
    for name in "ab":
        api_keys.issue(name, scopes=["read"])
    ApiKey.objects.update(prefix="ing_same")
    with pytest.raises(NoSuchApiKey, match="its id"):
        api_keys.revoke("ing_same")


def test_create_prints_the_key_once_and_alone_so_that_a_shell_can_take_it() -> None:
    out, err = manage("create", "demo", "--scopes", "submit,read")
    assert api_keys.recognise(out.strip()).scopes == {"submit", "read"}
    assert out.strip() not in err
    assert "not shown again" in err
    assert str(connection.settings_dict["NAME"]) in err

    assert out.strip() not in manage("list")[0]


def test_create_with_json_tells_everything() -> None:
    made = manage_json(
        "create", "demo", "--scopes", "read", "--tenant", "acme", "--key-prefix", "in/acme", "--expires-days", "2"
    )
    assert api_keys.recognise(made["key"]).tenant == "acme"
    assert (made["tenant"], made["key_prefix"], made["scopes"]) == ("acme", "in/acme/", ["read"])
    assert made["expires_at"].endswith("Z")


def test_list_shows_states_and_an_empty_list_says_what_to_do() -> None:
    assert "api_key create" in manage("list")[0]
    assert manage_json("list") == []
    issued = api_keys.issue("old", scopes=["read"], expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert manage_json("revoke", issued.record.prefix)["state"] == "revoked"
    api_keys.issue("expired", scopes=["read"], expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    api_keys.issue("new", scopes=["read"])
    assert [key["state"] for key in manage_json("list")] == ["revoked", "expired", "active"]
    assert "key" not in manage_json("list")[0]
    assert "new" in manage("list")[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "x", "--scopes", "write"), ("create", "x", "--scopes", ""), ("create", "", "--scopes", "read"),
        ("create", "x" * 101, "--scopes", "read"), ("create", "a\nb", "--scopes", "read"),
        ("create", "x", "--scopes", "read", "--tenant", "A B"), ("revoke", "nothing"), ("create", "x"),
        ("create", "x", "--scopes", "read", "--expires-days", "0"), ("list", "x"), (),
        ("create", "x", "--scopes", "read", "--expires-days", "nan"),
        ("create", "x", "--scopes", "read", "--key-prefix", "../up"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_one_clear_error(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as error:
        manage(*arguments)
    assert str(error.value)
    assert not ApiKey.objects.exists()


def test_making_and_revoking_a_key_is_in_the_audit_without_the_key() -> None:
    key = manage("create", "ci", "--scopes", "read,submit", "--tenant", "acme", "--key-prefix", "acme/")[0].strip()
    manage("revoke", ApiKey.objects.get().prefix)
    logs = list(OperationLog.objects.order_by("at"))
    assert [(log.operation, log.target, log.source, log.done) for log in logs] == [
        ("issue_api_key", "acme: ci", "cli", 1), ("revoke_api_key", key[:12], "cli", 1),
    ]  # fmt: skip
    assert logs[0].detail == {"prefix": key[:12], "scopes": ["read", "submit"], "all_tenants": False}
    assert not [entry for entry in AuditEntry.objects.all() if key in entry.content]
