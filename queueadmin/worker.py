"""What runs beside Dramatiq's threads in every worker process: the writer, the beat, the dispatcher.

Worker threads need no database connection of their own: the consumer claims, the writer commits,
the beat does the rest.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connection
from dramatiq import Actor

from queueadmin import context, decisions, lifecycle, lines, lookup, measure_rows, presence
from queueadmin.admission import Admission
from queueadmin.conf import QueueSettings
from queueadmin.context import Progress
from queueadmin.dispatch import Chore, Dispatcher
from queueadmin.hand import Hand, Held
from queueadmin.ids import new_worker_id
from queueadmin.jobs import Claim, Outcome
from queueadmin.ledger import Claimer, Writer
from queueadmin.measures import Measures
from queueadmin.memory import PeakMemory
from queueadmin.metering import OutcomeMeter
from queueadmin.publisher import Publisher
from queueadmin.ready import ReadySets
from queueadmin.sanitize import Unrecordable, clean_json

logger = logging.getLogger(__name__)

EXIT_BURIED = 70
"""Exit code of a worker that learns that its jobs were given to others."""

_STALLED_SECONDS = 7.0
"""A writer or consumer that has not looped for this long is stuck: the beat stops vouching for it."""
_FLUSH_SECONDS, _LAST_SECONDS = 4.0, 0.5
"""How long a stop waits for the writer: while the worker beats, so that nobody takes it for dead, and after that."""
_MEASURES_SECONDS = 5.0
"""How often measures are written: a scrape needs them no fresher, and a killed process loses no more of them."""
_FINISHING, _STOPPING = 0.55, 0.1
"""Parts of the shutdown budget in which running jobs may finish, and then stop. Joining the threads (JOINING of it)
comes after, and what is left is for the consumer's last look at Redis and for committing what is unwritten."""
JOINING = 0.7


def leave_in_order() -> None:
    """End this worker as a deployment would: SIGTERM to its master, which then ends with exit code 0.

    Signalled alone, the worker would end as well, and its master would call that an unexpected death.
    """
    master = multiprocessing.parent_process()
    if master is None or master.pid is None:
        logger.warning("this worker is no process of its own, and stays without jobs")
        return
    os.kill(master.pid, signal.SIGTERM)


