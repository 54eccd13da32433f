"""`manage.py rundramatiq`: django_dramatiq's command with this ledger's defaults and checks.

Dramatiq knows one queue only; `--queues` names ours and reaches the workers through the environment.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser, OutputWrapper
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connection
from django_dramatiq.management.commands import rundramatiq

from queueadmin.broker import LedgerRedisBroker, get_ledger_broker
from queueadmin.conf import queue_settings
from queueadmin.exceptions import BrokerTooOld, BrokerUnavailable, ConfigurationError
from queueadmin.management import master
from queueadmin.server_checks import SERVERS, missing_migrations, what_it_said
from queueadmin.worker import JOINING

QUEUES_VARIABLE = "QUEUEADMIN_QUEUES"
"""Names of queues, by commas: how `--queues` reaches the settings of the worker processes."""

NAME_VARIABLE = "QUEUEADMIN_WORKER_NAME"
"""How `--worker-id` reaches them."""

COLOUR_VARIABLE = "FORCE_COLOR"
"""Tells them that somebody watches at a terminal: their own output goes through a pipe. See https://force-color.org"""

SHUTDOWN_VARIABLE = "QUEUEADMIN_SHUTDOWN_SECONDS"
"""How `--worker-shutdown-timeout` reaches them: the ledger gives running jobs back before that time is over."""

HOST_PROCESSES_VARIABLE = "QUEUEADMIN_HOST_PROCESSES"
"""Tells them how many worker processes share this machine, unless whoever starts several masters has said so."""

PROCESS_VARIABLE = "QUEUEADMIN_PROCESS"
"""Tells the settings that they are those of a worker."""

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9._/-]{1,100}")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_WAIT_SECONDS = 60
_POLL_SECONDS = 1.0


