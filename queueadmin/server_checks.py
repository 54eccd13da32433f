"""Checks of the servers behind the ledger: each names what to change. They connect, so they run only when asked for.

`manage.py check --deploy --database default --tag servers` runs them, and so does the start of every worker. An
application adds its own with `@register(SERVERS, Tags.database, deploy=True)`; they do nothing while `databases` is
None. Deployment checks, because `migrate` runs all others: it could not mend what E102 complains about.

| id | level | what |
|---|---|---|
| queueadmin.E101 | error | Redis is too old |
| queueadmin.E102 | error | the database lacks migrations |
| queueadmin.W101 | warning | Redis does not answer |
| queueadmin.W102 | warning | Redis may throw keys away when it is full |
| queueadmin.W103 | warning | the database does not answer |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor

from queueadmin.broker import get_ledger_broker
from queueadmin.exceptions import BrokerTooOld, BrokerUnavailable, ConfigurationError
from queueadmin.ready import ReadySets

SERVERS = "servers"
"""The tag of checks that connect to something."""

_KEEPS_ALL = "noeviction"


@register(SERVERS, Tags.database, deploy=True)
def check_servers(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Redis, and the database's schema. Django passes `databases` where somebody asked for checks that connect."""
    if databases is None:
        return []
    try:
        sets = get_ledger_broker().ready_sets
    except ConfigurationError:
        return check_migrations()  # the checks without servers say what is wrong
    return [*check_redis(sets), *check_migrations()]


def check_redis(sets: ReadySets) -> list[CheckMessage]:
    """E101, W101 and W102."""
    try:
        sets.require_supported()
        policy = sets.eviction_policy()
    except BrokerTooOld as error:
        return [Error(str(error), hint="Upgrade the server, or point REDIS_URL to another one.", id="queueadmin.E101")]
    except BrokerUnavailable as error:
        hint = "Check REDIS_URL, and that the server runs. Submissions are accepted meanwhile; nothing is processed."
        return [Warning(str(error), hint=hint, id="queueadmin.W101")]
    if policy in ("", _KEEPS_ALL):
        return []
    return [
        Warning(
            f"Redis may throw away waiting jobs when its memory is full: its maxmemory-policy is {policy}.",
            hint="No job is lost by it, but each one waits for a sweep. Now: CONFIG SET maxmemory-policy noeviction. "
            "For good, in redis.conf or valkey.conf: maxmemory-policy noeviction",
            id="queueadmin.W102",
        )
    ]


def check_migrations() -> list[CheckMessage]:
    """E102 and W103."""
    try:
        missing = missing_migrations()
    except (DatabaseError, InterfaceError) as error:
        text = f"The database does not answer: {what_it_said(error)}."
        return [Warning(text, hint="Check DATABASE_URL, and that the server runs.", id="queueadmin.W103")]
    if not missing:
        return []
    text = f"The database lacks {missing} {'migration' if missing == 1 else 'migrations'}."
    return [Error(text, hint="Run: manage.py migrate", id="queueadmin.E102")]


def what_it_said(error: Exception) -> str:
    """The server's reason for refusing a connection, or the error's kind. The server repeats no password."""
    _, fatal, reason = str(error).partition("FATAL:")
    said = reason.strip().splitlines()[0] if fatal and reason.strip() else type(error).__name__
    if "startup parameter" in said:
        return f"{said} (it is a pooler: set DATABASE_POOLER=transaction)"
    return said


def missing_migrations() -> int:
    """How many migrations have not been run. Raises DatabaseError or InterfaceError."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
