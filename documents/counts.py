"""How many jobs stand where, for whoever asks again and again.

What goes on is counted anew each time: it is little, and indexes lead to it. What has ended is not told apart by queue
and tenant in any index, and counting it reads the whole table: a second at a million jobs. So where that is dear, it is
done so seldom that it takes a twentieth of the time at most.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from queueadmin import selectors as ledger
from queueadmin.states import TERMINAL, State

Depths = dict[str, dict[str, int]]
"""Queue name -> jobs by state, every state present."""

_DEAR_SECONDS = 0.25
_SHARE = 20
_LONGEST_SECONDS = 60.0
_MAX_KNOWN = 1_000
_SELDOM = tuple(state.value for state in TERMINAL)


@dataclass(kw_only=True)
class _Known:
    depths: Depths
    until: float


class JobCounts:
    """Current jobs of one actor by queue and state, as one process knows them. Thread-safe."""

    def __init__(
        self, actor: str, *, dear_seconds: float = _DEAR_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._actor, self._dear, self._clock = actor, dear_seconds, clock
        self._lock = threading.Lock()
        self._known: dict[str | None, _Known] = {}

    def of(self, tenant: str | None) -> Depths:
        """Of one tenant, or of all for None: those that go on as of now, those that have ended at most a minute old."""
        known = self._recent(tenant)
        if known is not None:
            return _merged(ledger.live_depths(self._actor, tenant), known)
        started = self._clock()
        depths = ledger.queue_depths(self._actor, tenant)
        self._remember(tenant, depths, took=self._clock() - started)
        return depths

    def _recent(self, tenant: str | None) -> Depths | None:
        with self._lock:
            known = self._known.get(tenant)
            if known is None:
                return None
            if self._clock() < known.until:
                return known.depths
            known.until = self._clock() + _LONGEST_SECONDS  # whoever asks while this request counts need not count, too
            return None

    def _remember(self, tenant: str | None, depths: Depths, *, took: float) -> None:
        with self._lock:
            self._known.pop(tenant, None)
            if took >= self._dear:
                if len(self._known) >= _MAX_KNOWN:
                    self._known.clear()
                until = self._clock() + min(_SHARE * took, _LONGEST_SECONDS)
                self._known[tenant] = _Known(depths=depths, until=until)


def _merged(live: Depths, ended: Depths) -> Depths:
    """What goes on as the first says, what has ended as the second does."""
    nothing = dict.fromkeys((state.value for state in State), 0)
    merged = {
        queue: nothing | {state: ended.get(queue, nothing)[state] for state in _SELDOM} | live.get(queue, {})
        for queue in sorted(set(live) | set(ended))
    }
    return {queue: counts for queue, counts in merged.items() if any(counts.values())}