class Command(rundramatiq.Command):
    help = "Run workers: processes and threads that take jobs from the ledger."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)  # type: ignore[no-untyped-call]  # as is all of django_dramatiq
        parser.add_argument(
            "--worker-id",
            metavar="NAME",
            help="name of this worker in logs, in the list of workers and in the history of jobs; with several "
            "processes, each appends its process id (default: host and process id)",
        )
        parser.add_argument("--redis-url", metavar="URL", help="the broker, as REDIS_URL (better there: see above)")
        parser.add_argument(
            "--wait",
            type=int,
            default=_WAIT_SECONDS,
            metavar="SECONDS",
            help="how long to wait for the database and Redis at the start",
        )
        parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
        parser.set_defaults(
            processes=getattr(settings, "WORKER_PROCESSES", rundramatiq.NPROCS),
            threads=getattr(settings, "WORKER_THREADS", rundramatiq.NTHREADS),
            worker_shutdown_timeout=int(queue_settings().shutdown_seconds * 1000),
            path=[str(getattr(settings, "BASE_DIR", "."))],
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Check what a worker needs, then become Dramatiq's master process. Never returns."""
        for number in _SIGNALS:
            signal.signal(number, _leave)
        if options["use_gevent"]:
            raise CommandError("Workers need threads: run rundramatiq without --use-gevent.")
        self.check_options(options)
        try:
            broker = get_ledger_broker()
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        self.discover_tasks_modules()
        if options["queues"]:
            os.environ[QUEUES_VARIABLE] = ",".join(known_queues(broker, options["queues"]))
        os.environ[PROCESS_VARIABLE] = "worker"
        os.environ.setdefault(HOST_PROCESSES_VARIABLE, str(options["processes"]))
        if options["worker_id"]:
            os.environ[NAME_VARIABLE] = options["worker_id"] + (":{pid}" if options["processes"] > 1 else "")
        if sys.stderr.isatty() and not options["log_file"]:
            os.environ.setdefault(COLOUR_VARIABLE, "1")
        os.environ[SHUTDOWN_VARIABLE] = str(options["worker_shutdown_timeout"] / 1000)
        options["worker_shutdown_timeout"] = int(JOINING * options["worker_shutdown_timeout"])
        self.wait_for_servers(broker, seconds=options["wait"])
        if not options["skip_checks"]:
            self.check(tags=[SERVERS], databases=[DEFAULT_DB_ALIAS], include_deployment_checks=True)
        self.close(broker)
        # A signal between here and Dramatiq's own handlers would kill the process with a bad exit code. The mask
        # outlives exec, and Dramatiq lifts it once it listens.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        arguments = master_arguments(options, self.discover_tasks_modules())
        logger.debug("starting Dramatiq", extra={"arguments": arguments})
        # Whatever the current directory is, the interpreter finds this project as manage.py does.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*options["path"], os.environ.get("PYTHONPATH")]))
        # Not django_dramatiq's own handle(), which executes `dramatiq`: that one keeps to itself how a worker died.
        os.execv(sys.executable, [sys.executable, "-m", master.__name__, *arguments])  # noqa: S606  (no shell is meant)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raises CommandError for what cannot work."""
        for name in ("processes", "threads", "worker_shutdown_timeout"):
            if options[name] < 1:
                raise CommandError(f"--{name.replace('_', '-')} must be at least 1.")
        if options["worker_id"] is not None and not _NAME.fullmatch(options["worker_id"]):
            raise CommandError("--worker-id must be 1 to 100 letters, digits, dots, hyphens, underscores or slashes.")
        if options["redis_url"]:  # manage.py has taken it from the command line before the settings were read
            raise CommandError("--redis-url works on the command line only; set REDIS_URL before Django starts.")

    def discover_tasks_modules(self) -> list[str]:
        """Import the task modules, which declares their actors. Silently: who reads JSON wants nothing else there."""
        shown, self.stdout = self.stdout, OutputWrapper(io.StringIO())
        try:
            return list(super().discover_tasks_modules())  # type: ignore[no-untyped-call]  # as above
        finally:
            self.stdout = shown

    def wait_for_servers(self, broker: LedgerRedisBroker, *, seconds: int) -> None:
        """Return when the database and Redis answer. Raises CommandError when they cannot be used."""
        deadline = time.monotonic() + seconds
        told = ""
        while (problem := _problem(broker)) and time.monotonic() < deadline:
            if problem != told:
                self.stderr.write(f"Waiting up to {seconds} s: {problem}")
                told = problem
            time.sleep(_POLL_SECONDS)
        if problem:
            raise CommandError(problem)

    def close(self, broker: LedgerRedisBroker) -> None:
        """Leave no connection behind for the processes to come."""
        connection.close()
        broker.close()


def master_arguments(options: Mapping[str, Any], modules: Sequence[str]) -> list[str]:
    """Dramatiq's own options, from django_dramatiq's. Not --queues: it is ours, and went into the environment."""
    arguments = ["--path", *options["path"]]
    for name in ("processes", "threads", "worker_shutdown_timeout"):
        arguments += [f"--{name.replace('_', '-')}", str(options[name])]
    if options["watch_dir"]:
        arguments += ["--watch", options["watch_dir"], *["--watch-use-polling"] * options["use_polling_watcher"]]
    for name in ("pid_file", "log_file"):
        if options[name]:
            arguments += [f"--{name.replace('_', '-')}", options[name]]
    for function in options["forks"]:
        arguments += ["--fork-function", function]
    for name in ("skip_logging", "use_spawn"):
        arguments += [f"--{name.replace('_', '-')}"] * options[name]
    return [*arguments, *["-v"] * (options["verbosity"] - 1), *modules]


def known_queues(broker: LedgerRedisBroker, wanted: Iterable[str]) -> list[str]:
    """`wanted`, also when written with commas. Raises CommandError for a queue that no actor uses."""
    names = list(dict.fromkeys(name for part in wanted for name in part.split(",") if name))
    known = sorted({actor.queue_name for actor in broker.actors.values()})
    if unknown := [name for name in names if name not in known]:
        raise CommandError(f"No actor uses the queue {', '.join(unknown)}. Known queues: {', '.join(known)}.")
    return names


def _problem(broker: LedgerRedisBroker) -> str:
    """Why a worker cannot start yet, or "". Raises CommandError when waiting cannot help."""
    try:
        broker.ready_sets.require_supported()
    except BrokerTooOld as error:
        raise CommandError(str(error)) from error
    except BrokerUnavailable as error:
        return f"{error} Check REDIS_URL."
    try:
        if missing := missing_migrations():
            return f"The database lacks {missing} migrations. Run: manage.py migrate"
    except (DatabaseError, InterfaceError) as error:
        connection.close()
        return f"The database did not answer: {what_it_said(error)}. Check DATABASE_URL."
    return ""


def _leave(signum: int, frame: object) -> None:
    sys.exit(0)
