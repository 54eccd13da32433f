"""Django's settings of the database, from one URL."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ

from ingestion_site.variables import WrongSetting

CONNECTION = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""A server that vanishes without a word (power, a dropped route, a firewall that forgets) is noticed within about
25 seconds, instead of the two hours and more that TCP allows by default: until then a worker can neither beat nor
write, and a web thread hangs. All in seconds, but tcp_user_timeout in milliseconds. Names and meanings:
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

POOLERS = ("none", "transaction")
"""What stands between the service and PostgreSQL: nothing (or a pooler of sessions), or a pooler of transactions."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What PostgreSQL ends by itself, in seconds; 0 leaves it to the server's own settings.

    `statement`: one that runs for so long. `lock`: one that waits for a lock for so long. `idle_in_transaction`: a
    session that holds a transaction open and says nothing for so long, because its process was stopped or cut off in
    the middle: until it ends, so do not its row locks.
    """

    statement: int = 0
    lock: int = 0
    idle_in_transaction: int = 0

    def by_name(self) -> dict[str, int]:
        """Under PostgreSQL's names."""
        return {
            "statement_timeout": self.statement,
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle_in_transaction,
        }

    def as_option(self) -> str:
        """As libpq's `options` hands them to a new session; the server counts milliseconds."""
        return " ".join(f"-c {name}={seconds * 1000}" for name, seconds in self.by_name().items() if seconds)


_POOL = {
    "min_size": 1,
    "num_workers": 2,
    "timeout": 5.0,
    "reconnect_timeout": 2.0,
    "max_idle": 60.0,
    "max_lifetime": 3600.0,
}
"""How the threads of a web process share its connections: most of its many threads wait for a task to change, and each
would keep a connection of its own. In seconds; `timeout` is how long a request waits for a free one, and so how long it
takes to notice that the database is away. Worker processes have no pool: about three connections for their whole life.
See https://www.psycopg.org/psycopg3/docs/api/pool.html
"""

PREPARED = {"server_side_binding": True, "prepare_threshold": 3}
"""A session that has a statement prepared when it sends it for the fourth time."""

DJANGOS_OWN = frozenset({"assume_role"})
"""Options of a URL that are Django's, not libpq's."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """What the sessions of a process are like. `process` is what pg_stat_activity shows; `pooler` is one of POOLERS.

    With `connections`, the threads of the process share so many of them; otherwise each has its own.
    """

    limits: Limits
    pooler: str = "none"
    process: str = "command"
    connections: int = 0


def settings(url: str, *, default: Path, base: Path, session: Session) -> dict[str, Any]:
    """The settings for `url`: SQLite at `default` when it is empty. A relative file is one below `base`.

    Raises WrongSetting. The URL may hold a password: no message repeats it.
    """
    if not url:
        return _sqlite(default)
    if url.startswith("sqlite"):
        return _sqlite(base / _sqlite_path(url))
    return _postgresql(url, session)


def _sqlite_path(url: str) -> str:
    path = urlsplit(url).path[1:]
    if not path or ":memory:" in path:
        raise WrongSetting(
            "DATABASE_URL", "sqlite:///path/to/file: web server and workers cannot share a database in memory"
        )
    return path


def _sqlite(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "queueadmin.sqlite",
        "NAME": path,
        # A file even in tests: worker threads and processes share the database.
        "TEST": {"NAME": path.with_name("test.sqlite3")},
    }


def _postgresql(url: str, session: Session) -> dict[str, Any]:
    config: dict[str, Any] = environ.Env.db_url_config(url)
    if not config.get("NAME"):
        raise WrongSetting("DATABASE_URL", "a URL with the database's name: postgresql://user:password@host:5432/name")
    options = config.get("OPTIONS", {})
    _check({"conn_max_age": config.get("CONN_MAX_AGE", 0), **options})
    return {
        "CONN_MAX_AGE": 60,
        **config,
        "ENGINE": "django.db.backends.postgresql",
        "CONN_HEALTH_CHECKS": True,
        **({"CONN_MAX_AGE": 0} if session.connections else {}),
        "DISABLE_SERVER_SIDE_CURSORS": session.pooler == "transaction",
        "OPTIONS": {
            **CONNECTION,
            "application_name": f"ingestion {session.process}",
            **options,
            **_start_options(session, options.get("options", "")),
            **_prepared(session),
            **({"pool": {**_POOL, "max_size": session.connections}} if session.connections else {}),
        },
    }


def _start_options(session: Session, given: str) -> dict[str, Any]:
    """What a session starts with. What the URL says itself comes last, and wins.

    A pooler of transactions lends another session to each transaction: it takes no options at the start (PgBouncer
    refuses the connection), what is SET in a session would stay for the next client, a server-side cursor or a prepared
    statement would be gone. There the limits belong to the database's role: see docs/operations.md.
    """
    if session.pooler == "transaction":
        return {"options": given} if given else {}
    text = " ".join(filter(None, [session.limits.as_option(), given]))
    return {"options": text} if text else {}


def _prepared(session: Session) -> dict[str, Any]:
    """Prepared statements, for processes that send the same few statements all day: see docs/adr/0020.

    Not behind a pooler of transactions, where the next transaction meets another session, and not in the web server,
    whose lists are filtered in too many ways for one plan each.
    """
    return {} if session.pooler == "transaction" or session.connections else PREPARED


def _check(options: dict[str, Any]) -> None:
    """Refuse now what libpq would refuse at the first connection, hours later or in another process."""
    from psycopg.pq import Conninfo  # here, because a service on SQLite need not load it

    known = {option.keyword.decode() for option in Conninfo.get_defaults()} | DJANGOS_OWN | {"conn_max_age"}
    if unknown := sorted(options.keys() - known):
        raise WrongSetting("DATABASE_URL", f"a URL with options that PostgreSQL knows, unlike {', '.join(unknown)}")
    for name in (*CONNECTION, "conn_max_age"):
        value = options.get(name, 0)
        if not (isinstance(value, int) and 0 <= value < 2**31):
            raise WrongSetting("DATABASE_URL", f"a URL in which {name} is a whole number from 0 to {2**31 - 1}")
