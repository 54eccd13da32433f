"""What a newcomer needs on the first start: tables, a staff user, a key for the API."""

import io
import json
import secrets
from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor

STAFF_NAME = "admin"


@dataclass(frozen=True, kw_only=True)
class DemoKey:
    """An API key for one run. `key` is the secret; it is shown to the person at the terminal and stored nowhere."""

    key: str
    name: str


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
    """Make an API key that may submit and read, for the samples and the curl commands of this run."""
    name = f"demo-{secrets.token_hex(4)}"
    answer = io.StringIO()
    call_command("api_key", "create", name, "--scopes", "submit,read", "--json", stdout=answer)
    return DemoKey(key=json.loads(answer.getvalue())["key"], name=name)


def revoke(key: DemoKey) -> None:
    """End the demo key's life with the run."""
    call_command("api_key", "revoke", key.name, stdout=io.StringIO())