class WorkerRuntime:
    """Everything this worker process holds. Made at worker boot, stopped at shutdown."""

    def __init__(
        self,
        settings: QueueSettings,
        *,
        sets: ReadySets,
        publisher: Publisher,
        actors: Mapping[str, Actor[Any, Any]],
        queues: Sequence[str],
        threads: int,
        chores: Sequence[Chore] = (),
        leave: Callable[[], None] = leave_in_order,
    ) -> None:
        self.settings = settings
        self.actors = actors
        self.queues = queues
        self.identity = presence.identify(new_worker_id(), name=settings.worker_name)
        self.hand = Hand(threads=threads)
        self.admission = Admission(queues)
        self.claimer = Claimer(
            self.hand,
            worker_id=self.identity.id,
            suspect_from=self.settings.suspect_from,
            limits=lambda: self.admission.limits,
        )
        self.stopping, self.draining = threading.Event(), threading.Event()
        self._leave, self._has_left = leave, False
        self.sweep_wanted = threading.Event()
        self.measures = Measures()
        self.writer = Writer(
            worker_id=self.identity.id,
            publisher=publisher,
            max_unwritten=settings.max_unwritten,
            on_doubt=self.sweep_wanted.set,
            on_written=self._written,
            on_refused=self._refused,
            is_urgent=self._frees_a_place,
        )
        self.fetch_looped = time.monotonic()
        self._meter = OutcomeMeter(self.measures) if settings.measures else None
        self._publisher = publisher
        self._beat = BeatThread(self)
        self._dispatcher = Dispatcher(
            self.identity,
            settings=settings,
            sets=sets,
            publisher=publisher,
            actors=actors,
            sweep_wanted=self.sweep_wanted,
            is_healthy=self.is_healthy,
            beats_on_time=self.beats_on_time,
            measures=self.measures,
            chores=chores,
        )

    # -- life --------------------------------------------------------------------------------

    def start(self) -> None:
        context.name_worker(self.identity.name)
        presence.register(
            self.identity,
            queues=self.queues,
            actors=self.actors,
            threads=self.hand.threads,
            version=self.settings.version,
        )
        self.admission.refresh()
        connection.close()
        _spare_the_collector()
        self.writer.start()
        self._beat.start()
        self._dispatcher.start()
        logger.info("worker started", extra={"queues": self.queues, "threads": self.hand.threads})

    def drain(self) -> None:
        """An operator asks this worker to go: take nothing more, give back what has not started, let what runs end,
        however long it takes, and then exit. Asked again with every beat.
        """
        if not self.draining.is_set():
            logger.info("this worker was asked to drain", extra={"in_hand": len(self.hand)})
            self.draining.set()
            for held in self.hand.take_unstarted(older_than=0):
                self._give_back(held, reason="drained")
        if not (self._has_left or self.stopping.is_set() or len(self.hand) or self.claimer.has_unclear):
            self._has_left = True
            logger.info("this worker is drained and exits")
            self._leave()

    def shut_down(self) -> None:
        """Begin the shutdown: take nothing more, give back what has not started, and bound what runs."""
        self.stopping.set()
        for held in self.hand.take_unstarted(older_than=0):
            self._give_back(held, reason="shutdown")
        threading.Thread(target=self._bound_running, name="queueadmin-shutdown", daemon=True).start()

    def _bound_running(self) -> None:
        """Let running jobs finish; late in the budget ask them to stop; at its end give them back."""
        budget = self.settings.shutdown_seconds
        if self.hand.wait_until_empty(_FINISHING * budget):
            return
        for held in self.hand.running():
            held.context.cancel.set("shutdown")
        self.hand.wait_until_empty(_STOPPING * budget)
        for held in self.hand.take_all():
            self._give_back(held, reason="shutdown")

    def stop(self) -> None:
        """End the shutdown: commit every outcome, give up the lead, say goodbye."""
        for held in self.hand.take_all():
            self._give_back(held, reason="shutdown")
        self.writer.flush(_FLUSH_SECONDS)
        self._dispatcher.stop()
        self._beat.stop()
        flushed = self.writer.end(_LAST_SECONDS)
        try:
            self.write_measures()
            presence.mark_stopped(self.identity.id)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("the worker could not sign off", extra={"error": str(error)})
        finally:
            connection.close()
        logger.info("worker stopped", extra={"flushed": flushed})
        context.name_worker("")

    def abandon(self) -> None:
        """This worker was judged dead, or can write no outcome: its jobs belong to others.

        Children that run a job die with the process: they ask the kernel for it when they start.
        """
        logger.critical("this worker is buried or cannot write; it exits")
        for held in self.hand.take_all():
            held.context.cancel.set("abandoned")
        logging.shutdown()
        os._exit(EXIT_BURIED)

    # -- jobs --------------------------------------------------------------------------------

    def settle(self, token: UUID, decide: Callable[[], decisions.Decision]) -> None:
        """The attempt ended: hand its outcome to the writer, unless the job was given back meanwhile."""
        held = self.hand.find(token)
        if held is None:
            return
        outcome = _safe_outcome(decide, held)
        self.writer.put(outcome)
        self.hand.settle(token)
        lines.ended(held, outcome, announced=self.announces(held))

    def announces(self, held: Held) -> bool:
        """Whether the log tells of attempts of this job that go well."""
        return bool(self.actors[held.job.actor].options.get("announced"))

    def release(self, held: Held, *, reason: str) -> None:
        """Give a job back that has not started."""
        if self.hand.settle(held.job.token) is not None:
            self._give_back(held, reason=reason)

    def release_late(self) -> None:
        """Give back what has waited too long for a thread."""
        for held in self.hand.take_unstarted(older_than=self.settings.unstarted_seconds):
            self._give_back(held, reason="no thread became free")

    def _give_back(self, held: Held, *, reason: str) -> None:
        outcome = lifecycle.release(held.job, reason=reason)
        self.writer.put(outcome)
        if held.started is not None:
            lines.ended(held, outcome, announced=False)

    def _written(self, batch: Sequence[Outcome]) -> None:
        """Outcomes are committed: measure them, and let the next ones of limited queues and partitions run."""
        if self._meter is not None:
            self._meter(batch)
        self._free_places(batch)

    def _refused(self, outcome: Outcome, error: Exception) -> None:
        """No outcome of this job can be stored: it must neither be held for ever nor run for ever."""
        lifecycle.give_up(
            outcome.job,
            why=type(error).__name__,
            worker_id=self.identity.id,
            max_crashes=self.settings.max_crashes,
        )
        self._free_places([outcome])

    def _free_places(self, batch: Sequence[Outcome]) -> None:
        freed = self.admission.ended(outcome.job for outcome in batch)
        for (queue, partition), count in freed.items():
            self._publisher.unpark(queue, partition, count)

    def _frees_a_place(self, outcome: Outcome) -> bool:
        """Whether a limit lets another job run as soon as this outcome is committed."""
        return bool(self.admission.limits) and bool(
            self.admission.limits.of(outcome.job.queue, outcome.job.partition_key)
        )

    def reconnect(self) -> None:
        """Drop the calling thread's connection, so that its next query opens a new one."""
        connection.close()

    def write_measures(self) -> None:
        readings = self.measures.unwritten()
        measure_rows.write(self.identity.id, readings)
        self.measures.mark_written(readings)

    def is_healthy(self) -> bool:
        """Whether writer and consumer have looped lately: only then may the beat vouch for them."""
        now = time.monotonic()
        return now - self.writer.looped < _STALLED_SECONDS and now - self.fetch_looped < _STALLED_SECONDS

    def beats_on_time(self) -> bool:
        """Whether this process's own beats were on time for as long as it takes to condemn another."""
        return self._beat.on_time_for(self.settings.silent_seconds)


