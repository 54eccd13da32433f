"""`manage.py queue pause | drain | resume | periodic`: what workers take, and what the dispatcher sends by itself."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta

from django.utils import timezone
from rich.table import Table

from queueadmin import display, operations
from queueadmin import periodic as periodic_jobs
from queueadmin.management import tables
from queueadmin.management.shell import Options, Shell, who, wrong_command_line
from queueadmin.operations import PeriodicResult, QueueResult
from queueadmin.search.fields import span
from queueadmin.search.language import SearchError

_WAIT = "10m"
_PERIODIC: dict[str, tuple[Callable[..., PeriodicResult], str, str]] = {
    "run": (operations.run_periodic, "is sent", "is under way already"),
    "pause": (operations.pause_periodic, "is paused", "was paused already"),
    "resume": (operations.resume_periodic, "is sent by itself again", "was not paused"),
}
"""What can be done to a periodic job -> the operation, and what to say of it."""


# -- queues --------------------------------------------------------------------------------------


def add_pause_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("queue", metavar="QUEUE")
    parser.add_argument(
        "--for", dest="length", type=_length, metavar="TIME", help="resume it by itself after this time, such as 30m"
    )


def add_drain_arguments(parser: ArgumentParser) -> None:
    add_pause_arguments(parser)
    parser.add_argument(
        "--wait", type=_length, default=_length(_WAIT), metavar="TIME",
        help=f"how long to wait for what runs (default {_WAIT}); 0s does not wait",
    )  # fmt: skip


def pause(shell: Shell, options: Options) -> bool:
    """Let no worker take jobs from a queue; with --for, until it is resumed by itself."""
    length: timedelta | None = options["length"]
    result = operations.pause(options["queue"], resume_at=_after(length), **who(options))
    until = "" if length is None else f" for {display.duration(length.total_seconds())}"
    return _report(shell, result, f"paused{until}" if result.changed else "paused already")


def drain(shell: Shell, options: Options) -> bool:
    """Pause a queue and wait until nothing of it runs; False when something still does."""
    queue, seconds = options["queue"], options["wait"].total_seconds()
    result = operations.drain(queue, resume_at=_after(options["length"]), **who(options))
    total = operations.running(queue)
    with shell.progress(f"Draining {queue}", total) as on_progress:
        left = operations.wait_until_drained(
            queue, seconds=seconds, on_progress=lambda running: on_progress(max(0, total - running))
        )
    if shell.as_json:
        shell.print_json({**asdict(result), "running": left})
    elif left:
        shell.console.print(tables.cell(f"{queue} is paused, and {left} of its jobs still run."))
    else:
        shell.console.print(tables.cell(f"{queue} is paused, and nothing of it runs."))
    return not left


def resume(shell: Shell, options: Options) -> bool:
    """Let workers take jobs from a queue again."""
    result = operations.resume(options["queue"], **who(options))
    return _report(shell, result, "running again" if result.changed else "running already")


def _report(shell: Shell, result: QueueResult, state: str) -> bool:
    if shell.as_json:
        shell.print_json(asdict(result))
    else:
        shell.console.print(tables.cell(f"{result.queue} is {state}."))
    return True


def _after(length: timedelta | None) -> datetime | None:
    return None if length is None else timezone.now() + length


def _length(text: str) -> timedelta:
    try:
        length = span(text)
    except SearchError as error:
        raise ArgumentTypeError(str(error)) from error
    if length > operations.LONGEST_PAUSE:
        raise ArgumentTypeError(f"at most {operations.LONGEST_PAUSE.days} days")
    return length


# -- periodic jobs -------------------------------------------------------------------------------


def add_periodic_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=list(_PERIODIC), help="default: show all")
    parser.add_argument("actor", nargs="?", metavar="ACTOR")


def periodic(shell: Shell, options: Options) -> bool:
    """Show the periodic jobs, or run, pause or resume one."""
    if options["action"] is None:
        return _show_periodic(shell)
    if options["actor"] is None:
        raise wrong_command_line("Name the periodic job: `manage.py queue periodic` lists them.")
    act, done, otherwise = _PERIODIC[options["action"]]
    result = act(options["actor"], **who(options))
    if shell.as_json:
        shell.print_json(asdict(result))
    else:
        shell.console.print(tables.cell(f"{result.actor} {done if result.changed else otherwise}."))
    return True


def _show_periodic(shell: Shell) -> bool:
    found = periodic_jobs.rows()
    if shell.as_json:
        shell.print_json([asdict(one) for one in found])
        return True
    table = Table(title="Periodic jobs", title_justify="left")
    for name in ("job", "queue", "every", "last ended", "next", "failed in a week", "status"):
        table.add_column(name)
    now = timezone.now()
    for one in found:
        table.add_row(
            tables.cell(one.actor), tables.cell(one.queue), display.duration(one.every),
            "-" if one.last is None else f"{display.duration((now - one.last).total_seconds())} ago",
            "-" if one.next_at is None else f"in {display.duration((one.next_at - now).total_seconds())}",
            str(one.failed), tables.cell(_status(one)),
        )  # fmt: skip
    shell.console.print(table if found else "No actor has a period. Declare one with `every_seconds`.")
    return True


def _status(one: periodic_jobs.Periodic) -> str:
    if one.is_live:
        return "under way"
    return f"paused by {one.paused_by}" if one.paused_at else "waits"
