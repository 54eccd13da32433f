"""Broker and ledger side by side: what each says, and where they differ. Reads only.

The ledger is right by definition; a difference is what the next sweep will publish (missing ids),
or what a claim will refuse (ghosts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.utils import timezone

from queueadmin import display, lookup, selectors, sql
from queueadmin.exceptions import BrokerUnavailable, QueueAdminError
from queueadmin.jobs import Ready, order_key_now
from queueadmin.models import Job, QueueControl
from queueadmin.ready import BANDS, ReadySets
from queueadmin.selectors import QueueSummary, Worker
from queueadmin.states import State

_PAGE = 1000
_SCANNED = 100_000
"""Ids per queue and side that a comparison looks at, so that it stays bounded on a huge backlog."""
_YOUNG_MICROSECONDS = 2_000_000
"""A job this young is probably being published by whoever submitted it."""


@dataclass(frozen=True, kw_only=True)
class BrokerHealth:
    """Whether the broker answers. `latency_ms` is one round trip; `error` says why not, without its address."""

    up: bool
    server: str = ""
    latency_ms: float | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """A queue as the ledger and as the broker see it.

    `ready` are the jobs in line, `parked` those that a concurrency limit keeps out of it; None when the broker does not
    answer.
    """

    summary: QueueSummary
    ready: int | None
    parked: int | None = None


@dataclass(frozen=True, kw_only=True)
class Overview:
    """All queues, all workers, and the broker's health."""

    broker: BrokerHealth
    queues: tuple[QueueState, ...]
    workers: tuple[Worker, ...]
    actors: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Actor -> its open jobs by state, of actors that have any."""

    @property
    def alive(self) -> int:
        return sum(worker.state == "alive" for worker in self.workers)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One queue compared id by id. `complete` is False when the backlog was longer than what is looked at."""

    queue: str
    missing: tuple[UUID, ...]
    """Pending in the ledger for more than two seconds, in no ready set."""
    ghosts: tuple[UUID, ...]
    """In a ready set without a pending job; harmless, a claim refuses them."""
    complete: bool


def health(sets: ReadySets) -> BrokerHealth:
    """Ask the broker once; never raises."""
    try:
        latency = sets.ping()
        return BrokerHealth(up=True, server=sets.require_supported(), latency_ms=latency * 1000)
    except BrokerUnavailable as error:
        return BrokerHealth(up=False, error=str(error))
    except QueueAdminError as error:
        return BrokerHealth(up=True, error=str(error))


def overview(sets: ReadySets) -> Overview:
    """The queue page in one value; with the broker down, everything that the ledger knows."""
    broker = health(sets)
    open_jobs = selectors.open_counts()
    summaries = selectors.queues(open_jobs)
    names = [summary.name for summary in summaries] if broker.up else []
    ready, parked = ready_depths(sets, names), parked_depths(sets, names)
    return Overview(
        broker=broker,
        queues=tuple(
            QueueState(summary=summary, ready=ready.get(summary.name), parked=parked.get(summary.name))
            for summary in summaries
        ),
        workers=tuple(selectors.workers()),
        actors=selectors.summed_by("actor", open_jobs),
    )


def ready_depths(sets: ReadySets, queues: list[str]) -> dict[str, int]:
    """Jobs in line, per queue; of those queues that were answered before the broker went away."""
    return _depths(queues, lambda queue: sum(sets.depth(queue).values()))


def parked_depths(sets: ReadySets, queues: list[str]) -> dict[str, int]:
    """Jobs that a concurrency limit keeps out of line, as above."""
    return _depths(queues, sets.parked_depth)


def _depths(queues: list[str], depth: Callable[[str], int]) -> dict[str, int]:
    depths: dict[str, int] = {}
    try:
        for queue in queues:
            depths[queue] = depth(queue)
    except BrokerUnavailable:
        return depths
    return depths


# -- id by id ------------------------------------------------------------------------------------


def compare(sets: ReadySets, queue: str, *, due_before: int | None = None) -> Difference:
    """Compare one queue's pending jobs with its ready sets. Raises BrokerUnavailable."""
    limit = order_key_now() - _YOUNG_MICROSECONDS if due_before is None else due_before
    missing, pending_seen = _missing(sets, queue, limit)
    ghosts, ready_seen = _ghosts(sets, queue)
    return Difference(
        queue=queue,
        missing=tuple(missing),
        ghosts=tuple(ghosts),
        complete=max(pending_seen, ready_seen) < _SCANNED,
    )


def _missing(sets: ReadySets, queue: str, due_before: int) -> tuple[list[UUID], int]:
    found: list[UUID] = []
    seen = 0
    after: tuple[int, UUID] | None = None
    while seen < _SCANNED and (page := lookup.pending_page(queue, after=after, due_before=due_before, limit=_PAGE)):
        for band in BANDS:
            found += [job.id for job in sets.missing([job for job in page if sets.band(job.priority) == band])]
        seen += len(page)
        after = (page[-1].order_key, page[-1].id)
    return found, seen


