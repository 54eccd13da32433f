"""What the subcommands of `manage.py queue` share: where they print, whom they ask, and who is acting."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, OutputWrapper
from django.core.serializers.json import DjangoJSONEncoder
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from queueadmin import operations

_WIDTH = 240
"""Columns where the output is no terminal: wide enough for one line per job. Tables are no wider than they must be."""

Options = dict[str, Any]


def wrong_command_line(message: str) -> CommandError:
    """What was written makes no sense, whatever the ledger holds: exit code 2, as for what argparse refuses."""
    return CommandError(message, returncode=2)


@dataclass(kw_only=True)
class Shell:
    """Answers go to `out`, as tables or as JSON; questions, progress and complaints to `err`."""

    out: OutputWrapper
    err: OutputWrapper
    as_json: bool

    def __post_init__(self) -> None:
        self.console = Console(file=self.out, width=None if self.out.isatty() else _WIDTH, highlight=False)  # type: ignore[arg-type]  # OutputWrapper is a TextIOBase

    def print_json(self, value: Any, *, indent: int | None = 2) -> None:
        self.out.write(json.dumps(value, cls=DjangoJSONEncoder, indent=indent))

    def confirm(self, warnings: Sequence[str], word: str) -> bool:
        """Say what will happen, and go on only if `word` is typed. Nobody there to type it means no."""
        for warning in warnings:
            self.err.write(warning)
        self.err.write(f"Type {word} to go on: ", ending="")
        self.err.flush()
        try:
            return input().strip() == word
        except EOFError:
            self.err.write("\nNobody is there to ask; --yes goes on without asking.")
            return False

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Callable[[int], object]]:
        """A bar while somebody watches; yields the function that is told how many are done."""
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        watched = console.is_terminal and sys.stderr.isatty() and not self.as_json
        with Progress(*columns, console=console, transient=True, disable=not watched) as bar:
            line = bar.add_task(what, total=total)
            yield lambda done: bar.update(line, completed=done)


def ids_of(texts: Sequence[str]) -> list[UUID]:
    """The jobs' ids. Raises CommandError for text that is none."""
    ids = []
    for text in texts:
        try:
            ids.append(UUID(text))
        except ValueError as error:
            raise wrong_command_line(
                f"{text!r} is not a job's id: those look like {UUID(int=7 << 76 | 1 << 120)}."
            ) from error
    return ids


def who(options: Options) -> operations.Who:
    """Who acts and why, for the audit row."""
    return {"by": operations.shell_user(), "source": "cli", "reason": options["reason"]}
