"""`manage.py engines`: what reads documents here, what is missing, and what the sandbox is granted."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.table import Table

from documents import conf
from documents.extraction.errors import SandboxUnavailable
from documents.extraction.inventory import Found, inventory, poorer_formats, unreadable_formats
from documents.extraction.sandbox import Sandbox
from queueadmin.management.quiet import without_info_lines

_WIDTH = 140
"""Columns where the output is no terminal."""


class Command(BaseCommand):
    help = (
        "List the engines that read documents, the system programs and packages they use, the formats that suffer "
        "where one is missing, and which protections the kernel grants to the extraction sandbox."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")

    @without_info_lines("documents")
    def handle(self, *args: Any, **options: Any) -> None:
        found, protections = inventory(), _protections()
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(found, protections), indent=2))
            return
        console = Console(width=None if sys.stdout.isatty() else _WIDTH)
        console.print(_engines(found))
        lost, poorer = unreadable_formats(found), poorer_formats(found)
        console.print(f"Formats that cannot be read here: {', '.join(lost)}" if lost else "Every format can be read.")
        if poorer:
            console.print(f"Formats that would be read better with what is missing: {', '.join(poorer)}")
        console.print()
        console.print(_sandbox(protections))


def _protections() -> dict[str, str]:
    """Start one child and ask what the kernel granted it."""
    with contextlib.closing(Sandbox(conf.extraction_limits(), size=1, temp_root=conf.work_directory())) as sandbox:
        try:
            return sandbox.protections()
        except SandboxUnavailable as error:
            return {"sandbox": f"refused: {error}"}


def _as_json(found: tuple[Found, ...], protections: dict[str, str]) -> dict[str, Any]:
    return {
        "engines": [
            {
                "name": one.part.name,
                "engine": one.part.engine,
                "installed": bool(one.where),
                "where": one.where,
                "formats": list(one.part.formats),
                "install": one.part.install,
            }
            for one in found
        ],
        "unreadable_formats": list(unreadable_formats(found)),
        "poorer_formats": list(poorer_formats(found)),
        "sandbox": protections,
    }


def _engines(found: tuple[Found, ...]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in ("part", "found", "formats", "for"):
        table.add_column(column, overflow="fold")
    for one in found:
        where = one.where or f"[red]missing[/red]: {one.part.install}"
        table.add_row(one.part.name, where, " ".join(one.part.formats), one.part.purpose)
    return table


def _sandbox(protections: dict[str, str]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in ("sandbox", "kernel"):
        table.add_column(column)
    for name, outcome in protections.items():
        table.add_row(name, outcome)
    return table
