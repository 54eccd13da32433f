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
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg
import redis

from ingestion_site.embedded.web import web_command
from tests import servers
from tests.bench.environment import DURABLE, Process, program, python, variables
from tests.faults import effects, site
from tests.faults.apps.plan import Plan
from tests.faults.fleet import Fleet, Master, WebServer
from tests.faults.proxy import Loop, Proxy
from tests.faults.site import Site
from tests.redis_servers import Replicated, variables_of

LEDGER, STOCK = "ledger", "stock"
MASTERS = 2
THREADS = 8
NAMESPACE = "ingestion"
MAX_CONNECTIONS = 60
_PREPARE = """import sys, django
from django.core.management import call_command
django.setup()
call_command("migrate", verbosity=0)
if sys.argv[1:]:
    call_command(*sys.argv[1:])"""
"""Both commands in one process: starting another takes as long as its work."""
_SETTINGS = "tests.faults.apps.{}.settings"


@dataclass(kw_only=True)
class Link:
    """How one client reaches the servers."""

    redis: Proxy
    postgres: Proxy

    def both(self) -> tuple[Proxy, Proxy]:
        return self.redis, self.postgres


@dataclass(kw_only=True)
class Links:
    """One for each worker, one for the web server, one for the client."""

    workers: list[Link]
    web: Link
    client: Link

    def all(self) -> list[Link]:
        return [*self.workers, self.web, self.client]


@dataclass(frozen=True, kw_only=True)
class Backends:
    """Database and broker of a world.

    `deployment` is Redis as a Cluster or behind Sentinels, reached without a proxy, instead of `valkey`.
    """

    postgres: servers.PostgresServer
    valkey: servers.ValkeyServer
    deployment: Replicated | None = None