def _ghosts(sets: ReadySets, queue: str) -> tuple[list[UUID], int]:
    found: list[UUID] = []
    seen = 0
    for page in _ready_pages(sets, queue):
        states = selectors.job_states(page)
        found += [job_id for job_id in page if job_id not in states or states[job_id].state != State.PENDING]
        seen += len(page)
        if seen >= _SCANNED:
            break
    return found, seen


def _ready_pages(sets: ReadySets, queue: str) -> Iterator[list[UUID]]:
    for band in BANDS:
        start = 0
        while page := sets.members(queue, band, start=start, count=_PAGE):
            yield [job_id for job_id, _ in page]
            start += len(page)


# -- one job -------------------------------------------------------------------------------------


def why_waiting(job: Job, sets: ReadySets) -> list[str]:
    """What keeps a waiting job from running, in sentences; empty for a job that does not wait."""
    if job.state in (State.SCHEDULED, State.RETRYING):
        return _not_due(job) + _paused(job.queue) + _nobody_takes(job)
    if job.state != State.PENDING:
        return []
    reasons = _paused(job.queue) + _limited(job) + _nobody_takes(job)
    return reasons + _place_in_line(job, sets)


def _not_due(job: Job) -> list[str]:
    seconds = 0.0 if job.run_at is None else (job.run_at - timezone.now()).total_seconds()
    if seconds <= 0:
        return ["Its time has come; the dispatcher of any live worker promotes it within a second."]
    return [
        (
            f"It is not due before {_moment(job.run_at)}, in {display.duration(seconds)}; "
            "then the dispatcher of any live worker promotes it."
        )
    ]


def _paused(queue: str) -> list[str]:
    control = QueueControl.objects.filter(queue=queue, paused_at__isnull=False).first()
    if control is None:
        return []
    why = f": {display.visible(control.reason, limit=200)}" if control.reason else ""
    until = f" It is resumed by itself at {_moment(control.resume_at)}." if control.resume_at else ""
    return [
        (
            f"Its queue, {display.visible(queue)}, is paused since {_moment(control.paused_at)} "
            f"by {display.visible(control.paused_by)}{why}.{until}"
        )
    ]


def _moment(at: datetime | None) -> str:
    return "" if at is None else f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S %Z}"


def _limited(job: Job) -> list[str]:
    return [_reached(limit) for limit in selectors.limits_reached(job.queue, job.partition_key)]


def _reached(limit: selectors.LimitInForce) -> str:
    if limit.partition is None:
        whose, where = f"Its queue, {limit.queue},", ""
    else:
        whose = f"Its partition, {limit.partition or '(none)'},"
        where = f" in the queue {limit.queue}" if limit.queue else ""
    if limit.limit == 0:
        return f"{whose} may run no jobs{where}: a concurrency limit of 0 is set."
    jobs = "one job" if limit.limit == 1 else f"{limit.limit} jobs"
    return f"{whose} may run {jobs} at once{where}, and does: it waits until one of them ends."


def _nobody_takes(job: Job) -> list[str]:
    alive = [worker for worker in selectors.workers() if worker.state == "alive"]
    if not alive:
        return ["No worker is alive: start one with `manage.py rundramatiq`."]
    takers = [worker for worker in alive if job.queue in worker.queues]
    if not takers:
        return [f"No live worker takes jobs from the queue {job.queue}."]
    if not any(job.actor in worker.actors for worker in takers):
        return [f"No live worker of this queue knows the actor {job.actor}: is an older release running?"]
    return []


def _place_in_line(job: Job, sets: ReadySets) -> list[str]:
    ready = Ready(
        id=job.pk, queue=job.queue, priority=job.priority, order_key=job.order_key, partition_key=job.partition_key
    )
    try:
        rank = sets.rank(ready)
        parked = rank is None and sets.is_parked(ready)
    except BrokerUnavailable:
        return ["The broker does not answer; it is published as soon as the broker is back."]
    if rank is None and parked:
        return ["A concurrency limit keeps it out of line; it is next in line when there is room."]
    if rank is None:
        return ["It is in no ready set at the moment; the next sweep publishes it."]
    return [f"{rank} jobs stand before it in line." if rank != 1 else "One job stands before it in line."]


def stray_claims() -> list[UUID]:
    """Jobs that a worker holds which is silent, buried, stopped or unknown; rescue is due for them."""
    alive = {worker.id for worker in selectors.workers() if worker.state == "alive"}
    strays = [worker for worker in lookup.holding_workers() if worker not in alive]
    return list(Job.objects.filter(state=State.PROCESSING, worker_id__in=strays).values_list("pk", flat=True)[:_PAGE])


def unknown_to_all_workers() -> dict[str, int]:
    """Actor -> pending jobs that no live worker knows. Counted over the current rows."""
    known = {actor for worker in selectors.workers() if worker.state == "alive" for actor in worker.actors}
    rows = sql.query(f"SELECT actor, count(*) AS n FROM {sql.JOB} WHERE state = 'pending' GROUP BY actor")
    return {row["actor"]: int(row["n"]) for row in rows if row["actor"] not in known}