def _spare_the_collector() -> None:
    """Leave what is loaded by now out of garbage collection.

    Django and the actors are some 110,000 objects that live as long as the process; looking through
    them took 50 ms each time, a fifth of the processor time of short jobs.
    """
    gc.collect()
    gc.freeze()


def _safe_outcome(decide: Callable[[], decisions.Decision], held: Held) -> Outcome:
    """The attempt's outcome, whatever the actor left behind: a job without one would be held for ever."""
    try:
        return outcome_of(decide(), held)
    except Exception as error:
        logger.exception("an attempt's outcome could not be made out", extra={"job_id": str(held.job.id)})
        return lifecycle.fail(
            held.job, code="internal_error", message=f"The outcome could not be read: {type(error).__name__}."
        )


def outcome_of(decision: decisions.Decision, held: Held) -> Outcome:
    """The outcome that writes a decision; one that cannot be stored becomes a failure that says so."""
    job, detail = held.job, _detail(held)
    match decision:
        case decisions.Complete(result=result):
            try:
                return lifecycle.complete(job, result=None if result is None else clean_json(result), detail=detail)
            except Unrecordable as error:
                return lifecycle.fail(job, code=error.code, message=str(error), detail=detail)
        case decisions.RetryLater(fault=fault, delay=delay):
            evidence = detail | {"delay": round(delay, 3)} | _evidence(fault)
            return lifecycle.retry_later(
                job, delay=delay, code=fault.code, message=fault.message, fingerprint=fault.fingerprint, detail=evidence
            )
        case decisions.Fail(fault=fault):
            evidence = detail | _evidence(fault)
            return lifecycle.fail(
                job, code=fault.code, message=fault.message, fingerprint=fault.fingerprint, detail=evidence
            )
        case decisions.Bury(fault=fault):
            evidence = detail | _evidence(fault)
            return lifecycle.bury(
                job, code=fault.code, message=fault.message, fingerprint=fault.fingerprint, detail=evidence
            )
        case decisions.Release(reason=reason):
            return lifecycle.release(job, reason=reason)
        case decisions.Stop():
            return lifecycle.stop(job, detail=detail)


def _evidence(fault: decisions.Fault) -> dict[str, Any]:
    """What the event of a failed attempt says of it."""
    evidence = {"code": fault.code, "message": fault.message}
    return evidence | {"traceback": fault.traceback} if fault.traceback else evidence


def _detail(held: Held) -> dict[str, Any]:
    """What the event of this attempt says: how long it ran, and the actor's notes where they can be stored.

    A note named `seconds` does not stand: measures and log lines count on a number, and the writer would die of a text.
    """
    ran = 0.0 if held.started is None else time.monotonic() - held.started
    detail: dict[str, Any] = {"seconds": round(ran, 4)}
    if held.context.notes:
        try:
            detail |= clean_json(held.context.notes) | detail
        except Unrecordable as error:
            detail["notes"] = str(error)
    return detail


