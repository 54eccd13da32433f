"""What a newcomer needs on the first start: tables, a staff user, a key for the API."""

import io
import json
import secrets
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor

STAFF_NAME = "admin"
DEMO_KEY_NAME = "demo of manage.py up"


@dataclass(frozen=True, kw_only=True)
class DemoKey:
    """An API key for one run. `key` is the secret; it is shown to the person at the terminal and stored nowhere."""

    id: int
    key: str


def migrate() -> bool:
    """Bring an embedded database up to date; True when every table is there.

    A database of somebody's own (DATABASE_URL) is only looked at: migrating it is a deployment's decision.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.vendor == "sqlite":
        call_command("migrate", interactive=False, verbosity=0)
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def first_staff_password() -> str | None:
    """Make the first staff user and return the password, which is not stored; None when there is one already."""
    users = get_user_model().objects
    if users.filter(is_staff=True).exists():
        return None
    password = secrets.token_urlsafe(12)
    users.create_superuser(username=STAFF_NAME, password=password)
    return password


def demo_key() -> DemoKey:
    """Make an API key that may submit and read, for the samples and the curl command of this run."""
    for left in _api_key("list"):  # by a run that was killed
        if left["name"] == DEMO_KEY_NAME and left["state"] == "active":
            _api_key("revoke", str(left["id"]))
    made = _api_key("create", DEMO_KEY_NAME, "--scopes", "submit,read")
    return DemoKey(id=made["id"], key=made["key"])


def revoke(key: DemoKey) -> None:
    """End the demo key's life with the run."""
    _api_key("revoke", str(key.id))


def _api_key(*arguments: str) -> Any:
    """The answer of `manage.py api_key ... --json`."""
    answer = io.StringIO()
    call_command("api_key", *arguments, "--json", stdout=answer)
    return json.loads(answer.getvalue())
