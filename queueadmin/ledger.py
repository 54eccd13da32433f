"""Batches: many claims in one statement, many outcomes in one commit.

Each worker process has one `Writer`. Worker threads hand it their outcomes and go on; it commits
what has gathered meanwhile, so the busier the process, the larger the batches and the cheaper
the audit.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, connection

from queueadmin import lifecycle, limits
from queueadmin.hand import Hand, Held
from queueadmin.ids import new_token
from queueadmin.jobs import Claim, Outcome, Ready
from queueadmin.limits import Claimed, Limits
from queueadmin.publisher import Publisher
from queueadmin.states import State

logger = logging.getLogger(__name__)

_MAX_BATCH = 256
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_IDLE_SECONDS = 0.5
_REST_SECONDS, _ENOUGH = 0.1, 64
"""After a commit the writer rests: so long, until so many outcomes have gathered, or until one comes that others wait
for. A commit of one costs as much as one of ten: documents of 10 ms each spent a third of their worker's processor time
on commits of one or two. The first outcome after a quiet while is committed at once."""
_ASIDE_SECONDS = 0.5
"""How long an outcome is put aside whose row somebody has locked."""
_NAMED = 20
"""Jobs whose ids a log line names."""


Clock = Callable[[], datetime | None]
"""The moment that is written as that of a step."""


def _of_the_database() -> None:
    """None: the database's own clock."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What came of popped ids: jobs in hand, and jobs that wait because their partition or queue runs enough."""

    held: list[Held]
    over_partition: tuple[Ready, ...] = ()
    over_queue: tuple[Ready, ...] = ()

    @property
    def over_limit(self) -> tuple[Ready, ...]:
        return self.over_partition + self.over_queue


class Claimer:
    """Turns popped ids into held jobs. Keeps ids that the database would not claim yet."""

    def __init__(
        self,
        hand: Hand,
        *,
        worker_id: int,
        suspect_from: int = 1,
        limits: Callable[[], Limits] = Limits,
        now: Clock = _of_the_database,
    ) -> None:
        """`limits` gives the limits as they were known a moment ago."""
        self._now = now
        self._hand = hand
        self._worker_id = worker_id
        self._suspect_from = suspect_from
        self._limits = limits
        self._unclear: list[Claim] = []

    @property
    def has_unclear(self) -> bool:
        """Whether a claim failed midway: until it is cleared up, nothing more may be popped."""
        return bool(self._unclear)

    def claim(self, ids: Iterable[UUID], actors: Iterable[str], *, suspects: bool = False) -> Taken:
        """Claim `ids`; those that are not pending, not known here, paused or locked are left out.

        Raises DatabaseError or InterfaceError when the database fails; the claims are then unclear
        (the reply may have been lost after the commit) and `clear_up` must be called next.
        """
        claims = [Claim(id=job_id, token=new_token()) for job_id in dict.fromkeys(ids)]
        self._hand.announce(claims)
        self._unclear = claims
        return self._take(claims, self._claim(claims, actors, suspects=suspects))

    def clear_up(self, actors: Iterable[str]) -> Taken:
        """Try the unclear claims again: first find those that succeeded, by token, then claim the rest."""
        claims = self._unclear
        found = lifecycle.recover_claims(claims)
        known = {job.token for job in found}
        rest = [claim for claim in claims if claim.token not in known]
        claimed = self._claim(rest, actors) if rest else Claimed(jobs=())
        return self._take(claims, replace(claimed, jobs=(*found, *claimed.jobs)))

    def _claim(self, claims: list[Claim], actors: Iterable[str], *, suspects: bool = False) -> Claimed:
        return limits.claim(
            claims,
            limits=self._limits(),
            actors=actors,
            worker_id=self._worker_id,
            suspects=suspects,
            suspect_from=self._suspect_from,
            now=self._now(),
        )

    def _take(self, claims: list[Claim], claimed: Claimed) -> Taken:
        self._unclear = []
        return Taken(
            held=self._hand.take(claims, claimed.jobs),
            over_partition=claimed.over_partition,
            over_queue=claimed.over_queue,
        )


