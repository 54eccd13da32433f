"""Who is measured, and how each is filled, started and watched. Numbers are read where they disturb least."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property

import psycopg
import redis

from tests import servers as test_servers
from tests.bench.environment import Process, Servers, program, python, variables

PROCESSES = 2
"""Worker processes of every contender."""

_APPS = "tests.bench.apps"


class WrongOutcome(Exception):
    """A contender did not do what it was asked to, so its rate means nothing."""


class Contender(ABC):
    """One way to run the same no-op job."""

    name: str
    share: float = 1.0
    """The part of the jobs that this contender gets: slow ones need fewer for the same seconds."""
    every: float = 0.01
    """Seconds between two looks at its progress."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers

    @property
    def environment(self) -> Mapping[str, str]:
        return variables(REDIS_URL=self.servers.redis_url)

    @cached_property
    def client(self) -> redis.Redis:
        """For counting; a contender's own processes have their own."""
        return self.servers.redis()

    def prepare(self) -> None:  # noqa: B027  # most have nothing to prepare
        """Once per run: make the database."""

    def fill(self, jobs: int) -> None:
        """Start from nothing, with `jobs` jobs waiting."""
        with self.servers.redis() as client:
            client.flushall()
        self._fill(jobs)

    @abstractmethod
    def _fill(self, jobs: int) -> None: ...

    @abstractmethod
    def workers(self) -> Sequence[Process]:
        """The commands to start, together."""

    @abstractmethod
    def done(self, jobs: int) -> int:
        """How many of `jobs` are done."""

    def all_running(self, workers: Sequence[Process]) -> bool:
        """Whether every worker process takes part."""
        return True

    def all_booted(self, workers: Sequence[Process]) -> bool:
        """Whether every worker process of a Dramatiq contender waits for jobs."""
        return _booted(workers) == PROCESSES

    def check(self, jobs: int) -> None:  # noqa: B027  # Redis forgets what was done: nothing to check there
        """After the last job. Raises WrongOutcome."""

    def run(self, *command: str) -> str:
        """Run a command of this contender to its end; returns what it printed."""
        done = subprocess.run(
            command, env=dict(self.environment), cwd=test_servers.PROJECT_DIR, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}")
        return done.stdout


class OnPostgres(Contender):
    """A contender with a database of its own."""

    database: str

    @cached_property
    def connection(self) -> psycopg.Connection:
        return psycopg.connect(self.servers.database(self.database), autocommit=True)

    @property
    def environment(self) -> Mapping[str, str]:
        url = self.servers.database(self.database)
        return {**super().environment, "DATABASE_URL": url}

    def count(self, query: str) -> int:
        row = self.connection.execute(query).fetchone()  # type: ignore[call-overload]  # queries are literals of ours
        return int(row[0] or 0)


class Ledger(OnPostgres):
    """This service: its settings, schema, broker, middleware and worker command, one master per process."""

    name = "this service"
    threads = 8
    _tables = "queueadmin_job, queueadmin_jobevent, queueadmin_jobminute, queueadmin_jobprogress, queueadmin_lease"

    def __init__(self, servers: Servers, *, masters: int = PROCESSES, database: str = "bench_ledger") -> None:
        super().__init__(servers)
        self.masters = masters
        self.database = database

    @property
    def environment(self) -> Mapping[str, str]:
        ours = {
            "DJANGO_SETTINGS_MODULE": f"{_APPS}.ledger.settings",
            "DATA_DIR": str(self.servers.directory / "ledger"),
            "MAX_QUEUE_SIZE": "1000000",
        }
        return {**super().environment, **ours}

    def prepare(self) -> None:
        self.servers.create_database(self.database)
        self.run(*python("manage.py", "migrate", "--verbosity", "0"))

    def empty(self) -> None:
        self.connection.execute(f"TRUNCATE {self._tables}, queueadmin_workerprocess")  # type: ignore[call-overload]  # psycopg wants a literal; the names are ours

    def _fill(self, jobs: int) -> None:
        self.empty()
        self.run(*python("-m", f"{_APPS}.ledger.fill", "noop", str(jobs)))
        self.connection.execute("ANALYZE")

    def workers(self) -> Sequence[Process]:
        command = python("manage.py", "rundramatiq", "--processes", "1", "--threads", str(self.threads))
        return [Process(f"ledger-{number}", command, self.environment) for number in range(1, self.masters + 1)]

    def done(self, jobs: int) -> int:
        return self.count("SELECT sum(completed) FROM queueadmin_jobminute WHERE actor = 'noop'")

    def all_running(self, workers: Sequence[Process]) -> bool:
        return self.masters == self.count(
            "SELECT count(DISTINCT source_id) FROM queueadmin_jobminute WHERE actor = 'noop'"
        )

    def check(self, jobs: int) -> None:
        """The full audit: every job completed at its first attempt, with its three events."""
        completed = self.count(
            "SELECT count(*) FROM queueadmin_job "
            "WHERE actor = 'noop' AND state = 'completed' AND attempt = 1 AND finished_at IS NOT NULL"
        )
        rows = self.connection.execute(
            "SELECT edge, count(*) FROM queueadmin_jobevent e JOIN queueadmin_job j ON j.id = e.job_id "
            "WHERE j.actor = 'noop' GROUP BY edge"
        ).fetchall()
        events = {str(edge): int(number) for edge, number in rows}
        if completed != jobs or events != dict.fromkeys(("submit", "claim", "complete"), jobs):
            raise WrongOutcome(f"{completed} of {jobs} jobs completed at the first attempt; events: {events}")


