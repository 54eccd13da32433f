"""What people do to workers: ask one to finish what it has, and to exit."""

from __future__ import annotations

from typing import Unpack

from queueadmin import presence, selectors
from queueadmin.audit import Who, audited
from queueadmin.operations.results import UnknownWorker, WorkerResult
from queueadmin.selectors import Worker


def find_worker(wanted: str | int) -> Worker:
    """A worker that has not ended, by its name or number. Raises UnknownWorker, also when several have the name."""
    known = [worker for worker in selectors.workers() if worker.state != "buried"]
    found = [worker for worker in known if str(wanted) in (worker.name, str(worker.id))]
    if len(found) == 1:
        return found[0]
    shown = str(wanted)[:80]
    if found:
        numbers = ", ".join(str(worker.id) for worker in found)
        raise UnknownWorker(f"{len(found)} workers are called {shown!r}: say which number, {numbers}.")
    names = ", ".join(repr(worker.name[:80]) for worker in known) or "none"  # as literals: they go to terminals
    raise UnknownWorker(f"There is no worker {shown!r} that has not ended. Workers: {names}.")


def drain_worker(worker_id: int, **who: Unpack[Who]) -> WorkerResult:
    """Ask a worker to take nothing more, to finish what it has, and to exit with code 0.

    It learns of it with its next beat, and what it has may take as long as it takes. Whatever supervises it starts a
    new one in its place. Raises UnknownWorker.
    """
    worker = find_worker(worker_id)
    with audited("drain_worker", worker.name, 1, **who) as log:
        log.done = int(presence.ask_to_drain(worker.id))
        log.detail = {"worker": str(worker.id)}
    return WorkerResult(log_id=log.pk, worker_id=worker.id, worker=worker.name, changed=bool(log.done))
