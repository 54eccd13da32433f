"""The subcommands of `manage.py queue` that only look. Each returns True: what was asked for was shown."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import asdict

from django.core.management.base import CommandError
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from queueadmin import inspection, search, selectors
from queueadmin.broker import get_ledger_broker
from queueadmin.management import tables
from queueadmin.management.shell import Options, Shell, ids_of
from queueadmin.models import Job
from queueadmin.states import State

_FOLLOW_UPS = 100
"""Follow-up jobs that `status` shows at most: one for each end of the job."""

_TERMS = ("state", "queue", "actor", "tenant", "document", "user", "batch", "error")
"""Options that are terms of a search, under the same names."""


def stats(shell: Shell, options: Options) -> bool:
    """Every queue with its depth, and the totals; again and again with --watch."""
    if options["watch"] is None:
        _stats_once(shell)
        return True
    with contextlib.suppress(KeyboardInterrupt):
        if shell.as_json:
            _stream_stats(shell, options["watch"])
        else:
            _watch_stats(shell, options["watch"])
    return True


def _stats_once(shell: Shell) -> None:
    if shell.as_json:
        shell.print_json(_stats_json())
    else:
        shell.console.print(_stats_tables())


def _stream_stats(shell: Shell, seconds: float) -> None:
    """One JSON document per line."""
    while True:
        shell.print_json(_stats_json(), indent=None)
        shell.out.flush()
        time.sleep(seconds)


def _watch_stats(shell: Shell, seconds: float) -> None:
    """Refresh in place until Ctrl-C. A database that is away is said, and asked again."""
    with Live(console=shell.console, auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            try:
                shown: RenderableType = _stats_tables()
            except (OperationalError, InterfaceError) as error:
                connection.close()
                shown = Text(f"The database does not answer: {str(error).splitlines()[0]}", style="red")
            note = f"{timezone.localtime():%H:%M:%S}, every {seconds:g} s; Ctrl-C ends it."
            live.update(Group(shown, Text(note, style="dim")), refresh=True)
            time.sleep(seconds)


def _stats_json() -> object:
    overview = inspection.overview(get_ledger_broker().ready_sets)
    return tables.stats_json(overview, selectors.totals())


def _stats_tables() -> RenderableType:
    overview, totals = inspection.overview(get_ledger_broker().ready_sets), selectors.totals()
    summary = (
        f"Since the beginning: {totals.completed} completed, {totals.failed} failed, "
        f"{totals.dead_letter} dead letters, {totals.cancelled} cancelled. Workers alive: {overview.alive}."
    )
    shown: list[RenderableType] = [tables.stats_table(overview), summary]
    if not overview.broker.up:
        shown.append(Text(f"{overview.broker.error} The numbers come from the ledger.", style="red"))
    return Group(*shown)


def jobs(shell: Shell, options: Options) -> bool:
    """A search, the newest first."""
    found = search.matching(terms_of(options), now=timezone.now())
    rows = found.jobs.defer("result").order_by("-pk")[: options["limit"]]
    # One after the other: of the payloads, up to 256 KiB each, only a line is kept.
    listed = [tables.listed(job) for job in rows.iterator(chunk_size=200)]
    if shell.as_json:
        shell.print_json([{**tables.job_json(one.job), "arguments": one.arguments} for one in listed])
        return True
    if listed:
        shell.console.print(tables.jobs_table(listed, f"Jobs, the newest {len(listed)}", width=shell.console.width))
    else:
        shell.console.print("No such jobs.")
    if found.bound:
        shell.console.print(f"Looked only at {found.bound}: no index finds this. Add --state or --since.", style="dim")
    return True


def terms_of(options: Options) -> str:
    """The text of a search: what was written, and what the options say."""
    terms = list(options["search"])
    terms += [f'{name}:"{_quoted(options[name])}"' for name in _TERMS if options.get(name)]
    terms += [f"created>={options['since']}"] if options.get("since") else []
    terms += [f"created<{options['until']}"] if options.get("until") else []
    return " ".join(terms)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def status(shell: Shell, options: Options) -> bool:
    """One job with its timeline."""
    (job_id,) = ids_of([options["id"]])
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        raise CommandError(f"There is no job {job_id}. `manage.py queue list` shows the newest.")
    timeline = selectors.timeline(job_id)
    follow_ups = list(Job.objects.filter(parent_id=job_id).defer("result").order_by("created_at", "pk")[:_FOLLOW_UPS])
    if shell.as_json:
        shell.print_json(tables.status_json(job, timeline, follow_ups))
        return True
    shell.console.print(tables.job_table(job))
    shell.console.print(tables.timeline_table(timeline))
    if follow_ups:
        shell.console.print(tables.follow_ups_table(follow_ups))
    for reason in inspection.why_waiting(job, get_ledger_broker().ready_sets):
        shell.console.print(tables.cell(reason))
    return True


def dead_letters(shell: Shell, options: Options) -> bool:
    """What waits for a decision, by error code, and the newest of it."""
    found = search.matching(terms_of({**options, "state": State.DEAD_LETTER.value}), now=timezone.now()).jobs
    codes = Counter(found.values_list("error_code", flat=True)[: tables.GROUPED].iterator(chunk_size=5_000))
    newest = [tables.listed(job) for job in found.defer("result").order_by("-finished_at", "-pk")[: options["limit"]]]
    if shell.as_json:
        rows = [{**tables.job_json(one.job), "arguments": one.arguments} for one in newest]
        shell.print_json({"by_error": dict(codes.most_common()), "jobs": rows})
        return True
    if not newest:
        shell.console.print("No dead letters.")
        return True
    shell.console.print(tables.dead_letters_table(newest))
    shell.console.print(", ".join(f"{count} {code or 'without a code'}" for code, count in codes.most_common()))
    code = codes.most_common(1)[0][0]
    shell.console.print(f"Run them again: manage.py queue retry --dead-letter --error-code {code}", style="dim")
    return True


def workers(shell: Shell, options: Options) -> bool:
    """The workers with their last beat."""
    found = selectors.workers(include_ended=options["all"])
    if shell.as_json:
        shell.print_json([asdict(worker) for worker in found])
    elif found:
        shell.console.print(tables.workers_table(found))
    else:
        shell.console.print("No worker has registered. Start one with `manage.py rundramatiq`.")
    return True
