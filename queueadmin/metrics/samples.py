"""From what was read to samples: a metric's name, the values of its labels, and its value."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from queueadmin.inspection import BrokerHealth
from queueadmin.measures import REPUBLISHED, Labels, Reading
from queueadmin.metrics.ledger import ActorTotals, Ledger
from queueadmin.states import TERMINAL, State

_OPEN = [str(state) for state in State if state not in (State.COMPLETED, State.CANCELLED)]
_NOTHING = ActorTotals(
    started=0, completed=0, failed=0, dead_letter=0, cancelled=0, retried=0, released=0, rescued=0
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One value of a metric, or one histogram. `labels` are in the order of the metric's family."""

    name: str
    value: float | Reading
    labels: Labels = ()


def of_ledger(ledger: Ledger, declared: Collection[tuple[str, str]]) -> Iterator[Sample]:
    """What the ledger says. `declared` are the (queue, actor) pairs of this code: they have samples from the start,
    because a rate can only be told between two of them."""
    actors = sorted({*declared, *ledger.totals, *((queue, actor) for queue, actor, _ in ledger.jobs)})
    yield from _of_actors(ledger, actors)
    yield from _of_queues(ledger, {queue for queue, _ in actors})
    yield from _of_workers(ledger)
    yield _gauge("queueadmin_dispatcher_leader", ledger.has_leader)
    yield _gauge("queueadmin_dispatcher_lag_seconds", ledger.dispatcher_lag)
    yield _gauge("queueadmin_snapshot_duration_seconds", ledger.duration)
    if ledger.oldest_transaction is not None:
        yield _gauge("queueadmin_oldest_transaction_seconds", ledger.oldest_transaction)
    yield from _of_readings(ledger)


def _of_actors(ledger: Ledger, actors: Iterable[tuple[str, str]]) -> Iterator[Sample]:
    for queue, actor in actors:
        for state in _OPEN:
            yield _gauge("queueadmin_jobs", ledger.jobs.get((queue, actor, state), 0), queue, actor, state)
        totals = ledger.totals.get((queue, actor), _NOTHING)
        yield _gauge("queueadmin_jobs_started_total", totals.started, queue, actor)
        yield _gauge("queueadmin_jobs_retried_total", totals.retried, queue, actor)
        yield _gauge("queueadmin_jobs_released_total", totals.released, queue, actor)
        yield _gauge("queueadmin_jobs_rescued_total", totals.rescued, queue, actor)
        for state in sorted(TERMINAL):
            yield _gauge("queueadmin_jobs_finished_total", getattr(totals, state), queue, actor, str(state))
    for key, count in ledger.failures.items():
        yield _gauge("queueadmin_failures_total", count, *key)


def _of_queues(ledger: Ledger, named: Iterable[str]) -> Iterator[Sample]:
    alive = [worker for worker in ledger.workers if worker.state == "alive"]
    served = {queue for worker in alive for queue in worker.queues}
    for queue in sorted({*named, *served, *ledger.paused}):
        yield _gauge("queueadmin_oldest_waiting_seconds", ledger.oldest_waiting.get(queue, 0.0), queue)
        yield _gauge("queueadmin_queue_paused", queue in ledger.paused, queue)
        yield _gauge("queueadmin_queue_workers", sum(queue in worker.queues for worker in alive), queue)


def _of_workers(ledger: Ledger) -> Iterator[Sample]:
    alive = [worker for worker in ledger.workers if worker.state == "alive"]
    yield _gauge("queueadmin_workers", len(alive), "alive")
    yield _gauge("queueadmin_workers", sum(worker.is_silent for worker in ledger.workers), "silent")
    busy = sum(worker.busy for worker in alive)
    yield _gauge("queueadmin_worker_threads", busy, "busy")
    yield _gauge("queueadmin_worker_threads", max(0, sum(worker.threads for worker in alive) - busy), "idle")
    yield _gauge("queueadmin_unwritten_outcomes", sum(worker.unwritten for worker in alive))
    yield _gauge("queueadmin_writer_lag_seconds", max((worker.writer_lag for worker in alive), default=0.0))
    known = {actor for worker in alive for actor in worker.actors}
    for (_, actor, state), count in ledger.jobs.items():
        if state == State.PENDING and actor not in known:
            yield _gauge("queueadmin_unknown_actor_jobs", count, actor)


def _of_readings(ledger: Ledger) -> Iterator[Sample]:
    """What processes measured: counters by their total, histograms whole."""
    if not any(reading.name == REPUBLISHED for reading in ledger.readings):
        yield _gauge(REPUBLISHED, 0)
    for reading in ledger.readings:
        value = reading if reading.buckets else reading.total
        yield Sample(name=reading.name, labels=reading.labels, value=value)


def of_broker(health: BrokerHealth, memory: tuple[int, int] | None, ready: dict[str, int]) -> Iterator[Sample]:
    """What the broker says; `memory` is used bytes and the limit, `ready` ids by queue."""
    yield _gauge("queueadmin_broker_up", health.up)
    if health.latency_ms is not None:
        yield _gauge("queueadmin_broker_latency_seconds", health.latency_ms / 1000)
    if memory is not None:
        yield _gauge("queueadmin_broker_memory_used_bytes", memory[0])
        yield _gauge("queueadmin_broker_memory_limit_bytes", memory[1])
    for queue, count in sorted(ready.items()):
        yield _gauge("queueadmin_ready_jobs", count, queue)


def _gauge(name: str, value: float, *labels: str) -> Sample:
    return Sample(name=name, labels=labels, value=float(value))
