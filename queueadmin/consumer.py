"""The consumer: from popped ids to claimed jobs in the hands of Dramatiq's worker threads."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from django.db import DatabaseError, InterfaceError
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.message import Message
from dramatiq.middleware import SkipMessage

from queueadmin import lines, lookup, tracing
from queueadmin.admission import LOOK_SECONDS
from queueadmin.context import describe, enter_job
from queueadmin.decisions import Decision, without_decision
from queueadmin.exceptions import BrokerUnavailable, JobError, PermanentJobError
from queueadmin.hand import Held
from queueadmin.jobs import Ready
from queueadmin.ledger import Taken
from queueadmin.ready import ReadySets
from queueadmin.worker import WorkerRuntime

logger = logging.getLogger(__name__)

DRAMATIQ_QUEUE = "jobs"
"""The one queue that Dramatiq knows."""

_NORMAL_FIRST_EVERY = 8
_PAUSE_SECONDS = 0.5
_CREDIT_SECONDS = 0.25
_ASIDE_SECONDS = 1.0
"""How long ids that this worker cannot run now are kept before others are offered them."""


class JobSkipped(PermanentJobError):
    """A middleware skipped the job."""

    code = "skipped"


class JobMessage(MessageProxy):
    """A claimed job as Dramatiq's worker threads see it, and what became of it."""

    def __init__(self, held: Held, runtime: WorkerRuntime) -> None:
        job = held.job
        throws = runtime.actors[job.actor].options.get("throws", ())
        throws = throws if isinstance(throws, tuple) else (throws,)
        message: Message[Any] = Message(
            queue_name=DRAMATIQ_QUEUE,
            actor_name=job.actor,
            args=tuple(job.payload.get("args", ())),
            kwargs=dict(job.payload.get("kwargs", {})),
            # Dramatiq warns about results when no Results middleware is loaded and `pipe_target` is None;
            # it logs errors of the types in `throws` without a traceback, which the event keeps.
            options={"pipe_target": False, "throws": (JobError, *throws)},
            message_id=str(job.id),
        )
        super().__init__(message)
        self.job, self.context = job, held.context
        self._held = held
        self.decision: Decision | None = None
        self.result: Any = None
        self._runtime = runtime
        self._traced: tracing.Attempt | None = None

    def begin(self) -> None:
        """Bind the thread to the job. Raises SkipMessage when the job was given back before it started."""
        if not self._runtime.hand.start(self.job.token):
            raise SkipMessage("The job was released before a thread was free.")
        enter_job(self.context)
        if tracing.is_on():
            self._traced = self._trace()
        if self._runtime.announces(self._held):
            lines.started(self._held)

    def _trace(self) -> tracing.Attempt | None:
        job = self.job
        return tracing.attempt(
            job.actor,
            parent=self.context.origin.traceparent,
            waited=job.waited_ms / 1000,
            claimed=self._held.claimed,
            attributes={
                "messaging.system": "queueadmin",
                "messaging.destination.name": job.queue,
                "messaging.message.id": str(job.id),
                **describe(),
            },
        )

    def settle(self) -> None:
        """The attempt ended: hand its outcome over, and end its span."""
        self._runtime.settle(self.job.token, self.final_decision)
        if self._traced is not None:
            fault = getattr(self.final_decision(), "fault", None)
            self._traced.end("" if fault is None else fault.code)

    def final_decision(self) -> Decision:
        return self.decision or without_decision(self._exception, self.result)

    def skipped(self) -> None:
        """Another middleware skipped the job. Held by nobody any more, it would otherwise pass for a success."""
        if self._exception is None:
            self.stuff_exception(JobSkipped())


