"""`python -m tests.seed`: a ledger with a past, to look at, to photograph and to measure.

Without `--database` it brings a PostgreSQL and a Valkey of its own, which end with the command; so does `--serve`
(the admin on loopback, with a staff user) and `--measure` (time and queries of every page and of the API's lists).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from tests import servers

PASSWORD = "seeded-password"
console = Console(stderr=True)


def main() -> int:
    options = _options()
    with ExitStack() as stack:
        _set_environment(options, stack)
        import django

        django.setup()
        _fill(options)
        if options.measure:
            from tests.seed import lists, pages

            lists.measure(rounds=options.rounds)
            return pages.measure(rounds=options.rounds)
        if options.serve:
            _serve(options.port)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.seed", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="jobs (default: 100,000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed tells the same stories")
    parser.add_argument("--database", help="URL of a new database, or of one seeded before; default: one of its own")
    parser.add_argument("--serve", action="store_true", help="then serve the admin on loopback until Ctrl-C")
    parser.add_argument("--port", type=int, default=8000, help="of --serve (default: 8000)")
    parser.add_argument(
        "--measure", action="store_true", help="then time the API's lists and every page, and count their queries"
    )
    parser.add_argument("--rounds", type=int, default=20, help="of --measure, per page (default: 20)")
    return parser.parse_args()


def _set_environment(options: argparse.Namespace, stack: ExitStack) -> None:
    """Before Django reads its settings."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ingestion-seed-")))
    (directory / "empty.env").touch()
    valkey = stack.enter_context(servers.ValkeyServer())
    database = options.database
    if database is None:
        database = stack.enter_context(servers.PostgresServer(options={"shared_buffers": "256MB"})).url()
    # The pages are timed as the web server asks for them: its statements are not prepared (docs/adr/0020). Filling a
    # ledger takes longer than a request may.
    os.environ.update(QUEUEADMIN_PROCESS="web", DATABASE_STATEMENT_SECONDS="0")
    os.environ.update(
        ENV_FILE=str(directory / "empty.env"), DATA_DIR=str(directory), DATABASE_URL=database, REDIS_URL=valkey.url,
        ALLOWED_HOSTS="127.0.0.1,localhost,testserver", DJANGO_SETTINGS_MODULE="ingestion_site.settings",
    )  # fmt: skip


def _fill(options: argparse.Namespace) -> None:
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.utils import timezone

    from queueadmin.models import Job
    from tests.seed import load, story

    call_command("migrate", verbosity=0)
    if Job.objects.exists():
        console.print("The database holds jobs already: nothing is added.")
        return
    now, started, queue = timezone.now(), time.monotonic(), settings.QUEUE_NAME
    told = story.stories(rows=options.rows, seed=options.seed, now=now - timedelta(seconds=2), ingest_queue=queue)
    with load.no_checks(), Progress(console=console) as progress:
        task = progress.add_task("jobs", total=options.rows)
        load.load(told, now=now, ingest_queue=queue, tick=lambda n: progress.advance(task, n))
    get_user_model().objects.create_superuser("root", "root@example.com", PASSWORD)
    console.print(f"{options.rows:,} jobs in {time.monotonic() - started:.0f} s.")


def _serve(port: int) -> None:
    from django.core.management import call_command

    console.print(f"http://127.0.0.1:{port}/admin/ as root with the password {PASSWORD}. Ctrl-C stops and forgets.")
    os.environ["DEBUG"] = "0"
    call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, insecure_serving=True)


if __name__ == "__main__":
    sys.exit(main())