@dataclass(kw_only=True)
class World:
    """One run's surroundings. `kind` is LEDGER or STOCK; without a `site` there are no documents, only jobs."""

    kind: str
    backends: Backends
    directory: Path
    links: Links
    database: str
    site: Site | None = None
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    fleet: Fleet = field(init=False)
    log: effects.EffectLog = field(init=False)
    clients: list[Process] = field(default_factory=list)
    poison: tuple[int, int] = (0, 0)
    """The numbers that poisonous jobs may have in this run."""

    api_key: str = ""
    notes: list[str] = field(default_factory=list)
    """Deviations that a fault itself noticed, such as a drain that took too long."""

    def __post_init__(self) -> None:
        self.log = effects.EffectLog(self.directory / "effects.log")
        self.fleet = Fleet([self._master(number) for number in range(MASTERS)], self._web() if self.site else None)

    @property
    def valkey(self) -> servers.ValkeyServer:
        return self.backends.valkey

    @property
    def postgres(self) -> servers.PostgresServer:
        return self.backends.postgres

    @property
    def is_ledger(self) -> bool:
        return self.kind == LEDGER

    @property
    def proxies(self) -> list[Proxy]:
        return [proxy for link in self.links.all() for proxy in link.both()]

    @property
    def redis_proxies(self) -> list[Proxy]:
        return [link.redis for link in self.links.all()]

    @property
    def postgres_proxies(self) -> list[Proxy]:
        return [link.postgres for link in self.links.all()]

    @property
    def worker_databases(self) -> list[Proxy]:
        """The workers' ways to the database."""
        return [link.postgres for link in self.links.workers]

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
            **{effects.VARIABLE: str(self.log.path)},
            **(self.site.settings() if self.site else {}),
            **more,
        )

    def _redis_variables(self, link: Link) -> dict[str, str]:
        if self.backends.deployment is not None:
            return variables_of(self.backends.deployment.options)
        return {"REDIS_URL": f"redis://:{self.valkey.password}@127.0.0.1:{link.redis.port}/0"}

    def _master(self, number: int) -> Master:
        options = ("--processes", "1", "--threads", str(THREADS))
        run = python("manage.py", "rundramatiq") if self.is_ledger else program("django-admin", "rundramatiq")
        return Master(f"worker-{number + 1}", [*run, *options], self.environment(self.links.workers[number]))

    def _web(self) -> WebServer:
        assert self.site is not None
        command = web_command("127.0.0.1", self.site.web_port)
        return WebServer("web", command, self.environment(self.links.web), url=self.site.web_url)

    # -- the servers, past the proxies -------------------------------------------------------

    @contextlib.contextmanager
    def sql(self) -> Iterator[psycopg.Connection]:
        """A connection of the harness's own, in autocommit mode."""
        with psycopg.connect(self.postgres.url(self.database), autocommit=True, connect_timeout=5) as connection:
            yield connection

    def redis(self) -> redis.Redis:
        deployment = self.backends.deployment
        return deployment.admin() if deployment is not None else self.valkey.client()

    def prepare(self) -> None:
        """An empty database with its tables, an empty Redis, an empty effect log, a key for the API."""
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{self.database}"')
        with self.redis() as client:
            client.flushall()
        (self.directory / "none.env").touch()
        key = ["api_key", "create", "faults", "--scopes", "submit,read", "--json"] if self.site else []
        answer = self.finish("prepare", python("-c", _PREPARE, *key))
        if key:
            self.api_key = json.loads(answer[answer.index("{") :])["key"]

    def finish(self, name: str, command: list[str], seconds: float = 120.0) -> str:
        """Run a command to its end; returns its output. Raises RuntimeError."""
        process = Process(name, command, self.environment(self.links.client))
        with process:
            assert process.process is not None
            code = process.process.wait(seconds)
            output = process.output()
        if code:
            raise RuntimeError(f"{name} failed with {code}:\n{output[-3000:]}")
        return output

    # -- the client --------------------------------------------------------------------------

    def submit(self, plan: Plan, more: Mapping[str, str] | None = None) -> Process:
        """Start a client that carries out `plan`; `more` is added to its environment."""
        command = [sys.executable, "-m", "tests.faults.apps.submit", json.dumps(asdict(plan))]
        api = self.site.api(self.api_key) if self.site else {}
        process = Process("client", command, self.environment(self.links.client, **api, **(more or {})))
        process.start()
        return process

    def accepted(self) -> dict[int, str]:
        """Job number -> id, for every job whose submission was confirmed."""
        return {effect.number: effect.about for effect in self.log.read() if effect.kind == effects.ACCEPTED}

    def heal(self) -> None:
        """Every wire plain, every worker running, every other server in a good mood."""
        for proxy in self.proxies:
            proxy.heal()
        for master in self.fleet.everybody:
            master.signal_all(signal.SIGCONT)
        if self.site is not None:
            self.site.front.moods = ()
            self.site.inbox.failing = 0.0


@contextlib.contextmanager
def servers_started() -> Iterator[Backends]:
    """A persistent Valkey and a durable PostgreSQL with few connections."""
    options = {**DURABLE, "max_connections": str(MAX_CONNECTIONS), "restart_after_crash": "on"}
    with servers.ValkeyServer(appendonly=True) as valkey, servers.PostgresServer(options=options) as postgres:
        yield Backends(valkey=valkey, postgres=postgres)


@contextlib.contextmanager
def world(kind: str, backends: Backends, *, documents: bool = False, seed: int = 0) -> Iterator[World]:
    """A prepared world with its workers running; with `documents` also what they need around the queue."""
    with contextlib.ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="ingestion-faults-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        loop = Loop()
        stack.callback(loop.close)
        workers = [_link(loop, backends) for _ in range(MASTERS)]
        made = World(
            kind=kind,
            backends=backends,
            directory=directory,
            links=Links(workers=workers, web=_link(loop, backends), client=_link(loop, backends)),
            database=f"faults_{kind}",
            site=stack.enter_context(site.started(loop, seed=seed)) if documents else None,
        )
        stack.callback(_close, made.proxies)
        made.prepare()
        stack.enter_context(made.fleet)
        made.fleet.wait_ready()
        yield made


def _link(loop: Loop, backends: Backends) -> Link:
    return Link(
        redis=Proxy(loop, backends.valkey.port, postgres=False).start(),
        postgres=Proxy(loop, backends.postgres.port, postgres=True).start(),
    )


def _close(proxies: list[Proxy]) -> None:
    for proxy in proxies:
        proxy.close()
    time.sleep(0.05)
