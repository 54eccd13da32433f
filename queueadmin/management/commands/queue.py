"""`manage.py queue`: look at the queues and operate them from a shell."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError
from rich.console import Console

from queueadmin import inspection, operations, selectors
from queueadmin.broker import get_ledger_broker
from queueadmin.exceptions import QueueAdminError
from queueadmin.management import limits, tables
from queueadmin.management.quiet import without_info_lines
from queueadmin.models import Job
from queueadmin.operations import OperationResult, QueueResult
from queueadmin.states import State

_WIDTH = 240
"""Columns where the output is no terminal: wide enough for one line per job. Tables are no wider than they must be."""

_FOLLOW_UPS = 100
"""Follow-up jobs that `status` shows at most: one for each end of the job."""

_EPILOG = (
    "Exit codes: 0 everything asked for was done; 1 something was refused, unknown, not confirmed or failed; "
    "2 the command line was wrong. With --json, one JSON document is printed to standard output."
)


class Command(BaseCommand):
    """One subcommand, one method. Operations are recorded under the name of the shell's user."""

    help = "Look at the job queues and operate them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = _EPILOG
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

        def add(name: str, text: str, *, reason: bool = False) -> CommandParser:
            made: CommandParser = commands.add_parser(name, help=text, description=text, epilog=_EPILOG)
            made.add_argument("--json", action="store_true", help="print JSON instead of tables")
            if reason:
                made.add_argument("--reason", default="", help="why, for the operations log")
            return made

        add("stats", "Show every queue with its depth, and the totals.")
        _filters(add("list", "List jobs, the newest first."))
        add("status", "Show a job with its timeline.").add_argument("id")
        retry = add("retry", "Queue failed, dead-lettered and cancelled jobs again.", reason=True)
        retry.add_argument("ids", nargs="+", metavar="ID")
        retry.add_argument("--now", action="store_true", help="also run scheduled and retrying jobs now")
        add("cancel", "Stop waiting and running jobs.", reason=True).add_argument("ids", nargs="+", metavar="ID")
        add("discard", "Give dead letters up.", reason=True).add_argument("ids", nargs="+", metavar="ID")
        add("pause", "Let no worker take jobs from a queue.", reason=True).add_argument("queue")
        add("resume", "Let workers take jobs from a queue again.", reason=True).add_argument("queue")
        limits.add_arguments(add("limit", limits.HELP, reason=True))
        add("workers", "List the workers with their last beat.").add_argument(
            "--all", action="store_true", help="also those that have stopped"
        )
        flush = add("flush", "Cancel every pending job of a queue, or of all queues.", reason=True)
        flush.add_argument("queue", nargs="?")
        flush.add_argument("--yes", action="store_true", help="do not ask")
        repair = add("repair", "Publish what the broker lacks, now.", reason=True)
        repair.add_argument("--dry-run", action="store_true", help="only show the differences")

    @without_info_lines("queueadmin")
    def handle(self, *args: Any, **options: Any) -> None:
        self.console = Console(file=self.stdout, width=None if self.stdout.isatty() else _WIDTH, highlight=False)  # type: ignore[arg-type]  # OutputWrapper is a TextIOBase
        run: Callable[[dict[str, Any]], bool] = getattr(self, f"run_{options['command']}")
        try:
            done = run(options)
        except QueueAdminError as error:
            raise CommandError(str(error)) from error
        except (OperationalError, InterfaceError) as error:
            raise CommandError(f"The database does not answer: {str(error).splitlines()[0]}") from error
        if not done:
            raise SystemExit(1)

    # -- looking: each returns True ----------------------------------------------------------

    def run_stats(self, options: dict[str, Any]) -> bool:
        overview = inspection.overview(get_ledger_broker().ready_sets)
        counts, totals = selectors.job_counts(), selectors.totals()
        if options["json"]:
            return self._print_json(tables.stats_json(overview, counts, totals))
        self.console.print(tables.stats_table(overview))
        self.console.print(
            f"Since the beginning: {totals.completed} completed, {totals.failed} failed, "
            f"{totals.dead_letter} dead letters, {totals.cancelled} cancelled. Workers alive: {overview.alive}."
        )
        if not overview.broker.up:
            self.console.print(f"{overview.broker.error} The numbers come from the ledger.", style="red")
        return True

    def run_list(self, options: dict[str, Any]) -> bool:
        wanted = {name: options[name] for name in ("state", "queue", "actor") if options[name]}
        found = Job.objects.filter(**wanted).defer("result").order_by("-pk")[: options["limit"]]
        # One after the other: of the payloads, up to 256 KiB each, only a line is kept.
        jobs = [tables.listed(job) for job in found.iterator(chunk_size=200)]
        if options["json"]:
            return self._print_json([{**tables.job_json(one.job), "arguments": one.arguments} for one in jobs])
        if not jobs:
            self.console.print("No such jobs.")
            return True
        self.console.print(tables.jobs_table(jobs, f"Jobs, the newest {len(jobs)}", width=self.console.width))
        return True

    def run_status(self, options: dict[str, Any]) -> bool:
        (job_id,) = _ids([options["id"]])
        job = Job.objects.filter(pk=job_id).first()
        if job is None:
            raise CommandError(f"There is no job {job_id}. `manage.py queue list` shows the newest.")
        timeline = selectors.timeline(job_id)
        follow_ups = list(
            Job.objects.filter(parent_id=job_id).defer("result").order_by("created_at", "pk")[:_FOLLOW_UPS]
        )
        if options["json"]:
            return self._print_json(tables.status_json(job, timeline, follow_ups))
        self.console.print(tables.job_table(job))
        self.console.print(tables.timeline_table(timeline))
        if follow_ups:
            self.console.print(tables.follow_ups_table(follow_ups))
        for reason in inspection.why_waiting(job, get_ledger_broker().ready_sets):
            self.console.print(tables.cell(reason))
        return True

    def run_workers(self, options: dict[str, Any]) -> bool:
        workers = selectors.workers(include_ended=options["all"])
        if options["json"]:
            return self._print_json([asdict(worker) for worker in workers])
        if not workers:
            self.console.print("No worker has registered. Start one with `manage.py rundramatiq`.")
            return True
        self.console.print(tables.workers_table(workers))
        return True

    # -- acting: each returns whether everything asked for was done ----------------------------

    def run_retry(self, options: dict[str, Any]) -> bool:
        result = operations.retry(_ids(options["ids"]), now=options["now"], **_who(options))
        return self._report(result, "queued again", options)

    def run_cancel(self, options: dict[str, Any]) -> bool:
        result = operations.cancel(_ids(options["ids"]), **_who(options))
        return self._report(result, "cancelled, or asked to stop", options)

    def run_discard(self, options: dict[str, Any]) -> bool:
        return self._report(operations.discard(_ids(options["ids"]), **_who(options)), "discarded", options)

    def run_pause(self, options: dict[str, Any]) -> bool:
        result = operations.pause(options["queue"], **_who(options))
        return self._report_queue(result, "paused" if result.changed else "paused already", options)

    def run_resume(self, options: dict[str, Any]) -> bool:
        result = operations.resume(options["queue"], **_who(options))
        return self._report_queue(result, "running again" if result.changed else "running already", options)

    def run_limit(self, options: dict[str, Any]) -> bool:
        if options["limit"] is not None:
            result = limits.apply(options, _who(options))
            if options["json"]:
                return self._print_json(asdict(result))
            self.console.print(tables.cell(limits.sentence(result)))
        elif options["json"]:
            return self._print_json(limits.as_json())
        elif selectors.limits_in_force():
            self.console.print(limits.table())
        else:
            self.console.print("No limits are set. `manage.py queue limit 4 --partition acme` sets one.")
        return True

    def run_flush(self, options: dict[str, Any]) -> bool:
        depths = {summary.name: summary.pending for summary in selectors.queues()}
        if options["queue"] is not None:
            if options["queue"] not in depths:
                raise operations.UnknownQueue(options["queue"], list(depths))
            depths = {options["queue"]: depths[options["queue"]]}
        depths = {queue: depth for queue, depth in depths.items() if depth}
        if depths and not options["yes"] and not self._confirm(depths, options["queue"] or "flush"):
            self.stderr.write("Nothing was flushed.")
            return False
        results = [operations.purge(queue, **_who(options)) for queue in depths]
        if options["json"]:
            return self._print_json([asdict(result) for result in results])
        cancelled = sum(result.changed for result in results)
        self.console.print(f"{cancelled} pending jobs cancelled." if depths else "Nothing was pending.")
        return True

    def run_repair(self, options: dict[str, Any]) -> bool:
        sets = get_ledger_broker().ready_sets
        if not options["dry_run"]:
            swept = operations.repair(**_who(options))
            if options["json"]:
                return self._print_json(asdict(swept))
            self.console.print(f"{swept.republished} of {swept.pending} pending jobs were missing and are published.")
            return True
        sets.ping()
        found = [inspection.compare(sets, queue) for queue in selectors.known_queues()]
        if options["json"]:
            return self._print_json([asdict(difference) for difference in found])
        self.console.print(tables.differences_table(found))
        return True

    # -- shared ------------------------------------------------------------------------------

    def _confirm(self, depths: dict[str, int], word: str) -> bool:
        for queue, depth in depths.items():
            self.stderr.write(f"{depth} pending jobs of {queue} will be cancelled.")
        self.stderr.write(f"Type {word} to go on: ", ending="")
        self.stderr.flush()
        try:
            return input().strip() == word
        except EOFError:
            self.stderr.write("\nNobody is there to ask; --yes goes on without asking.")
            return False

    def _report(self, result: OperationResult, done: str, options: dict[str, Any]) -> bool:
        if options["json"]:
            refused = {str(job_id): reason for job_id, reason in result.refused.items()}
            self._print_json({"log_id": result.log_id, "done": result.done, "refused": refused})
            return not result.refused
        if result.done:
            self.console.print(f"{len(result.done)} {'job' if len(result.done) == 1 else 'jobs'} {done}.")
        for line in tables.refusals(result.refused):
            self.stderr.write(f"left alone, {line}")
        return not result.refused

    def _report_queue(self, result: QueueResult, state: str, options: dict[str, Any]) -> bool:
        if options["json"]:
            return self._print_json(asdict(result))
        self.console.print(tables.cell(f"{result.queue} is {state}."))
        return True

    def _print_json(self, value: Any) -> bool:
        self.stdout.write(json.dumps(value, cls=DjangoJSONEncoder, indent=2))
        return True


def _filters(parser: CommandParser) -> None:
    parser.add_argument("--state", choices=State.values)
    parser.add_argument("--queue")
    parser.add_argument("--actor")
    parser.add_argument("--limit", type=_limit, default=50, metavar="N", help="at most this many (default 50)")


def _limit(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 10_000:
        raise ValueError
    return number


def _ids(texts: Sequence[str]) -> list[UUID]:
    ids = []
    for text in texts:
        try:
            ids.append(UUID(text))
        except ValueError as error:
            raise CommandError(
                f"{text!r} is not a job's id: those look like {UUID(int=7 << 76 | 1 << 120)}."
            ) from error
    return ids


def _who(options: dict[str, Any]) -> dict[str, str]:
    return {"by": operations.shell_user(), "source": "cli", "reason": options["reason"]}
