"""The subcommands of `manage.py queue` that change something. Each returns whether everything asked for was done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from uuid import UUID

from django.core.management import call_command, get_commands
from django.core.management.base import CommandError
from django.utils import timezone

from queueadmin import inspection, operations, search, selectors
from queueadmin.broker import get_ledger_broker
from queueadmin.conf import queue_settings
from queueadmin.management import tables
from queueadmin.management.looking import terms_of
from queueadmin.management.shell import Options, Shell, ids_of, who, wrong_command_line
from queueadmin.models import Job
from queueadmin.operations import CANCEL_REQUESTED, OperationResult
from queueadmin.states import State

_SELECTS = ("state", "queue", "actor", "tenant", "document", "user", "batch", "error", "since", "until")
_CHOSEN_STATES = {"dead_letter": State.DEAD_LETTER, "failed": State.FAILED, "cancelled": State.CANCELLED}
MOST = 100_000
"""Jobs of a selection that are operated on unless --limit says otherwise."""
_SO_ALREADY: dict[str, tuple[str, ...]] = {
    "queued again": (State.PENDING,),
    "cancelled, or asked to stop": (State.CANCELLED, CANCEL_REQUESTED),
    "discarded": (State.CANCELLED,),
}
"""What an operation makes of jobs -> why it leaves alone those that are so already, which is no failure."""
_Act = Callable[..., OperationResult]


def retry(shell: Shell, options: Options) -> bool:
    """Queue jobs again: those named, or those that a selection finds."""
    act: _Act = partial(operations.retry, now=options["now"])
    return _on_jobs(shell, options, act, what="Queueing again", done="queued again")


def cancel(shell: Shell, options: Options) -> bool:
    """Stop jobs. A selection is shown first and confirmed."""
    return _on_jobs(
        shell, options, operations.cancel, what="Cancelling", done="cancelled, or asked to stop", asks="cancel"
    )


def discard(shell: Shell, options: Options) -> bool:
    """Give dead letters up. A selection is shown first and confirmed."""
    return _on_jobs(shell, options, operations.discard, what="Discarding", done="discarded", asks="discard")


def _on_jobs(shell: Shell, options: Options, act: _Act, *, what: str, done: str, asks: str = "") -> bool:
    is_selection = _is_selection(options)
    wanted = _selected(options) if is_selection else ids_of(options["ids"])
    if not wanted:
        return _report(shell, OperationResult(log_id=None, done=()), done, empty="No such jobs.")
    if asks and is_selection and not options["yes"]:
        warning = f"{len(wanted)} {_jobs(len(wanted))} will be changed: {asks}."
        if not shell.confirm([warning], asks):
            shell.err.write("Nothing was changed.")
            return False
    with shell.progress(what, len(wanted)) as on_progress:
        result = act(wanted, on_progress=on_progress, **who(options))
    return _report(shell, result, done)


def _is_selection(options: Options) -> bool:
    """Whether jobs are selected, not named. Raises CommandError for both and for neither."""
    selects = bool(_states(options) or options["search"] or any(options.get(name) for name in _SELECTS))
    if options["ids"] and (selects or options["limit"] is not None):
        raise wrong_command_line(
            "Name jobs by their ids, or select them by options, not both: ids are taken as they are. Nothing was "
            "changed. To narrow a selection to some ids: --search id:ID,ID."
        )
    if not options["ids"] and not selects:
        raise wrong_command_line("Say which jobs: ids, or a selection such as --dead-letter or --search; see --help.")
    return selects


def _states(options: Options) -> list[str]:
    return [state.value for name, state in _CHOSEN_STATES.items() if options.get(f"is_{name}")]


def _selected(options: Options) -> list[UUID]:
    """The jobs that the options find, the oldest first."""
    states = _states(options)
    terms = {**options, "search": [*([f"state:{','.join(states)}"] if states else []), *options["search"]]}
    found = search.everything(terms_of(terms), now=timezone.now())
    return list(found.order_by("pk").values_list("pk", flat=True)[: options["limit"] or MOST])


def _report(shell: Shell, result: OperationResult, done: str, *, empty: str = "") -> bool:
    """Say what was done and what was left alone; False when some of that is not as it was asked to be."""
    is_so = all(reason in _SO_ALREADY[done] for reason in result.refused.values())
    if shell.as_json:
        refused = {str(job_id): reason for job_id, reason in result.refused.items()}
        shell.print_json({"log_id": result.log_id, "done": result.done, "refused": refused})
        return is_so
    if result.done:
        shell.console.print(f"{len(result.done)} {_jobs(len(result.done))} {done}.")
    elif empty:
        shell.console.print(empty)
    for line in tables.refusals(result.refused):
        shell.err.write(f"left alone, {line}")
    return is_so


def _jobs(count: int) -> str:
    return "job" if count == 1 else "jobs"


# -- on queues -----------------------------------------------------------------------------------


def purge(shell: Shell, options: Options) -> bool:
    """Cancel every pending job of a queue."""
    return _empty(shell, options, [options["queue"]])


def flush(shell: Shell, options: Options) -> bool:
    """Cancel every pending job of a queue, or of all queues."""
    return _empty(shell, options, [] if options["queue"] is None else [options["queue"]])


def _empty(shell: Shell, options: Options, queues: list[str]) -> bool:
    """Empty `queues`, or all, after asking. The word to type is the queue's name, so that nobody empties another."""
    depths = {summary.name: summary.pending for summary in selectors.queues()}
    for queue in queues:
        if queue not in depths:
            raise operations.UnknownQueue(queue, list(depths))
    chosen = {queue: depth for queue, depth in depths.items() if depth and queue in (queues or depths)}
    warnings = [f"{depth} pending {_jobs(depth)} of {queue} will be cancelled." for queue, depth in chosen.items()]
    if chosen and not options["yes"] and not shell.confirm(warnings, queues[0] if queues else "flush"):
        shell.err.write("Nothing was flushed.")
        return False
    results = []
    for queue, depth in chosen.items():
        with shell.progress(f"Cancelling {queue}", depth) as on_progress:
            results.append(operations.purge(queue, on_progress=on_progress, **who(options)))
    if shell.as_json:
        shell.print_json([asdict(result) for result in results])
        return True
    cancelled = sum(result.changed for result in results)
    shell.console.print(f"{cancelled} pending {_jobs(cancelled)} cancelled." if chosen else "Nothing was pending.")
    return True


