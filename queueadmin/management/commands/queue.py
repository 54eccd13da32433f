"""`manage.py queue`: look at the queues and operate them from a shell."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError

from queueadmin.exceptions import QueueAdminError
from queueadmin.management import acting, controls, limits, looking
from queueadmin.management.quiet import without_info_lines
from queueadmin.management.shell import Options, Shell, wrong_command_line
from queueadmin.search.language import SearchError
from queueadmin.states import State

_EPILOG = (
    "Exit codes: 0 what was asked for is so now, also when nothing had to be changed (paused already, nothing pending, "
    "a selection that finds no jobs); 1 something was refused, unknown, not confirmed or failed; 2 the command line "
    "was wrong; 130 stopped by Ctrl-C (what was done until then stays done). With --json, one JSON document is printed "
    "to standard output; questions, progress and complaints go to standard error."
)

_RUN: dict[str, Callable[[Shell, Options], bool]] = {
    "stats": looking.stats, "list": looking.jobs, "status": looking.status, "dead-letters": looking.dead_letters,
    "workers": looking.workers, "retry": acting.retry, "cancel": acting.cancel, "discard": acting.discard,
    "pause": controls.pause, "drain": controls.drain, "resume": controls.resume, "periodic": controls.periodic,
    "purge": acting.purge, "flush": acting.flush,
    "drain-worker": acting.drain_worker, "repair": acting.repair, "cleanup": acting.cleanup, "limit": limits.limit,
}  # fmt: skip

_INTERRUPTED = 130


class Command(BaseCommand):
    """One subcommand, one function. Operations are recorded under the name of the shell's user."""

    help = "Look at the job queues and operate them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = _EPILOG
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

        def add(name: str, text: str, *, acts: bool = False) -> CommandParser:
            made: CommandParser = commands.add_parser(name, help=text, description=text, epilog=_EPILOG)
            made.add_argument("--json", action="store_true", help="print JSON instead of tables")
            if acts:
                made.add_argument("--reason", default="", help="why, for the operations log")
            return made

        _add_looking(add)
        _add_acting(add)

    @without_info_lines("queueadmin", "documents")
    def handle(self, *args: Any, **options: Any) -> None:
        shell = Shell(out=self.stdout, err=self.stderr, as_json=options["json"])
        try:
            done = _RUN[options["command"]](shell, options)
        except SearchError as error:
            raise wrong_command_line(str(error)) from error
        except QueueAdminError as error:
            raise CommandError(str(error)) from error
        except (OperationalError, InterfaceError) as error:
            raise CommandError(f"The database does not answer: {str(error).splitlines()[0]}") from error
        except KeyboardInterrupt:
            raise SystemExit(_INTERRUPTED) from None
        if not done:
            raise SystemExit(1)


def _add_looking(add: Callable[..., CommandParser]) -> None:
    stats = add("stats", "Show every queue with its depth, and the totals.")
    stats.add_argument(
        "--watch", nargs="?", type=_seconds, const=2.0, metavar="SECONDS",
        help="refresh until Ctrl-C (every 2 s); with --json, one document per line",
    )  # fmt: skip
    _add_selection(add("list", "List jobs, the newest first."), limit=50)
    add("status", "Show a job with its timeline.").add_argument("id", metavar="ID")
    _add_selection(add("dead-letters", "Show what waits for a decision, by error, the newest first."), limit=50)
    add("workers", "List the workers with their last beat.").add_argument(
        "--all", action="store_true", help="also those that have stopped"
    )