class LedgerConsumer(Consumer):
    """Pops ids, claims them, and hands the rows to the worker threads. Its `__next__` never raises.

    A job that one more crash would convict (a suspect) runs on probation: alone in its process, so that the crash
    convicts the right one and takes no innocent along. It is claimed only when nothing else runs here.
    """

    def __init__(self, runtime: WorkerRuntime, sets: ReadySets) -> None:
        self._runtime = runtime
        self._sets = sets
        self._waiting: list[Held] = []
        self._suspect: Ready | None = None
        self._on_probation: Held | None = None
        self._aside: list[Ready] = []
        self._aside_until = 0.0
        self._turn = 0

    def __next__(self) -> JobMessage | None:
        self._runtime.fetch_looped = time.monotonic()
        try:
            if not self._waiting:
                self._waiting = self._fetch()
            return JobMessage(self._waiting.pop(), self._runtime) if self._waiting else None
        except BrokerUnavailable as error:
            self._back_off("the broker does not answer", error)
        except (DatabaseError, InterfaceError) as error:
            self._runtime.reconnect()
            self._back_off("claims wait for the database", error)
        except Exception as error:
            logger.exception("fetching failed")
            self._back_off("the consumer goes on", error)
        return None

    def _fetch(self) -> list[Held]:
        """The next jobs to hand out, oldest last; empty when there is nothing to do right now."""
        if self._runtime.stopping.is_set():
            self._leave()
            return []
        if self._runtime.claimer.has_unclear:
            return self._hand_out(self._runtime.claimer.clear_up(self._runtime.actors))
        if self._runtime.draining.is_set():
            self._leave()
            return []
        if self._on_probation is not None or self._suspect is not None:
            return self._probation()
        self._put_back()
        ids = self._pop()
        if not ids:
            return []
        if self._runtime.draining.is_set():  # it was asked while these were waited for
            self._aside += [replace(job, given_back=True) for job in lookup.pending(ids)]
            return []
        taken = self._runtime.claimer.claim(ids, self._runtime.actors)
        left = set(ids) - {held.job.id for held in taken.held} - {job.id for job in taken.over_limit}
        if left:
            self._set_aside(left)
        return self._hand_out(taken)

    def _hand_out(self, taken: Taken) -> list[Held]:
        """Oldest last, as they are popped. A suspect comes alone, and is remembered until it is done."""
        if taken.over_limit:
            self._leave_over_limit(taken)
        if len(taken.held) == 1 and taken.held[0].job.crashes >= self._runtime.settings.suspect_from:
            self._on_probation = taken.held[0]
        return taken.held[::-1]

    def _leave_over_limit(self, taken: Taken) -> None:
        """Jobs over their partition's limit leave the line; those of a full queue go back, and it is left alone."""
        self._runtime.admission.found_full({job.queue for job in taken.over_queue})
        try:
            self._sets.park(taken.over_partition)
            self._sets.add(replace(job, given_back=True) for job in taken.over_queue)
        except BrokerUnavailable:  # what was claimed with them is not affected; the sweep lines them up
            self._runtime.sweep_wanted.set()

    def _probation(self) -> list[Held]:
        """Wait until nothing runs here, claim the suspect, and fetch nothing more until it is done."""
        if not self._runtime.hand.wait_until_empty(_PAUSE_SECONDS):
            return []
        suspect, self._suspect, self._on_probation = self._suspect, None, None
        if suspect is None:
            return []
        return self._hand_out(self._runtime.claimer.claim([suspect.id], self._runtime.actors, suspects=True))

    def _pop(self) -> list[UUID]:
        credits = self._runtime.hand.wait_for_credit(_CREDIT_SECONDS)
        admission = self._runtime.admission
        full, queues = admission.some_are_full(), admission.open_queues()
        if not credits:
            return []
        if not queues:
            time.sleep(LOOK_SECONDS if full else _PAUSE_SECONDS)
            return []
        self._turn += 1
        return self._sets.pop(
            self._in_turn(queues),
            count=credits,
            timeout=self._patience(full),
            normal_first=self._turn % _NORMAL_FIRST_EVERY == 0,
        )

    def _in_turn(self, queues: Sequence[str]) -> Sequence[str]:
        """Queues of which this process holds fewest jobs first: Redis gives those of the first that has any.

        So one queue's backlog does not starve the others, and one whose jobs hang leaves threads to them; a queue that
        is alone gets all threads. See docs/adr/0017.
        """
        if len(queues) < 2:
            return queues
        held, first = self._runtime.hand.count_by_queue(), self._turn % len(queues)
        return sorted([*queues[first:], *queues[:first]], key=held.__getitem__)

    def _patience(self, full: bool) -> float:
        """Seconds to wait for the next job: no longer than until something else has to be looked at."""
        if full:
            return LOOK_SECONDS
        return _ASIDE_SECONDS if self._aside else self._runtime.settings.poll_timeout_seconds

    def _set_aside(self, ids: set[UUID]) -> None:
        """Some ids were not claimed. One suspect is this process's next job; the others go back into line soon.

        A locked row waits no longer than whoever holds it; left to the sweep, it would wait for the next regular one.
        """
        known, suspect_from = list(self._runtime.actors), self._runtime.settings.suspect_from
        left = lookup.unclaimed(list(ids), known, suspect_from=suspect_from)
        if left.foreign:
            logger.info("popped jobs of actors that this worker lacks", extra={"count": len(left.foreign)})
        suspects = list(left.suspects)
        if suspects and self._suspect is None:
            self._suspect = suspects.pop(0)
        self._aside += [*left.foreign, *suspects, *left.locked]
        self._aside_until = time.monotonic() + _ASIDE_SECONDS

    def _put_back(self) -> None:
        """If it fails, or this process dies first, the sweep does it."""
        if self._aside and time.monotonic() >= self._aside_until:
            aside, self._aside = self._aside, []
            self._sets.add(aside)

    def _leave(self) -> None:
        """The worker stops: what was popped and not claimed is for others, at once."""
        if self._suspect is not None:
            self._aside.append(self._suspect)
            self._suspect = None
        self._aside_until = 0.0
        self._put_back()
        time.sleep(_PAUSE_SECONDS)

    def _back_off(self, event: str, error: Exception) -> None:
        logger.warning(event, extra={"error": str(error)})
        self._runtime.sweep_wanted.set()
        self._runtime.stopping.wait(_PAUSE_SECONDS)

    def ack(self, message: MessageProxy) -> None:
        """Hand the outcome to the writer; neither waits for the commit nor raises."""
        cast(JobMessage, message).settle()

    nack = ack

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Nothing to do: the drain released what had not started."""

    def close(self) -> None:
        self._sets.close()
