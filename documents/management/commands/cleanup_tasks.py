"""`manage.py cleanup_tasks`: remove what has outlived its retention, and stored objects that no task knows.

The dispatcher does the first every hour, the second every day.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from documents import conf, orphans, retention
from documents.exceptions import StorageError
from queueadmin import retention as ledger
from queueadmin.management.quiet import without_info_lines


class Command(BaseCommand):
    help = (
        "Remove results, uploads, events and arguments of tasks that ended long ago; slim audit rows stay for "
        "AUDIT_RETENTION_DAYS. Tasks whose webhook is still being delivered are left alone. Also removes stored "
        "results and uploads, older than a day, whose task is unknown."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--hours",
            type=float,
            metavar="N",
            help="age of completed and cancelled tasks (default: TASK_STATUS_EXPIRY_HOURS); failed ones stay 14 days",
        )
        parser.add_argument("--dry-run", action="store_true", help="print what would be removed, and remove nothing")
        parser.add_argument("--include-dead-letters", action="store_true", help="dead letters of that age, too")
        parser.add_argument(
            "--skip-orphans",
            action="store_true",
            help="do not look for stored results and uploads of unknown tasks, which lists everything that is stored",
        )
        parser.add_argument(
            "--all-orphans",
            action="store_true",
            help="remove them even when they are most of what is stored: be sure that this is the right database",
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    @without_info_lines("queueadmin", "documents")
    def handle(self, *args: Any, **options: Any) -> None:
        policy = conf.retention_policy()
        if options["hours"] is not None:
            if not 0 <= options["hours"] < 10_000_000:
                raise CommandError("--hours must be 0 or more.")
            policy = replace(policy, hours=options["hours"])
        try:
            report = self._clean(policy, options)
            found = None if options["skip_orphans"] else self._sweep(options)
        except StorageError as error:
            raise CommandError(
                f"Objects could not be removed: {error} What is left is removed by a run a day later."
            ) from error
        if options["json"]:
            shown = {"dry_run": options["dry_run"], "hours": policy.hours, **report.as_dict()}
            self.stdout.write(json.dumps(shown | {"orphans": found.as_dict() if found else None}, indent=2))
        else:
            self._show(report, found, dry_run=options["dry_run"])
        if found is not None and found.refused:
            raise CommandError(
                f"{found.unknown:,} of {found.tasks:,} tasks that have stored objects are unknown to this database, so "
                "none of these objects was removed. If it is the right database, run it again with --all-orphans."
            )

    def _clean(self, policy: conf.RetentionPolicy, options: dict[str, Any]) -> retention.Report:
        """Clean, under a progress bar when somebody watches."""
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            ages = retention.ages(policy, include_dead_letters=options["include_dead_letters"])
            total = ledger.expired_count(ages) if console.is_terminal else None
            bar = progress.add_task("Cleaning", total=total)
            return retention.clean(
                policy,
                results=conf.result_store(),
                documents=conf.document_store(),
                include_dead_letters=options["include_dead_letters"],
                dry_run=options["dry_run"],
                on_progress=lambda jobs: progress.update(bar, completed=jobs),
            )

    def _sweep(self, options: dict[str, Any]) -> orphans.Report:
        return orphans.sweep(
            results=conf.result_store(),
            documents=conf.document_store(),
            dry_run=options["dry_run"],
            by_hand=options["all_orphans"],
        )

    def _show(self, report: retention.Report, found: orphans.Report | None, *, dry_run: bool) -> None:
        removed = "Would be removed" if dry_run else "Removed"
        table = Table("What", removed)
        table.columns[1].justify = "right"
        for state, count in report.tasks.items():
            table.add_row(f"{state.replace('_', ' ')} tasks", f"{count:,}")
        table.add_row("stored results", f"{report.results:,}")
        table.add_row("webhooks and other jobs", f"{report.other_jobs:,}")
        table.add_row("events", f"{report.events:,}")
        table.add_row("audit rows", f"{report.audit_rows:,}")
        if found is not None and not found.refused:
            table.add_row("results of unknown tasks", f"{found.results:,}")
            table.add_row("uploads of unknown tasks", f"{found.uploads:,}")
        console = Console(width=80)
        with console.capture() as capture:
            console.print(table)
        self.stdout.write(capture.get())
        if report.is_empty and not (found and found.orphans):
            self.stdout.write("Nothing has outlived its retention.")
