"""A real PgBouncer in transaction mode, in front of a real PostgreSQL."""

import contextlib
import os
import pwd
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import psycopg

from tests.servers import Server, free_port

PACKAGE = BINARY = "pgbouncer"


class PgBouncer(Server):
    """Lends `pool_size` sessions of the server behind `url` to any number of clients, transaction by transaction.

    As strict as it comes: it takes no start-up options and no prepared statements, and throws nothing away between
    transactions, so that what one client leaves behind meets the next.
    """

    name = "pgbouncer"

    def __init__(self, url: str, *, pool_size: int = 3) -> None:
        super().__init__()
        self.port = free_port()
        self.behind = urlsplit(url)
        self.pool_size = pool_size
        self._write_configuration()

    def _write_configuration(self) -> None:
        """PgBouncer refuses to run as root, so root's tests run it as `nobody`."""
        users = self.directory / "users.txt"
        users.write_text(f'"{self.behind.username}" "{self.behind.password}"\n')
        self.ini = self.directory / "pgbouncer.ini"
        self.ini.write_text(
            "[databases]\n"
            f"* = host={self.behind.hostname} port={self.behind.port}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {users}\nadmin_users = {self.behind.username}\n"
            f"pool_mode = transaction\ndefault_pool_size = {self.pool_size}\nmax_client_conn = 200\n"
            "server_reset_query_always = 0\n"
        )
        self.owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if self.owner is not None:
            for path in (self.directory, users, self.ini):
                os.chown(path, self.owner.pw_uid, self.owner.pw_gid)

    def popen_options(self) -> dict[str, int]:
        return {} if self.owner is None else {"user": self.owner.pw_uid, "group": self.owner.pw_gid}

    def command(self) -> Sequence[str]:
        return [BINARY, str(self.ini)]

    def url(self, database: str) -> str:
        return f"postgresql://{self.behind.username}:{self.behind.password}@127.0.0.1:{self.port}/{database}"

    def answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), self._console():
            return True
        return False

    def _console(self) -> psycopg.Connection:
        return psycopg.connect(self.url("pgbouncer"), autocommit=True, connect_timeout=2)

    def reconnect(self) -> None:
        """Give back its sessions, so that the next transactions open new ones."""
        with self._console() as console:
            console.execute(b"RECONNECT")

    def pools(self) -> Iterator[dict[str, object]]:
        """Its pools, as SHOW POOLS says."""
        with self._console() as console, console.cursor() as cursor:
            cursor.execute(b"SHOW POOLS")
            names = [column.name for column in cursor.description or ()]
            yield from (dict(zip(names, row, strict=True)) for row in cursor.fetchall())
