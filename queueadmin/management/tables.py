"""What `manage.py queue` prints: tables for people, plain values for `--json`.

Everything that came from outside goes through `display.visible`: an error message may hold escape
sequences that a terminal would obey.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from django.utils import timezone
from rich.table import Table
from rich.text import Text

from queueadmin import display
from queueadmin.inspection import Difference, Overview
from queueadmin.models import Job
from queueadmin.sanitize import without_secrets
from queueadmin.selectors import OPEN_STATES, TimelineEntry, Totals, Worker
from queueadmin.states import State

_COLOURS = {
    State.COMPLETED: "green",
    State.FAILED: "red",
    State.DEAD_LETTER: "red",
    State.RETRYING: "yellow",
    State.PROCESSING: "magenta",
    State.CANCELLED: "bright_black",
}


def cell(value: object, style: str = "") -> Text:
    return Text(display.visible(value), style=style)


def state_cell(state: str) -> Text:
    return cell(state, _COLOURS.get(State(state), "") if state in State.values else "")


def _table(title: str, *columns: str, numbers: Iterable[str] = ()) -> Table:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=name in ("id", "state", "when"))
    return table


# -- stats ---------------------------------------------------------------------------------------


def stats_table(overview: Overview) -> Table:
    numbers = ("pending", "in broker", "oldest", "processing", "retrying", "scheduled", "failed", "dead", "workers")
    table = _table("Queues", "queue", *numbers, "status", numbers=numbers)
    for queue in overview.queues:
        summary, counts = queue.summary, queue.summary.counts
        table.add_row(
            cell(summary.name),
            str(counts["pending"]),
            "?" if queue.ready is None else str(queue.ready),
            display.duration(summary.oldest_pending_seconds),
            *(str(counts[state]) for state in ("processing", "retrying", "scheduled", "failed", "dead_letter")),
            str(summary.workers),
            cell(_paused(summary.paused_by, summary.reason) if summary.is_paused else "running"),
        )
    return table


def _paused(by: str, reason: str) -> str:
    return f"paused by {by}: {reason}" if reason else f"paused by {by}"


def stats_json(overview: Overview, totals: Totals) -> dict[str, Any]:
    """`jobs` are open ones: what has completed or was cancelled is in `totals`, and counting its rows takes seconds."""
    counts: Counter[str] = Counter(dict.fromkeys(map(str, OPEN_STATES), 0))
    for queue in overview.queues:
        counts.update(queue.summary.counts)
    return {
        "jobs": counts,
        "totals": asdict(totals),
        "broker": asdict(overview.broker),
        "workers_alive": overview.alive,
        "queues": {
            queue.summary.name: {
                **queue.summary.counts,
                "in_broker": queue.ready,
                "oldest_pending_seconds": queue.summary.oldest_pending_seconds,
                "paused": queue.summary.is_paused,
                "paused_by": queue.summary.paused_by,
                "reason": queue.summary.reason,
                "workers": queue.summary.workers,
            }
            for queue in overview.queues
        },
    }


# -- workers -------------------------------------------------------------------------------------


def workers_table(workers: Sequence[Worker]) -> Table:
    numbers = ("pid", "busy", "threads", "unwritten", "memory")
    table = _table(
        "Workers", "worker", "state", "last beat", "up for", "version", "host", *numbers, "queues", numbers=numbers
    )
    now = timezone.now()
    for worker in workers:
        table.add_row(
            cell(worker.name),
            cell(_standing(worker), "green" if worker.state == "alive" else "red"),
            f"{display.duration(worker.silent_for)} ago",
            display.age((now - worker.started_at).total_seconds()),
            cell(worker.version),
            cell(worker.host),
            *(str(number) for number in (worker.pid, worker.busy, worker.threads, worker.unwritten)),
            display.size(worker.memory),
            cell(", ".join(worker.queues)),
        )
    return table


def _standing(worker: Worker) -> str:
    words = [worker.state, *(["draining"] if worker.is_draining else []), *([worker.ended] if worker.ended else [])]
    return ", ".join(words)


# -- jobs ----------------------------------------------------------------------------------------


def arguments(job: Job, *, limit: int = 2_000) -> str:
    """What the job was sent with, as `name=value` on one line. Without secrets, cut to `limit` characters."""
    positional = {str(place): value for place, value in enumerate(job.payload.get("args") or ())}
    given = without_secrets({**positional, **(job.payload.get("kwargs") or {})})
    return display.one_line({name: value for name, value in given.items() if value is not None}, limit=limit)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A job without its payload, and its arguments in short."""

    job: Job
    arguments: str


def listed(job: Job) -> Listed:
    shown = arguments(job, limit=200)
    job.payload = {}
    return Listed(job=job, arguments=shown)


_ALL_COLUMNS_WIDTH = 190
"""Columns of a terminal below which only what tells jobs apart is listed: rich would squeeze the others to nothing."""


