"""How many connections the service may open to PostgreSQL, and whether the server has them.

| id | level | what |
|---|---|---|
| ingestion.E101 | error | this machine's processes alone may open more connections than the service is allowed |
| ingestion.W101 | warning | together with the workers of other machines they may |
| ingestion.W102 | warning | a limit of `DATABASE_*_SECONDS` is not in force: a pooler stands in between |

These checks connect, so they run with the others of the tag `servers`: at the start of a worker, and when asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, InterfaceError, connection

from ingestion_site.database import Limits
from ingestion_site.embedded.web import WEB_CONNECTIONS, web_processes
from queueadmin import presence, selectors, sql
from queueadmin.server_checks import SERVERS

PER_WORKER = 4
"""Of each worker process, besides its threads: to claim, to write, to beat, to dispatch."""

SPARE = 5
"""For commands, health checks and whoever looks at the database by hand."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The most connections that the processes may hold at once. Threads use one only while they need the database."""

    web: int
    workers: int
    elsewhere: int = 0
    """Of the live workers of other machines."""

    @property
    def here(self) -> int:
        return self.web + self.workers + SPARE

    @property
    def total(self) -> int:
        return self.here + self.elsewhere


def of_workers(processes: int, threads: int) -> int:
    """The most connections of that many worker processes."""
    return processes * (threads + PER_WORKER)


def budget() -> Budget:
    """Of this machine by its settings, and of the others by what the ledger knows."""
    here = presence.this_host()
    others = [worker for worker in selectors.workers() if worker.state == "alive" and worker.host != here]
    return Budget(
        web=web_processes() * WEB_CONNECTIONS,
        workers=of_workers(settings.WORKER_PROCESSES, settings.WORKER_THREADS),
        elsewhere=sum(of_workers(1, worker.threads) for worker in others),
    )


def allowed() -> int:
    """How many connections the server lets our role open, to our database. Raises DatabaseError, InterfaceError."""
    row = sql.query(
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int "
        "- COALESCE(current_setting('reserved_connections', true), '0')::int AS server, "
        "(SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role, "
        "(SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database"
    )[0]
    limits = [row["server"], *(row[name] for name in ("role", "database") if row[name] is not None and row[name] >= 0)]
    return int(min(limits))


@register(SERVERS, Tags.database, deploy=True)
def check_connections(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Every check of this page; nothing on SQLite, or when the database does not answer: others say that."""
    if databases is None or connection.vendor != "postgresql":
        return []
    session = settings.ENVIRONMENT.session
    pooled = session.pooler == "transaction"
    try:
        found = [] if pooled else list(too_many(budget(), allowed()))  # a pooler has a budget of its own
        return [*found, *limits_not_in_force(session.limits)]
    except (DatabaseError, InterfaceError):
        return []


def too_many(needed: Budget, most: int) -> Iterator[CheckMessage]:
    """E101 and W101."""
    if needed.total <= most:
        return
    wanted = needed.total + SPARE
    hint = (
        f"In postgresql.conf: max_connections = {wanted} (and restart it), or raise the CONNECTION LIMIT of the role "
        "or database. Or put PgBouncer in between: DATABASE_POOLER=transaction. Or fewer threads: WORKER_THREADS."
    )
    if needed.here > most:
        text = (
            f"PostgreSQL allows this service {most} connections; {needed.web} of the web server, {needed.workers} of "
            f"the workers and {SPARE} for commands make {needed.here}."
        )
        yield Error(text, hint=hint, id="ingestion.E101")
    else:
        text = (
            f"PostgreSQL allows this service {most} connections; {needed.here} of this machine and {needed.elsewhere} "
            f"of workers elsewhere make {needed.total}."
        )
        yield Warning(text, hint=hint, id="ingestion.W101")


def limits_not_in_force(limits: Limits) -> Iterator[CheckMessage]:
    """W102, for each limit that the session lacks. Raises DatabaseError, InterfaceError."""
    role = str(connection.settings_dict["USER"] or "the_role")
    for name, seconds in limits.by_name().items():
        row = sql.query(f"SELECT setting::bigint AS ms FROM pg_settings WHERE name = '{name}'")[0]  # noqa: S608  # ours
        if seconds and not row["ms"]:
            yield Warning(
                f"{name} is not in force: a process that falls silent may hold locks, or wait, for ever.",
                hint=f"""As a superuser: ALTER ROLE "{role}" SET {name} = '{seconds}s'; then reconnect the pooler.""",
                id="ingestion.W102",
            )