class Writer(threading.Thread):
    """Commits outcomes in batches, in the order they came. One per process, with one connection."""

    def __init__(
        self,
        *,
        worker_id: int,
        publisher: Publisher,
        max_unwritten: int,
        on_doubt: Callable[[], object] = lambda: None,
        on_written: Callable[[Sequence[Outcome]], object] = lambda batch: None,
        on_refused: Callable[[Outcome, Exception], object] = lambda outcome, error: None,
        is_urgent: Callable[[Outcome], bool] = lambda outcome: False,
        now: Clock = _of_the_database,
    ) -> None:
        """`on_doubt` is called when something that became due may not have been published, `on_written` with each
        batch that is committed, `on_refused` with an outcome that the database will not store in any form: the writer
        forgets it. `is_urgent` says for which outcomes others wait."""
        super().__init__(name="queueadmin-writer", daemon=True)
        self._on_doubt = on_doubt
        self._on_refused = on_refused
        self._now = now
        self._is_urgent = is_urgent
        self._on_written = on_written
        self._aside: list[Outcome] = []
        self._aside_until = self._end_at = 0.0
        self._worker_id = worker_id
        self._publisher = publisher
        self._room = threading.BoundedSemaphore(max_unwritten)
        self._inbox: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._unwritten: dict[UUID, tuple[UUID, float]] = {}
        self._idle = threading.Condition()
        self._enough = threading.Event()
        self._worthwhile = min(_ENOUGH, max(1, max_unwritten // 4))
        self._rested = 0.0
        self.looped = time.monotonic()

    def put(self, outcome: Outcome) -> None:
        """Hand over an outcome. Waits only when too many are unwritten: a slow database slows the workers."""
        self._room.acquire()
        with self._idle:
            self._unwritten[outcome.job.token] = outcome.job.id, time.monotonic()
        self._inbox.put(outcome)
        if self._inbox.qsize() >= self._worthwhile or self._is_urgent(outcome):
            self._enough.set()

    def tokens(self) -> set[UUID]:
        """Tokens of outcomes that are not committed yet."""
        with self._idle:
            return set(self._unwritten)

    def lag(self) -> float:
        """Seconds that the oldest unwritten outcome has waited."""
        with self._idle:
            oldest = next(iter(self._unwritten.values()), None)
        return 0.0 if oldest is None else time.monotonic() - oldest[1]

    def flush(self, timeout: float) -> bool:
        """Wait until everything is committed; False when that took longer than `timeout` seconds."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._unwritten, timeout)

    def stop(self) -> None:
        """End the thread after what was handed over before."""
        self._inbox.put(None)
        self._enough.set()

    def end(self, seconds: float) -> bool:
        """Stop, and wait up to `seconds` for what cannot be committed yet, because the row is locked or the database
        is away. False when something is left: the log names it, and its jobs are rescued as the dead's are."""
        self._end_at = time.monotonic() + seconds
        self.stop()
        self.join(seconds)
        with self._idle:
            left = [str(job_id) for job_id, _ in self._unwritten.values()]
        if left:
            logger.error(
                "outcomes could not be stored in time: their jobs will run again",
                extra={"count": len(left), "job_ids": left[:_NAMED]},
            )
        return not left

    def run(self) -> None:
        try:
            while not self.turn():
                pass
            self._try_to_the_end()
        finally:
            connection.close()

    def turn(self) -> bool:
        """Commit what has gathered; whether it was the last. What the thread does all the time, and tests step by step.

        Waits a moment when there is nothing.
        """
        batch, last = self._gather()
        if self._aside and (last or time.monotonic() >= self._aside_until):
            batch, self._aside = self._aside + batch, []
        if batch:
            self._write(batch)
            self._rested = time.monotonic() + _REST_SECONDS
        return last

    def _try_to_the_end(self) -> None:
        while self._aside and time.monotonic() < self._end_at - _REST_SECONDS:
            time.sleep(_REST_SECONDS)
            batch, self._aside = self._aside, []
            self._write(batch)

    def _gather(self) -> tuple[list[Outcome], bool]:
        """What has gathered since the last commit: (outcomes, whether to stop after them)."""
        batch: list[Outcome] = []
        try:
            item = self._inbox.get(timeout=_IDLE_SECONDS)
            self._rest()
            while item is not None:
                batch.append(item)
                if len(batch) == _MAX_BATCH:
                    return batch, False
                item = self._inbox.get_nowait()
            return batch, True
        except queue.Empty:
            return batch, False
        finally:
            self.looped = time.monotonic()

    def _rest(self) -> None:
        """Let outcomes gather, unless the last commit is a while ago."""
        self._enough.wait(max(0.0, self._rested - time.monotonic()))
        self._enough.clear()

    def _write(self, batch: Sequence[Outcome]) -> None:
        """Commit a batch; halve it around rows that the database refuses; wait for a database that is away."""
        pause, doubtful = _FIRST_PAUSE, False
        while True:
            try:
                finished = lifecycle.finish(batch, worker_id=self._worker_id, now=self._now())
                left = lifecycle.still_owed(batch) if finished.written < len(batch) else []
                break
            except (DataError, IntegrityError, TypeError, ValueError) as error:  # a row that is no JSON counts, too
                self._split(batch, error)
                return
            except (DatabaseError, InterfaceError) as error:
                logger.warning("outcomes wait for the database", extra={"count": len(batch), "error": str(error)})
            connection.close()
            doubtful = True
            self.looped = time.monotonic()
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)
        self._put_aside(left)
        written = [outcome for outcome in batch if outcome not in left] if left else batch
        self._on_written(written)
        self._written(written)
        if not self._publisher.publish(finished.due) or doubtful:
            self._on_doubt()

    def _put_aside(self, outcomes: Sequence[Outcome]) -> None:
        """Rows that somebody has locked are tried again later; the others of the batch do not wait for them."""
        if outcomes:
            self._aside += outcomes
            self._aside_until = time.monotonic() + _ASIDE_SECONDS

    def _split(self, batch: Sequence[Outcome], error: Exception) -> None:
        """Write the halves of a refused batch, and instead of a single outcome a plainer one."""
        connection.close()
        if len(batch) > 1:
            middle = len(batch) // 2
            self._write(batch[:middle])
            self._write(batch[middle:])
        elif (plain := plainer(batch[0])) is not None:
            self._write([plain])
        else:
            self._forget(batch[0], error)

    def _forget(self, outcome: Outcome, error: Exception) -> None:
        """An outcome is refused that is as plain as can be: all others must not wait for it for ever."""
        logger.error("an outcome is refused by the database", extra={"job_id": str(outcome.job.id)}, exc_info=error)
        try:
            self._on_refused(outcome, error)
        except Exception:  # whatever it is: the writer must go on for the others
            logger.exception("a job without an outcome is left as it is", extra={"job_id": str(outcome.job.id)})
            connection.close()
        self._written([outcome])
        self._on_doubt()

    def _written(self, batch: Sequence[Outcome]) -> None:
        with self._idle:
            for outcome in batch:
                self._unwritten.pop(outcome.job.token, None)
            self._idle.notify_all()
        if batch:
            self._room.release(len(batch))


def plainer(outcome: Outcome) -> Outcome | None:
    """What to store instead of an outcome that the database refuses; None when there is nothing left to leave out.

    First a failure without what the job left behind, whose end is announced; then, because the follow-up itself may be
    what is refused, the failure alone.
    """
    failure = replace(
        outcome, edge="fail", state=State.FAILED, failed=1, result=None, detail=None, delay=0.0, fingerprint="",
        error_code="unrecordable", error_message="The job ended, but its result could not be stored.",
    )  # fmt: skip
    if failure != outcome:
        return failure
    return replace(failure, job=replace(outcome.job, payload={})) if outcome.job.payload else None