def _add_acting(add: Callable[..., CommandParser]) -> None:
    retry = add("retry", "Queue failed, dead-lettered and cancelled jobs again: named ones, or a selection.", acts=True)
    retry.add_argument("ids", nargs="*", metavar="ID")
    retry.add_argument("--now", action="store_true", help="also run scheduled and retrying jobs now")
    for name in ("dead-letter", "failed", "cancelled"):
        retry.add_argument(
            f"--{name}", action="store_true", dest=f"is_{name.replace('-', '_')}", help=f"every {name} job that fits"
        )
    _add_selection(retry)
    for name, text in (
        ("cancel", "Stop waiting and running jobs: named ones, or a selection."),
        ("discard", "Give dead letters up: named ones, or a selection."),
    ):
        made = add(name, text, acts=True)
        made.add_argument("ids", nargs="*", metavar="ID")
        _add_yes(made)
        _add_selection(made)
    controls.add_pause_arguments(add("pause", "Let no worker take jobs from a queue.", acts=True))
    controls.add_drain_arguments(add("drain", "Pause a queue and wait until nothing of it runs.", acts=True))
    add("resume", "Let workers take jobs from a queue again.", acts=True).add_argument("queue", metavar="QUEUE")
    controls.add_periodic_arguments(add("periodic", "Show the periodic jobs; run, pause or resume one.", acts=True))
    limits.add_arguments(add("limit", limits.HELP, acts=True))
    purge = add("purge", "Cancel every pending job of a queue.", acts=True)
    purge.add_argument("queue", metavar="QUEUE")
    _add_yes(purge)
    flush = add("flush", "Cancel every pending job of all queues, or of one.", acts=True)
    flush.add_argument("queue", nargs="?", metavar="QUEUE")
    _add_yes(flush)
    text = "Ask workers to finish what they have, and to exit; their supervisors start new ones."
    worker = add("drain-worker", text, acts=True)
    worker.add_argument("workers", nargs="+", metavar="WORKER", help="its name, or its number in `workers --json`")
    repair = add("repair", "Publish what the broker lacks, now.", acts=True)
    repair.add_argument("--dry-run", action="store_true", help="only show the differences")
    cleanup = add("cleanup", "Remove what has outlived its retention, as runs by itself once an hour.")
    cleanup.add_argument("--hours", type=_hours, metavar="N", help="age of completed and cancelled jobs")
    cleanup.add_argument("--dry-run", action="store_true", help="only show what would be removed")
    cleanup.add_argument("--include-dead-letters", action="store_true", help="dead letters of that age, too; asks")
    _add_yes(cleanup)


def _add_yes(parser: CommandParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _add_selection(parser: CommandParser, *, limit: int | None = None) -> None:
    """Which jobs: the filter language of the admin, and options for its commonest terms. `limit`: of a list."""
    text = 'such as state:failed "error~timed out" age>2h; see docs/admin.md'
    if limit is not None:
        parser.add_argument("search", nargs="*", metavar="SEARCH", help=text)
    else:
        parser.add_argument("--search", action="append", default=[], metavar="SEARCH", help=text)
    parser.add_argument("--state", choices=State.values)
    parser.add_argument("--queue")
    parser.add_argument("--actor")
    parser.add_argument("--tenant", help="whose they are")
    parser.add_argument("--document", metavar="ID", help="the document's id, as the client named it")
    parser.add_argument("--user", metavar="ID", help="the user's id, as the client named it")
    parser.add_argument("--batch", metavar="ID", help="the batch that it was submitted with")
    parser.add_argument("--error-code", dest="error", metavar="CODE")
    parser.add_argument("--since", metavar="TIME", help="created since: 2h, 3d, 2026-01-31 or 2026-01-31T14:30")
    parser.add_argument("--until", metavar="TIME", help="created before")
    most = acting.MOST if limit is None else limit
    parser.add_argument("--limit", type=_limit, default=limit, metavar="N", help=f"at most this many (default {most})")


def _limit(text: str) -> int:
    return int(_within(text, 1, 100_000))


def _seconds(text: str) -> float:
    return _within(text, 0.2, 3600)


def _hours(text: str) -> float:
    return _within(text, 0, 1_000_000)


def _within(text: str, minimum: float, maximum: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = minimum - 1
    if not minimum <= number <= maximum:
        raise argparse.ArgumentTypeError(f"must be a number from {minimum:g} to {maximum:g}, not {text!r}")
    return number
