"""Waiting for a task's state to change, for many requests at once.

A request that waits holds a thread of the web server, but no connection to the database: one thread asks for all of
them, every few milliseconds and in one statement, as long as anybody waits. The ledger itself is asked, so that this
works without Redis, and whichever process the task runs in. What has changed is read by that thread, too, once for all
who waited for it: woken together, they would queue for the database's few connections.

Threads are few: beyond so many waiting requests the next ones are answered at once, and no tenant gets all the places.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import Error, connection

from documents import selectors
from documents.api.stopping import stop_signal

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 0.02
_LINGER_SECONDS = 1.0
"""How long the asking thread stays without anybody waiting: the next request often follows at once."""
_SHARE = 0.75
"""The part of the places that one tenant may have."""


class NoPlace(Exception):
    """As many requests wait already as may."""


_Found = TypeVar("_Found")


@dataclass(frozen=True, kw_only=True)
class Waited(Generic[_Found]):
    """Whether the task has changed, and how it stands now; None when that has not been read."""

    changed: bool
    found: _Found | None = None


@dataclass(kw_only=True, eq=False)
class _Waiter:
    task_id: UUID
    version: str
    tenant: str
    woken: threading.Event = field(default_factory=threading.Event)
    found: Any = None


class Waiters(Generic[_Found]):
    """The waiting requests of this process. `versions` tells what to compare, for those ids that exist; `read` reads
    tasks that have changed.

    `stopping` says that the process is about to end: then nobody waits any longer.
    """

    def __init__(
        self,
        *,
        places: int,
        versions: Callable[[Collection[UUID]], Mapping[UUID, str]],
        read: Callable[[Collection[UUID]], Mapping[UUID, _Found]],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._places, self._each = places, max(1, int(_SHARE * places))
        self._versions, self._read, self._stopping = versions, read, stopping
        self._lock = threading.Lock()
        self._waiting: set[_Waiter] = set()
        self._asks = False

    def wait(self, task_id: UUID, version: str, *, tenant: str, seconds: float) -> Waited[_Found]:
        """Sleep until the task's version is another one; unchanged when that did not happen within `seconds`.

        The caller's database connection is given back meanwhile. Also returns, as changed and not read, when nobody
        can say any more whether it has: asking the database again then tells why. Raises NoPlace.
        """
        waiter = _Waiter(task_id=task_id, version=version, tenant=tenant)
        with self._lock:
            taken = Counter(other.tenant for other in self._waiting)
            if len(self._waiting) >= self._places or taken[tenant] >= self._each or self._stopping():
                raise NoPlace
            self._waiting.add(waiter)
            if not self._asks:
                self._asks = True
                threading.Thread(target=self._ask, name="long-poll", daemon=True).start()
        connection.close()
        try:
            changed = waiter.woken.wait(seconds)
            return Waited(changed=changed, found=waiter.found)
        finally:
            with self._lock:
                self._waiting.discard(waiter)

    @property
    def count(self) -> int:
        """Requests that wait now."""
        with self._lock:
            return len(self._waiting)

    def _ask(self) -> None:
        """Compare again and again, until nobody has waited for a while."""
        last_seen = time.monotonic()
        try:
            while True:
                with self._lock:
                    waiting = list(self._waiting)
                    if not waiting and time.monotonic() - last_seen > _LINGER_SECONDS:
                        self._asks = False  # under the lock: whoever comes next starts another thread
                        return
                if waiting:
                    last_seen = time.monotonic()
                    self._wake_changed(waiting)
                time.sleep(_EVERY_SECONDS)
        except Exception:
            logger.exception("requests stop waiting: asking for them failed")
            with self._lock:
                self._asks = False
                _wake(self._waiting)
        finally:
            connection.close()

    def _wake_changed(self, waiting: Collection[_Waiter]) -> None:
        if self._stopping():
            _wake(waiting)
            return
        try:
            versions = self._versions({waiter.task_id for waiter in waiting})
            changed = [waiter for waiter in waiting if versions.get(waiter.task_id) != waiter.version]
            found = self._read({waiter.task_id for waiter in changed}) if changed else {}
        except Error as error:
            logger.warning("requests stop waiting: the database does not answer", extra={"error": str(error)})
            connection.close()
            _wake(waiting)
            return
        for waiter in changed:
            waiter.found = found.get(waiter.task_id)
        _wake(changed)


def _wake(waiters: Iterable[_Waiter]) -> None:
    for waiter in waiters:
        waiter.woken.set()


waiters = Waiters(
    places=settings.LONG_POLL_WAITERS,
    versions=selectors.versions,
    read=selectors.followed,
    stopping=stop_signal,
)
"""This process's."""