def jobs_table(jobs: Sequence[Listed], title: str, *, width: int) -> Table:
    """`width` is that of the terminal, in columns."""
    names: tuple[str, ...] = ("id", "state", "error", "arguments")
    if width >= 110:
        names = ("id", "state", "actor", "error", "arguments")
    if width >= _ALL_COLUMNS_WIDTH:
        names = ("id", "state", "actor", "queue", "tenant", "attempt", "created", "error", "arguments")
    table = _table(title, *names, numbers=("attempt",))
    table.columns[-1].overflow = "fold"
    for one in jobs:
        cells = _job_cells(one)
        table.add_row(*(cells[name] for name in names))
    return table


def _job_cells(one: Listed) -> dict[str, Text]:
    job = one.job
    return {
        "id": cell(job.pk),
        "state": state_cell(job.state),
        "actor": cell(job.actor),
        "queue": cell(job.queue),
        "tenant": cell(job.partition_key),
        "attempt": cell(job.attempt),
        "created": cell(f"{job.created_at:%Y-%m-%d %H:%M:%S}"),
        "error": cell(job.error_code),
        "arguments": Text(display.visible(one.arguments, limit=80)),
    }


GROUPED = 100_000
"""Dead letters that are counted by their error; of more, these are enough to see what is wrong."""


def dead_letters_table(jobs: Sequence[Listed]) -> Table:
    table = _table("Dead letters, the newest first", "id", "when", "actor", "attempts", "error", numbers=("attempts",))
    for one in jobs:
        job = one.job
        when = "" if job.finished_at is None else f"{job.finished_at:%Y-%m-%d %H:%M:%S}"
        error = cell(f"{job.error_code}: {job.error_message}" if job.error_code else job.error_message)
        table.add_row(cell(job.pk), when, cell(job.actor), str(job.attempt), error)
    return table


def follow_ups_table(jobs: Sequence[Job]) -> Table:
    table = _table("Follow-up jobs", "id", "actor", "state", "attempt", "error", numbers=("attempt",))
    for job in jobs:
        error = f"{job.error_code}: {job.error_message}" if job.error_code else ""
        table.add_row(str(job.pk), cell(job.actor), state_cell(job.state), str(job.attempt), cell(error))
    return table


def job_json(job: Job) -> dict[str, Any]:
    names = (
        "queue", "actor", "state", "priority", "partition_key", "unique_key", "attempt", "failures", "crashes", "run",
        "max_attempts", "run_at", "created_at", "started_at", "finished_at", "cleaned_at", "cancel_requested_at",
        "error_code", "error_message", "fingerprint",
    )  # fmt: skip
    return {
        "id": str(job.pk),
        **{name: getattr(job, name) for name in names},
        "parent_id": job.parent_id and str(job.parent_id),
    }


def status_json(job: Job, timeline: Sequence[TimelineEntry], follow_ups: Sequence[Job]) -> dict[str, Any]:
    return {
        **job_json(job),
        "arguments": arguments(job),
        "result": job.result,
        "timeline": [asdict(entry) for entry in timeline],
        "follow_ups": [job_json(follow_up) for follow_up in follow_ups],
    }


def job_table(job: Job) -> Table:
    table = Table(show_header=False, title=f"Job {job.pk}", title_justify="left")
    for name, value in {**job_json(job), "arguments": arguments(job)}.items():
        if name != "id" and value not in (None, ""):
            table.add_row(name.replace("_", " "), state_cell(value) if name == "state" else cell(value))
    if job.result is not None:
        table.add_row("result", cell(display.pretty_json(job.result, limit=2_000).replace("\n", " ")))
    return table


def timeline_table(entries: Sequence[TimelineEntry]) -> Table:
    table = _table("Timeline", "when", "after", "event", "attempt", "worker", "details", numbers=("after", "attempt"))
    for entry in entries:
        table.add_row(
            f"{entry.at:%Y-%m-%d %H:%M:%S}.{entry.at.microsecond // 1000:03}",
            "" if entry.after is None else f"+{display.duration(entry.after)}",
            cell(entry.edge),
            str(entry.attempt),
            cell(entry.worker),
            cell(display.one_line(entry.detail)),
        )
    return table


# -- operations ----------------------------------------------------------------------------------


def refusals(refused: dict[UUID, str]) -> list[str]:
    """One line per job while they are few, one per reason when they are many."""
    if len(refused) <= 20:
        return [f"{job_id}: {display.refusal(reason)}" for job_id, reason in refused.items()]
    return [f"{count} jobs: {display.refusal(reason)}" for reason, count in Counter(refused.values()).most_common()]


def differences_table(differences: Sequence[Difference]) -> Table:
    table = _table("Ledger and broker", "queue", "missing", "ghosts", "seen", numbers=("missing", "ghosts"))
    for difference in differences:
        table.add_row(
            cell(difference.queue),
            str(len(difference.missing)),
            str(len(difference.ghosts)),
            "all" if difference.complete else "the first 100,000",
        )
    return table
