"""`manage.py audit`: check the chain of what people did to the queues, note its end, export it."""

from __future__ import annotations

import csv
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from queueadmin import audit
from queueadmin.exports import harmless
from queueadmin.models import AuditEntry


class Command(BaseCommand):
    """Exit codes: 0 sound; 1 something was changed, removed or inserted; 2 the command line was wrong."""

    help = "Verify or export the audit of operations (exit 0: sound, 1: it was tampered with)."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True)
        verify = commands.add_parser("verify", help="walk the chain and hold the operations against it")
        verify.add_argument(
            "--anchor", type=_anchor, metavar="NUMBER:HASH", help="a head that was noted earlier must still be in it"
        )
        verify.add_argument("--json", action="store_true")
        commands.add_parser("head", help="print NUMBER:HASH of the last entry, to keep elsewhere and verify against")
        export = commands.add_parser("export", help="write every entry to standard output")
        export.add_argument("--format", choices=["jsonl", "csv"], default="jsonl")
        export.add_argument("--after", type=int, default=0, metavar="NUMBER", help="only entries behind this one")

    def handle(self, *args: Any, **options: Any) -> None:
        match options["command"]:
            case "verify":
                self._verify(options["anchor"], as_json=options["json"])
            case "head":
                self.stdout.write(str(audit.head()))
            case _:
                self._export(options["format"], options["after"])

    def _verify(self, anchor: audit.Head | None, *, as_json: bool) -> None:
        verdict = audit.verify(anchor=anchor)
        if as_json:
            found = {
                "sound": not verdict.problems, "entries": verdict.entries, "operations": verdict.operations,
                "head": str(verdict.head), "problems": list(verdict.problems),
            }  # fmt: skip
            self.stdout.write(json.dumps(found))
        else:
            for problem in verdict.problems:
                self.stdout.write(problem)
        if verdict.problems:
            raise CommandError(
                f"The audit is not sound: {len(verdict.problems)} problem(s) in {verdict.entries} entries."
            )
        if not as_json:
            self.stdout.write(f"The audit is sound: {verdict.entries} entries of {verdict.operations} operations.")
            self.stdout.write(f"Its head, to note elsewhere: {verdict.head}")

    def _export(self, form: str, after: int) -> None:
        writer = csv.writer(self.stdout)
        if form == "csv":
            writer.writerow(_COLUMNS)
        for entry in audit.entries(after=after):
            row = _row(entry)
            if form == "csv":
                writer.writerow([harmless(str(row[name])) for name in _COLUMNS])
            else:
                self.stdout.write(json.dumps(row))


_COLUMNS = ("number", "at", "kind", "operation_id", "content", "hash")


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {
        "number": entry.number, "at": entry.at.isoformat(), "kind": entry.kind,
        "operation_id": str(entry.operation_id), "content": entry.content, "hash": entry.hash,
    }  # fmt: skip


def _anchor(text: str) -> audit.Head:
    head = audit.Head.of(text)
    if head is None:
        raise ValueError(text)
    return head