class Raw(Contender):
    """Dramatiq on Redis, without any record of what happened."""

    def __init__(self, servers: Servers, *, threads: int) -> None:
        super().__init__(servers)
        self.threads = threads
        self.name = f"raw Dramatiq, {threads} threads"

    def _fill(self, jobs: int) -> None:
        self.run(*python("-m", f"{_APPS}.raw", "noop", str(jobs)))

    def workers(self) -> Sequence[Process]:
        command = program(
            "dramatiq", "--processes", str(PROCESSES), "--threads", str(self.threads), f"{_APPS}.raw"
        )  # fmt: skip
        return [Process("raw", command, self.environment)]

    def done(self, jobs: int) -> int:
        return jobs - int(self.client.hlen("dramatiq:bench.msgs"))

    def all_running(self, workers: Sequence[Process]) -> bool:
        return self.all_booted(workers)


class Audited(Raw):
    """Dramatiq on Redis with django_dramatiq's AdminMiddleware on PostgreSQL."""

    share = 0.15
    database = "bench_audited"

    def __init__(self, servers: Servers) -> None:
        super().__init__(servers, threads=8)
        self.name = "django_dramatiq AdminMiddleware"

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            **super().environment,
            "DJANGO_SETTINGS_MODULE": f"{_APPS}.audited.settings",
            "DATABASE_URL": self.servers.database(self.database),
        }

    def prepare(self) -> None:
        self.servers.create_database(self.database)
        self.run(*program("django-admin", "migrate", "--verbosity", "0"))

    def _fill(self, jobs: int) -> None:
        with psycopg.connect(self.servers.database(self.database), autocommit=True) as connection:
            connection.execute("TRUNCATE django_dramatiq_task")
            self.run(*python("-m", f"{_APPS}.audited.fill", str(jobs)))
            connection.execute("ANALYZE")

    def workers(self) -> Sequence[Process]:
        options = ["--processes", str(PROCESSES), "--threads", str(self.threads)]
        command = program("django-admin", "rundramatiq", *options)
        return [Process("audited", command, self.environment)]

    def check(self, jobs: int) -> None:
        with psycopg.connect(self.servers.database(self.database), autocommit=True) as connection:
            row = connection.execute("SELECT count(*) FROM django_dramatiq_task WHERE status = 'done'").fetchone()
        if row is None or row[0] < jobs - 2 * self.threads * PROCESSES:
            raise WrongOutcome(f"{row} of {jobs} tasks are recorded as done")


class CeleryPrefork(Contender):
    """Celery on Redis: prefork, two processes, no results."""

    name = "Celery, no results"
    share = 0.3

    def _fill(self, jobs: int) -> None:
        self.run(*python("-m", f"{_APPS}.celery_app", str(jobs)))

    def workers(self) -> Sequence[Process]:
        command = program("celery", "-A", f"{_APPS}.celery_app", "worker", "-c", str(PROCESSES), "-Q", "bench")
        return [Process("celery", command, self.environment)]

    def done(self, jobs: int) -> int:
        """Waiting and prefetched jobs are not done; Celery acknowledges when a process starts a job."""
        return jobs - int(self.client.llen("bench")) - int(self.client.hlen("unacked"))


class Procrastinate(OnPostgres):
    """Procrastinate on PostgreSQL, two processes of eight jobs at once."""

    name = "Procrastinate"
    share = 0.1
    every = 0.05
    database = "bench_procrastinate"

    def prepare(self) -> None:
        self.servers.create_database(self.database)
        self.run(*program("procrastinate", "--app", f"{_APPS}.procrastinate_app.app", "schema", "--apply"))

    def _fill(self, jobs: int) -> None:
        self.connection.execute("TRUNCATE procrastinate_jobs, procrastinate_events, procrastinate_workers CASCADE")
        self.run(*python("-m", f"{_APPS}.procrastinate_app", str(jobs)))
        self.connection.execute("ANALYZE")

    def workers(self) -> Sequence[Process]:
        command = program("procrastinate", "--app", f"{_APPS}.procrastinate_app.app", "worker", "--concurrency", "8")
        return [Process(f"procrastinate-{number}", command, self.environment) for number in range(1, PROCESSES + 1)]

    def done(self, jobs: int) -> int:
        waiting = self.count("SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')")
        return jobs - waiting

    def all_running(self, workers: Sequence[Process]) -> bool:
        return self.count("SELECT count(*) FROM procrastinate_workers") == PROCESSES

    def check(self, jobs: int) -> None:
        succeeded = self.count("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'")
        if succeeded != jobs:
            raise WrongOutcome(f"{succeeded} of {jobs} jobs succeeded")


def _booted(workers: Sequence[Process]) -> int:
    return sum(worker.output().count("Worker process is ready for action") for worker in workers)
