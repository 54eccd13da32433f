"""The world that faults strike: servers, a proxy for each client and server, workers, and a client that submits."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import redis

from tests import servers
from tests.bench.environment import DURABLE, Process, program, python, variables
from tests.faults import effects
from tests.faults.fleet import Fleet, Master
from tests.faults.proxy import Loop, Proxy
from tests.redis_servers import Replicated, variables_of

LEDGER, STOCK = "ledger", "stock"
MASTERS = 2
THREADS = 8
NAMESPACE = "ingestion"
MAX_CONNECTIONS = 60
_SETTINGS = "tests.faults.apps.{}.settings"


@dataclass(kw_only=True)
class Link:
    """How one client reaches the servers."""

    redis: Proxy
    postgres: Proxy

    def both(self) -> tuple[Proxy, Proxy]:
        return self.redis, self.postgres


@dataclass(kw_only=True)
class World:
    """One run's surroundings. `kind` is LEDGER or STOCK; `links` has one for each worker, the last is the client's."""

    kind: str
    valkey: servers.ValkeyServer
    postgres: servers.PostgresServer
    directory: Path
    links: list[Link]
    database: str
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    fleet: Fleet = field(init=False)
    client: Process | None = None
    deployment: Replicated | None = None
    """Redis as a Cluster or behind Sentinels, reached without a proxy, instead of `valkey`."""

    poison: tuple[int, int] = (0, 0)
    """The numbers that poisonous jobs may have in this run."""

    notes: list[str] = field(default_factory=list)
    """Deviations that a fault itself noticed, such as a drain that took too long."""

    def __post_init__(self) -> None:
        self.fleet = Fleet([self._master(number) for number in range(MASTERS)])

    @property
    def effect_log(self) -> Path:
        return self.directory / "effects.log"

    @property
    def is_ledger(self) -> bool:
        return self.kind == LEDGER

    @property
    def proxies(self) -> list[Proxy]:
        return [proxy for link in self.links for proxy in link.both()]

    @property
    def redis_proxies(self) -> list[Proxy]:
        return [link.redis for link in self.links]

    @property
    def postgres_proxies(self) -> list[Proxy]:
        return [link.postgres for link in self.links]

    def environment(self, link: Link, **more: str) -> dict[str, str]:
        """Of a process that reaches the servers through `link`."""
        user = f"{servers.PostgresServer.user}:{servers.PostgresServer.password}"
        return variables(
            DJANGO_SETTINGS_MODULE=_SETTINGS.format(self.kind),
            DATABASE_URL=f"postgresql://{user}@127.0.0.1:{link.postgres.port}/{self.database}",
            **self._redis_variables(link),
            DATA_DIR=str(self.directory / "data"),
            ENV_FILE=str(self.directory / "none.env"),
            MAX_QUEUE_SIZE="1000000",
            **{effects.VARIABLE: str(self.effect_log)},
            **more,
        )

    def _redis_variables(self, link: Link) -> dict[str, str]:
        if self.deployment is not None:
            return variables_of(self.deployment.options)
        return {"REDIS_URL": f"redis://:{self.valkey.password}@127.0.0.1:{link.redis.port}/0"}

    def _master(self, number: int) -> Master:
        options = ("--processes", "1", "--threads", str(THREADS))
        run = python("manage.py", "rundramatiq") if self.is_ledger else program("django-admin", "rundramatiq")
        return Master(f"worker-{number + 1}", [*run, *options], self.environment(self.links[number]))

    # -- the servers, past the proxies -------------------------------------------------------

    @contextlib.contextmanager
    def sql(self) -> Iterator[psycopg.Connection]:
        """A connection of the harness's own, in autocommit mode."""
        with psycopg.connect(self.postgres.url(self.database), autocommit=True, connect_timeout=5) as connection:
            yield connection

    def redis(self) -> redis.Redis:
        return self.deployment.admin() if self.deployment is not None else self.valkey.client()

    def prepare(self) -> None:
        """An empty database with its tables, an empty Redis, an empty effect log."""
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{self.database}"')
        with self.redis() as client:
            client.flushall()
        (self.directory / "none.env").touch()
        self.finish("migrate", [*python("-m", "django", "migrate", "--verbosity", "0")])

    def finish(self, name: str, command: list[str], seconds: float = 120.0) -> str:
        """Run a command to its end; returns its output. Raises RuntimeError."""
        process = Process(name, command, self.environment(self.links[-1]))
        with process:
            assert process.process is not None
            code = process.process.wait(seconds)
            output = process.output()
        if code:
            raise RuntimeError(f"{name} failed with {code}:\n{output[-3000:]}")
        return output

    # -- the client --------------------------------------------------------------------------

    def submit(self, *, seed: int, first: int, last: int, seconds: float, actor: str = "work") -> Process:
        """Start a client that submits jobs `first` to `last` - 1 over `seconds`."""
        plan = {"run": self.run, "seed": seed, "first": first, "last": last, "seconds": seconds, "actor": actor}
        command = [sys.executable, "-m", "tests.faults.apps.submit", json.dumps(plan)]
        process = Process("client", command, self.environment(self.links[-1]))
        process.start()
        return process

    def accepted(self) -> dict[int, str]:
        """Job number -> id, for every job whose submission was confirmed."""
        return {
            effect.number: effect.about for effect in effects.read(self.effect_log) if effect.kind == effects.ACCEPTED
        }

    def heal(self) -> None:
        """Every wire plain, every worker running."""
        for proxy in self.proxies:
            proxy.heal()
        for master in self.fleet.masters:
            master.signal_all(signal.SIGCONT)


@contextlib.contextmanager
def servers_started() -> Iterator[tuple[servers.ValkeyServer, servers.PostgresServer]]:
    """A persistent Valkey and a durable PostgreSQL with few connections."""
    options = {**DURABLE, "max_connections": str(MAX_CONNECTIONS), "restart_after_crash": "on"}
    with servers.ValkeyServer(appendonly=True) as valkey, servers.PostgresServer(options=options) as postgres:
        yield valkey, postgres


@contextlib.contextmanager
def world(
    kind: str,
    valkey: servers.ValkeyServer,
    postgres: servers.PostgresServer,
    deployment: Replicated | None = None,
) -> Iterator[World]:
    """A prepared world with its workers running."""
    loop = Loop()
    directory = Path(tempfile.mkdtemp(prefix="ingestion-faults-"))
    links = [
        Link(
            redis=Proxy(loop, valkey.port, postgres=False).start(),
            postgres=Proxy(loop, postgres.port, postgres=True).start(),
        )
        for _ in range(MASTERS + 1)
    ]
    made = World(
        kind=kind, valkey=valkey, postgres=postgres, directory=directory, links=links, database=f"faults_{kind}",
        deployment=deployment,
    )  # fmt: skip
    try:
        made.prepare()
        with made.fleet:
            made.fleet.wait_ready()
            try:
                yield made
            finally:
                made.heal()
    finally:
        for proxy in made.proxies:
            proxy.close()
        time.sleep(0.05)
        loop.close()
        shutil.rmtree(directory, ignore_errors=True)
