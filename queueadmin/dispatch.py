"""The dispatcher: one thread per worker process, of which the holder of a lease leads.

It promotes what is due, rescues what silent workers held, publishes what the ready sets lack, and
starts periodic jobs. Each step is a guarded edge or an idempotent write, so two leaders at once
(a paused process that wakes up) do no harm; the lease only saves work.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, InterfaceError, connection, transaction

from queueadmin import lifecycle, lookup, measure_rows, minutes, presence
from queueadmin.conf import QueueSettings
from queueadmin.exceptions import BrokerUnavailable
from queueadmin.jobs import order_key_now
from queueadmin.measures import Measures
from queueadmin.parking import Parking
from queueadmin.publisher import Publisher
from queueadmin.ready import ReadySets
from queueadmin.sweep import Sweeper

if TYPE_CHECKING:
    from dramatiq import Actor

logger = logging.getLogger(__name__)

LEASE_NAME = "dispatcher"
_LEASE_SECONDS = 6.0
_RENEW_SECONDS = 2.0
_RESCUE_SECONDS = 1.0
_EVIDENCE_SECONDS = 1.0
"""A rescue waits this long for the master of a dead worker to say how it died; usually that takes 50 ms."""
_EPOCH_SECONDS = 2.0
_PARKED_SECONDS = 0.5
_PERIODIC_SECONDS = 5.0
_MAINTENANCE_SECONDS = 60.0
_PROMOTE_BATCH = 500
_RESCUE_BATCH = 500
_HURRY_SECONDS = 0.02
"""Between two steps while jobs wait for a sweep."""
_FORGET_WORKERS_HOURS = 15 * 24.0
"""A little longer than the events of failed jobs are kept: their history names the worker of each attempt."""


def lost_workers(
    *,
    silent_seconds: float,
    judge_is_sound: bool,
    me: presence.Identity,
    evidence_seconds: float = 0.0,
    now: datetime | None = None,
) -> list[int]:
    """Bury the workers that are gone, and name every worker whose claims must be rescued.

    A worker of this host whose process is gone is lost at once. One that is merely silent is lost
    after `silent_seconds`, and only if the judge's own beats were on time all the while: when the
    database was away, everybody was silent. Whoever reaps the worker gets `evidence_seconds` to say how it died.
    """
    for worker in presence.living(now=now):
        if worker.id == me.id:
            continue
        if worker.host == me.host and presence.started(worker.pid) not in ("", worker.pid_started):
            presence.bury(worker.id, silent_for=0, now=now)
        elif judge_is_sound and worker.silent_for >= silent_seconds:
            presence.bury(worker.id, silent_for=silent_seconds, now=now)
    holding = lookup.holding_workers()  # before the living: who registers and claims in between is no orphan
    living = {worker.id for worker in presence.living(now=now)} | {me.id}
    lost = [worker for worker in holding if worker not in living]
    waited_for = presence.unexplained(seconds=evidence_seconds) if lost and evidence_seconds else frozenset()
    return [worker for worker in lost if worker not in waited_for]


@dataclass(frozen=True, kw_only=True)
class Chore:
    """Upkeep of the application's that the leading dispatcher does itself: short, and harmless when done twice.

    For what a periodic actor is too heavy for: it would leave a job in the ledger each time, also for doing nothing.
    """

    name: str
    every_seconds: float
    run: Callable[[], object]


class Timetable:
    """When each step is due next. Steps are named; `due` answers and moves the step on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}

    def due(self, step: str, every: float) -> bool:
        now = self._clock()
        if now < self._next.get(step, 0.0):
            return False
        self._next[step] = now + every
        return True


