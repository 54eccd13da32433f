"""`manage.py up`: the whole service on this machine, from nothing, in one command."""

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import httpx
from django.conf import settings
from django.core.checks import run_checks
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from ingestion_site.embedded import data_dir, first_start, samples
from ingestion_site.embedded.report import results_table, tour
from ingestion_site.embedded.stack import CannotStart, Stack, host_header, port_for
from ingestion_site.embedded.supervisor import Supervisor
from queueadmin.broker import get_ledger_broker
from queueadmin.exceptions import QueueAdminError
from queueadmin.server_checks import SERVERS

SAMPLES_SECONDS = 300.0


class Stopped(BaseException):
    """SIGINT, SIGTERM or SIGHUP: stop everything and exit with 0. Not an Exception, so nobody swallows it."""


class Command(BaseCommand):
    """Starts broker, web server and workers, ingests the samples, serves until Ctrl-C."""

    help = "Start the whole service on this machine and ingest the sample documents."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=_port, default=8000, help="port (default: %(default)s; 0: any)")
        parser.add_argument(
            "--data-dir", metavar="DIR", help=f"where everything is kept (default: {settings.DATA_DIR})"
        )
        parser.add_argument(
            "--processes", type=_positive, default=settings.WORKER_PROCESSES,
            help="worker processes (default: WORKER_PROCESSES, %(default)s)",
        )  # fmt: skip
        parser.add_argument(
            "--threads", type=_positive, default=settings.WORKER_THREADS,
            help="threads of each worker process (default: WORKER_THREADS, %(default)s)",
        )  # fmt: skip
        parser.add_argument("--no-samples", action="store_true", help="do not ingest the sample documents")
        parser.add_argument(
            "--exit-after-samples", action="store_true",
            help="stop when the samples are done; exit code 0 only if every sample completed",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        if options["data_dir"]:  # from call_command: manage.py has already taken it from the command line
            raise CommandError("--data-dir works on the command line only; set DATA_DIR before Django starts.")
        if options["no_samples"] and options["exit_after_samples"]:
            raise CommandError("--no-samples and --exit-after-samples exclude each other.")
        if settings.S3_BUCKET and not options["no_samples"]:
            raise CommandError("S3_BUCKET is set, and the samples are not written into your bucket: use --no-samples.")
        self.console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
        try:
            with stop_signals_raise(), data_dir.claimed(settings.DATA_DIR) as lock:
                stack = Stack(
                    data_dir=settings.DATA_DIR,
                    host=options["host"],
                    port=port_for(options["host"], options["port"]),
                    processes=options["processes"],
                    threads=options["threads"],
                )
                self.run(stack, lock, options)
        except Stopped:
            self.console.print("Stopped.")
        except (CannotStart, data_dir.DataDirInUse, samples.SamplesFailed) as error:
            raise CommandError(str(error)) from error

    def run(self, stack: Stack, lock: int, options: dict[str, Any]) -> None:
        """Everything between the checks and the end, in the order in which it happens."""
        with Supervisor(announce=self.announce, keep_open=(lock,)) as supervisor, self.farewell(supervisor):
            redis_url = self.start_broker(stack, supervisor)
            self.prepare_database()
            self.tell_what_to_change()
            password = first_start.first_staff_password()
            self.console.print("Starting the web server and the workers ...")
            stack.start_web(supervisor, redis_url)
            stack.start_workers(supervisor, redis_url)
            with demo_key() as key:
                documents = self.sample_documents(stack)
                results = [] if options["no_samples"] else self.ingest_samples(stack, key, documents)
                if results:
                    self.console.print(results_table(results))
                # Also when it stops at once: the password of the first staff user is shown only here.
                self.console.print(tour(stack, key, password, samples.example(documents)), soft_wrap=True)
                if options["exit_after_samples"]:
                    self.judge(results)
                else:
                    self.serve()

    def start_broker(self, stack: Stack, supervisor: Supervisor) -> str:
        """The broker's URL: REDIS_URL, or that of an embedded Valkey started now."""
        if not settings.ENVIRONMENT.redis_is_embedded:
            try:
                get_ledger_broker().ready_sets.require_supported()
            except QueueAdminError as error:
                place = settings.ENVIRONMENT.redis.place
                raise CannotStart(f"The broker, {place}, cannot be used. {error} Check REDIS_URL.") from error
            return str(settings.ENVIRONMENT.redis.url)
        self.console.print(f"Starting the embedded Valkey in {stack.data_dir} ...")
        return stack.start_broker(supervisor)

    def prepare_database(self) -> None:
        self.console.print("Preparing the database ...")
        try:
            complete = first_start.migrate()
        except DatabaseError as error:
            raise CannotStart(f"The database cannot be used: {str(error).strip()}") from error
        if not complete:
            raise CannotStart(
                "The database that DATABASE_URL names has migrations to run. Do that with: manage.py migrate"
            )

    def tell_what_to_change(self) -> None:
        """What servers of one's own lack. The embedded ones are as they should be."""
        if settings.ENVIRONMENT.redis_is_embedded:
            return
        for found in run_checks(tags=[SERVERS], databases=[DEFAULT_DB_ALIAS], include_deployment_checks=True):
            self.announce(f"{found.msg} {found.hint or ''}".strip())

    def sample_documents(self, stack: Stack) -> list[samples.Sample]:
        """The bundled documents, put into the directory store; none for a bucket, which is its owner's to fill."""
        if settings.S3_BUCKET:
            return []
        return samples.copy_into_store(settings.BASE_DIR / "samples", stack.data_dir / "documents")

    def ingest_samples(self, stack: Stack, key: str, documents: list[samples.Sample]) -> list[samples.Result]:
        """Send the bundled documents through the HTTP API, showing a progress bar."""
        bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            console=self.console,
        )  # fmt: skip
        headers = {"Authorization": f"Bearer {key}", **host_header()}
        results = []
        with httpx.Client(base_url=stack.address, headers=headers, timeout=30) as client, bar:
            line = bar.add_task("Ingesting the samples", total=len(documents))
            for result in samples.ingest(client, documents, timeout_seconds=SAMPLES_SECONDS):
                results.append(result)
                bar.update(line, advance=1, description=f"Ingested {result.file_name}")
        return sorted(results, key=lambda result: result.file_name)

    def judge(self, results: list[samples.Result]) -> None:
        failed = [result for result in results if not result.completed]
        if failed:
            raise CommandError(f"{len(failed)} of {len(results)} samples did not complete.")
        self.console.print(f"All {len(results)} samples completed.")

    def serve(self) -> None:
        """Sleep until a signal; the supervisor does the work."""
        connections.close_all()
        self.console.print("Serving. Ctrl-C stops everything.")
        while True:
            signal.pause()

    def announce(self, sentence: str) -> None:
        self.console.print(sentence, style="yellow", markup=False)

    @contextlib.contextmanager
    def farewell(self, supervisor: Supervisor) -> Iterator[None]:
        """Say that the end takes a moment; from then on, a second Ctrl-C kills instead of waiting."""
        try:
            yield
        finally:
            for number in STOP_SIGNALS:
                signal.signal(number, lambda *_: supervisor.kill_soon())
            self.console.print("Stopping; running documents are given back. Ctrl-C again stops at once.")


STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stop_signals_raise() -> Iterator[None]:
    """Turn the signals that mean "stop" into Stopped, in the main thread."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def demo_key() -> Iterator[str]:
    """An API key that lives as long as this run."""
    key = first_start.demo_key()
    try:
        yield key.key
    finally:
        first_start.revoke(key)


def _port(text: str) -> int:
    return _number(text, 0, 65_535)


def _positive(text: str) -> int:
    return _number(text, 1, 256)


def _number(text: str, minimum: int, maximum: int) -> int:
    if not text.isdecimal() or not minimum <= int(text) <= maximum:
        raise argparse.ArgumentTypeError(f"must be a whole number from {minimum} to {maximum}, not {text!r}")
    return int(text)
