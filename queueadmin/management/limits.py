"""`manage.py queue limit`: show and set how many jobs may run at once."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table

from queueadmin import operations, selectors
from queueadmin.management.shell import Options, Shell, who
from queueadmin.management.tables import cell
from queueadmin.operations import LimitResult

HELP = "Show the concurrency limits, or let at most N jobs of a queue or partition run at once."
_NONE = "none"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "limit", nargs="?", type=_limit, metavar="N", help=f"a number, or {_NONE} to lift the limit; default: show all"
    )
    parser.add_argument("--queue", default="", help="the queue; without it, a partition's jobs in all queues together")
    parser.add_argument("--partition", help="the partition, such as a tenant; without it, all jobs of the queue")


def limit(shell: Shell, options: Options) -> bool:
    """Set a limit, or show those that are set."""
    if options["limit"] is not None:
        result = apply(options, who(options))
        if shell.as_json:
            shell.print_json(asdict(result))
        else:
            shell.console.print(cell(sentence(result)))
    elif shell.as_json:
        shell.print_json(as_json())
    elif selectors.limits_in_force():
        shell.console.print(table())
    else:
        shell.console.print("No limits are set. `manage.py queue limit 4 --partition acme` sets one.")
    return True


def apply(options: Mapping[str, Any], who: operations.Who) -> LimitResult:
    """Raises UnknownQueue, InvalidLimit."""
    wanted = None if options["limit"] == _NONE else options["limit"]
    return operations.set_limit(wanted, queue=options["queue"], partition=options["partition"], **who)


def sentence(result: LimitResult) -> str:
    whose = _whose(result.queue, result.partition)
    before = "there was no limit" if result.before is None else f"it was {result.before}"
    if result.limit is None:
        return f"No limit for {whose} any more; {before}."
    return f"At most {result.limit} at once of {whose}; {before}. Workers heed it within a second."


def table() -> Table:
    """Every limit, with how much of it is used."""
    made = Table(title="Concurrency limits", title_justify="left")
    for name in ("of", "running", "limit"):
        made.add_column(name, justify="left" if name == "of" else "right")
    for one in selectors.limits_in_force():
        style = "yellow" if one.is_reached else ""
        made.add_row(cell(_whose(one.queue, one.partition)), cell(str(one.running), style), str(one.limit))
    return made


def as_json() -> list[dict[str, Any]]:
    return [asdict(one) for one in selectors.limits_in_force()]


def _whose(queue: str, partition: str | None) -> str:
    if partition is None:
        return f"the queue {queue}"
    whose = f"the partition {partition}" if partition else "jobs without a partition"
    return f"{whose} in the queue {queue}" if queue else f"{whose} in all queues"


def _limit(text: str) -> int | str:
    if text == _NONE:
        return text
    if not text.isascii() or not text.isdigit() or int(text) > operations.MAX_LIMIT:
        raise ArgumentTypeError(f"a whole number from 0 to {operations.MAX_LIMIT:,}, or {_NONE}")
    return int(text)
