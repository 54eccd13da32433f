"""Bringing parked jobs back into line when their partitions may run more of them.

Whoever ends a job of a limited partition lines up the next one at once (`Publisher.unpark`). What this misses, because
the limit was raised or lifted, or a worker died, the leading dispatcher does here, twice a second.
"""

from __future__ import annotations

from queueadmin import limits, lookup
from queueadmin.jobs import Ready
from queueadmin.limits import Limits, Running
from queueadmin.ready import BANDS, ReadySets

_PAGE = 1000
_PER_LOOK = 5000
"""Jobs lined up in one look: promoting and rescuing must not wait for more."""


class Parking:
    """Looks after the parked jobs. Remembers what it lined up, so that a busy fleet is not offered ever more."""

    def __init__(self, sets: ReadySets) -> None:
        self._sets = sets
        self._offered: dict[str, list[Ready]] = {}
        self._in_use = True

    def look(self, *, thoroughly: bool) -> int:
        """Line up what may run now; returns how many. Raises BrokerUnavailable.

        Without limits, and with nothing parked when it last looked, it asks Redis only when it looks `thoroughly`: a
        worker that has not heard of a limit's end may park a job after that.
        """
        known = limits.known()
        if not (known or self._in_use or thoroughly):
            return 0
        queues = [queue for queue in lookup.pending_queues() if self._sets.parked_depth(queue)]
        self._in_use = bool(queues)
        if not queues:
            self._offered.clear()
            return 0
        running, done = limits.count_running(), 0
        for queue in queues:
            for band in BANDS:
                for partition in self._sets.parked_partitions(queue, band):
                    if done < _PER_LOOK:
                        done += self._line_up(queue, band, partition, known, running)
        return done

    def _line_up(self, queue: str, band: str, partition: str, known: Limits, running: Running) -> int:
        room = known.room(queue, partition, running)
        offered = self._sets.in_line(self._offered.get(partition, ()))
        wanted = _PAGE if room is None else room - len(offered)
        chosen = self._first(queue, band, partition, wanted)
        self._sets.unpark(chosen)
        self._offered[partition] = [*offered, *chosen] if room is not None else []
        return len(chosen)

    def _first(self, queue: str, band: str, partition: str, wanted: int) -> list[Ready]:
        """The first parked jobs that still wait; others, cancelled meanwhile, are removed on the way."""
        while wanted > 0 and (page := self._sets.parked(queue, band, partition, count=wanted)):
            pending = {job.id: job.order_key for job in lookup.waiting([job.id for job in page])}
            alive = [job for job in page if pending.get(job.id) == job.order_key]
            gone = [job for job in page if job not in alive]
            self._sets.remove(gone)
            if alive:
                return alive
        return []