class BeatThread(threading.Thread):
    """Once a second: beat, obey cancellations, give back strangers and late jobs, write progress."""

    def __init__(self, runtime: WorkerRuntime, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name="queueadmin-beat", daemon=True)
        self._runtime = runtime
        self._clock = clock
        self._halt = threading.Event()
        self._beats: deque[float] = deque(maxlen=600)
        self._memory = PeakMemory()
        self._strangers: set[UUID] = set()
        self._reported: dict[UUID, Progress] = {}
        self._measures_due = clock() + _MEASURES_SECONDS

    def stop(self) -> None:
        self._halt.set()
        self.join(timeout=2.0)

    def on_time_for(self, seconds: float) -> bool:
        """Whether every beat of the last `seconds` came without a gap of more than three beats."""
        now, allowed = self._clock(), 3 * self._runtime.settings.beat_seconds
        recent = [at for at in list(self._beats) if at > now - seconds - allowed]
        gaps = [later - earlier for earlier, later in zip(recent, [*recent[1:], now], strict=False)]
        return bool(recent) and recent[0] <= now - seconds and max(gaps) <= allowed

    def run(self) -> None:
        try:
            while not self._halt.wait(self._runtime.settings.beat_seconds):
                try:
                    self._tick()
                except (DatabaseError, InterfaceError) as error:
                    logger.warning("a beat was missed", extra={"error": str(error)})
                    connection.close()
                except Exception:
                    # A thread that ends here would leave a worker that nobody cancels, drains or replaces.
                    logger.exception("a beat failed")
        finally:
            connection.close()

    def _tick(self) -> None:
        runtime = self._runtime
        if not runtime.writer.is_alive() and not runtime.stopping.is_set():
            runtime.abandon()
        runtime.release_late()
        if runtime.is_healthy():
            self._vouch()
        elif presence.is_buried(runtime.identity.id):
            runtime.abandon()
        self._compare()
        self._write_progress()
        if self._clock() >= self._measures_due:
            runtime.write_measures()
            self._measures_due = self._clock() + _MEASURES_SECONDS
        runtime.admission.refresh()

    def _vouch(self) -> None:
        runtime = self._runtime
        asked = presence.beat(
            runtime.identity.id,
            busy=len(runtime.hand.running()),
            unwritten=len(runtime.writer.tokens()),
            writer_lag=runtime.writer.lag(),
            memory=self._memory.sample(),
        )
        if asked is None:
            runtime.abandon()
        self._beats.append(self._clock())
        if asked is not None and asked.to_drain:
            runtime.drain()

    def _compare(self) -> None:
        """Hold the ledger's view against this process's: pass on cancellations, give back strangers.

        A stranger is a claim whose reply was lost. It is released when two beats in a row see it,
        because a claim or an outcome may be on its way while the ledger is read.
        """
        runtime = self._runtime
        known = runtime.hand.tokens() | runtime.writer.tokens()
        strangers: dict[UUID, Claim] = {}
        for row in lookup.held_by(runtime.identity.id):
            held = runtime.hand.find(row["token"])
            if held is not None and row["cancel"]:
                held.context.cancel.set("cancelled")
            if row["token"] not in known:
                strangers[row["token"]] = Claim(id=row["id"], token=row["token"])
        known = runtime.hand.tokens() | runtime.writer.tokens()
        confirmed = [claim for token, claim in strangers.items() if token in self._strangers and token not in known]
        self._strangers = set(strangers) - {claim.token for claim in confirmed}
        # The whole job, not its id alone: one that was to be cancelled ends by this, and its follow-up is owed.
        for job in lifecycle.recover_claims(confirmed) if confirmed else ():
            logger.warning("a claim that nobody holds is released", extra={"job_id": str(job.id)})
            runtime.writer.put(lifecycle.release(job, reason="claim reply lost"))

    def _write_progress(self) -> None:
        reports = {
            held.job.id: (held.job.id, held.job.attempt, held.context.progress)
            for held in self._runtime.hand.running()
            if held.context.progress is not None
        }
        changed = [report for job, report in reports.items() if self._reported.get(job) != report[2]]
        ended = set(self._reported) - set(reports)
        if changed:
            presence.write_progress(changed)
        if ended:
            presence.clear_progress(ended)
        self._reported = {job: report[2] for job, report in reports.items()}