def drain_worker(shell: Shell, options: Options) -> bool:
    """Ask workers to finish what they have, and to exit."""
    found = [operations.find_worker(wanted) for wanted in options["workers"]]
    results = [operations.drain_worker(worker.id, **who(options)) for worker in found]
    if shell.as_json:
        shell.print_json([asdict(result) for result in results])
    else:
        for result in results:
            state = "finishes what it has, and exits" if result.changed else "was asked already, or has ended"
            shell.console.print(tables.cell(f"{result.worker} {state}."))
    return True


def repair(shell: Shell, options: Options) -> bool:
    """Publish what the broker lacks; with --dry-run, only show the differences."""
    if options["dry_run"]:
        return _show_differences(shell)
    with shell.progress("Comparing", None) as on_progress:
        swept = operations.repair(on_progress=on_progress, **who(options))
    if shell.as_json:
        shell.print_json(asdict(swept))
    else:
        shell.console.print(f"{swept.republished} of {swept.pending} pending jobs were missing and are published.")
    return True


def _show_differences(shell: Shell) -> bool:
    sets = get_ledger_broker().ready_sets
    sets.ping()
    found = [inspection.compare(sets, queue) for queue in selectors.known_queues()]
    if shell.as_json:
        shell.print_json([asdict(difference) for difference in found])
    else:
        shell.console.print(tables.differences_table(found))
    return True


def cleanup(shell: Shell, options: Options) -> bool:
    """Remove what has outlived its retention, by the command of the application, which knows what belongs to a job."""
    name = queue_settings().cleanup_command
    if name not in get_commands():
        raise CommandError("This project has no clean-up: set QUEUEADMIN['CLEANUP_COMMAND'] to a management command.")
    asks = options["include_dead_letters"] and not (options["dry_run"] or options["yes"])
    if asks and not _may_clean(shell, options):
        return False
    arguments = [f"--hours={options['hours']}"] if options["hours"] is not None else []
    arguments += [f"--{option.replace('_', '-')}" for option in ("dry_run", "include_dead_letters", "json")
                  if options[option]]  # fmt: skip
    call_command(name, *arguments, stdout=shell.out, stderr=shell.err)
    return True


def _may_clean(shell: Shell, options: Options) -> bool:
    """Ask before dead letters are emptied: unlike all else that a clean-up removes, they wait for a decision."""
    found = Job.objects.filter(state=State.DEAD_LETTER, cleaned_at=None)
    age = "older than the retention of completed jobs"
    if options["hours"] is not None:
        found = found.filter(finished_at__lt=timezone.now() - timedelta(hours=options["hours"]))
        age = f"older than {options['hours']:g} h"
    warning = f"Dead letters {age} will be emptied, at most {found.count():,}: they cannot be run again."
    if shell.confirm([warning], "cleanup"):
        return True
    shell.err.write("Nothing was removed.")
    return False