class Dispatcher(threading.Thread):
    """Leads when it holds the lease; otherwise waits for it."""

    def __init__(
        self,
        me: presence.Identity,
        *,
        settings: QueueSettings,
        sets: ReadySets,
        publisher: Publisher,
        actors: Mapping[str, Actor[Any, Any]],
        sweep_wanted: threading.Event,
        is_healthy: Callable[[], bool],
        beats_on_time: Callable[[], bool],
        measures: Measures | None = None,
        chores: Sequence[Chore] = (),
    ) -> None:
        """`is_healthy` and `beats_on_time` say of this process whether it may lead, and whether it may judge others.

        Whoever meets a fault sets `sweep_wanted`.
        """
        super().__init__(name="queueadmin-dispatcher", daemon=True)
        self._me = me
        self._settings = settings
        self._sets = sets
        self._publisher = publisher
        self._actors = actors
        self._chores = chores
        self._sweep_wanted = sweep_wanted
        self._is_healthy = is_healthy
        self._beats_on_time = beats_on_time
        self._measures = measures or Measures()
        self._halt = threading.Event()
        self._timetable = Timetable()
        self._parking = Parking(sets)
        self._sweeper = Sweeper(sets, every_seconds=settings.sweep_seconds, measures=self._measures)
        self.leads = False

    def stop(self) -> None:
        self._halt.set()
        self.join(timeout=2.0)

    def run(self) -> None:
        try:
            while not self._halt.wait(_HURRY_SECONDS if self._sweeper.hurries else self._settings.promote_seconds):
                self._guarded(self._step)
            if self.leads:
                self._guarded(lambda: presence.give_up(LEASE_NAME, holder=self._me.id))
        finally:
            connection.close()

    def _guarded(self, step: Callable[[], None]) -> None:
        """Run a step; a server that is away costs this turn only."""
        try:
            step()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("the dispatcher waits for the database", extra={"error": str(error)})
            connection.close()
            # What a step committed although its reply was lost has not been published.
            self._want_sweep()
            self._halt.wait(1.0)
        except BrokerUnavailable as error:
            logger.warning("the dispatcher waits for the broker", extra={"error": str(error)})
            self._want_sweep()
            self._halt.wait(1.0)
        except Exception:
            # A thread that ends here would hold the lead by its lease only, and then nobody would promote.
            logger.exception("a step of the dispatcher failed")
            self._halt.wait(1.0)

    def _step(self) -> None:
        if self._timetable.due("lease", _RENEW_SECONDS):
            self.leads = self._take_lead()
        if not self.leads:
            self._sweeper.forget()
            self._pass_on_wish()
            return
        self._promote()
        if self._timetable.due("rescue", _RESCUE_SECONDS):
            self._rescue()
        if self._timetable.due("parked", _PARKED_SECONDS):
            self._parking.look(thoroughly=self._timetable.due("all parked", self._settings.sweep_seconds))
        if self._timetable.due("periodic", _PERIODIC_SECONDS):
            self._start_periodic()
        if self._timetable.due("maintenance", _MAINTENANCE_SECONDS):
            self._maintain()
        self._sweep()
        self._do_chores()

    def _pass_on_wish(self) -> None:
        """A fault was met here, but another process sweeps: tell it through Redis."""
        if self._sweep_wanted.is_set():
            self._sets.ask_for_sweep()
            self._sweep_wanted.clear()

    def _want_sweep(self) -> None:
        self._sweeper.forget()
        self._sweep_wanted.set()

    def _take_lead(self) -> bool:
        """Take or keep the lead, unless this process is stuck: it could judge nobody, and nobody could judge it."""
        me = self._me.id
        if self._is_healthy():
            return presence.acquire(LEASE_NAME, holder=me, seconds=_LEASE_SECONDS)
        if self.leads:
            presence.give_up(LEASE_NAME, holder=me)
        return False

    def _promote(self) -> None:
        while lookup.something_due():
            promoted = lifecycle.promote(limit=_PROMOTE_BATCH, order_key=order_key_now())
            if not self._publisher.publish(promoted):
                self._sweep_wanted.set()
            if len(promoted) < _PROMOTE_BATCH:
                return

    def _rescue(self) -> None:
        lost = lost_workers(
            silent_seconds=self._settings.silent_seconds,
            judge_is_sound=self._beats_on_time(),
            me=self._me,
            evidence_seconds=_EVIDENCE_SECONDS,
        )
        if not lost:
            return
        rescued = 0
        while moved := lifecycle.rescue(
            lost,
            worker_id=self._me.id,
            max_crashes=self._settings.max_crashes,
            limit=_RESCUE_BATCH,
        ):
            rescued += moved
        logger.warning("jobs of lost workers were rescued", extra={"workers": lost, "jobs": rescued})
        self._sweep_wanted.set()

    def _sweep(self) -> None:
        if self._timetable.due("epoch", _EPOCH_SECONDS) and self._sets.epoch_is_new():
            self._sweep_wanted.set()
        self._sweeper.step(self._sweep_wanted)

    def _start_periodic(self) -> None:
        """Send each periodic actor whose lease ran out: the lease lasts as long as the period.

        A paused one keeps its lease untaken, so that it runs as soon as it is resumed, if it is due by then.
        """
        paused = lookup.paused_periodic()
        for actor in list(self._actors.values()):
            every = actor.options.get("every_seconds")
            if every and actor.actor_name not in paused:
                self._send_when_due(actor, every)

    def _send_when_due(self, actor: Actor[Any, Any], every: float) -> None:
        with transaction.atomic():  # a lease taken for a job that was not sent would skip a period
            if presence.acquire_when_free(f"periodic:{actor.actor_name}"[:64], seconds=every):
                actor.send_with_options(unique_key=f"periodic:{actor.actor_name}")

    def _do_chores(self) -> None:
        """Last of all: what they raise ends this turn, and nothing of the ledger's own waits for them."""
        for chore in self._chores:
            if self._timetable.due(f"chore:{chore.name}", chore.every_seconds):
                chore.run()

    def _maintain(self) -> None:
        minutes.fold()
        minutes.sum_up()
        measure_rows.fold()
        presence.forget_workers(older_than_hours=_FORGET_WORKERS_HOURS)
        presence.clear_stray_progress()
