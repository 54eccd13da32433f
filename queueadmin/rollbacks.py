"""Work that PostgreSQL rolled back for the sake of somebody else's is done again, where that is safe.

Deadlocks and serialisation failures are nobody's fault and say for certain that nothing was done. A connection that
broke says nothing: the work may have been committed, so it is repeated only if its second time would change nothing.
Workers need none of this: their threads repeat everything until it is written (`ledger`, `dispatch`).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import Error, InterfaceError, InternalError, OperationalError, connection

logger = logging.getLogger(__name__)

T = TypeVar("T")

_TRIES = 3
_PAUSE_SECONDS = 0.02
_ROLLED_BACK = frozenset({"40001", "40P01"})
"""serialization_failure and deadlock_detected: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_ENDED = ("08", "57P", "25P03")
"""What the codes begin with when the session has ended: connection exceptions, shutdowns and restarts, and a session
that was idle in its transaction for too long."""


def run_despite_rollbacks(work: Callable[[], T], *, repeatable: bool = False) -> T:
    """Run `work`, which is one statement or one transaction, up to three times; returns what it returns.

    It is run again when PostgreSQL rolled it back because of other transactions and, if it is `repeatable`, when the
    connection was lost; not when none could be made, for which others have waited long enough. Inside a caller's
    transaction it runs once: the rollback took the caller's work, too.
    """
    if connection.in_atomic_block or connection.vendor != "postgresql":
        return work()
    for attempt in range(1, _TRIES):
        was_open = connection.connection is not None
        try:
            return work()
        except (OperationalError, InterfaceError, InternalError) as error:
            code = _code(error)
            lost = was_open and _is_lost(code, error)
            if code not in _ROLLED_BACK and not (lost and repeatable):
                raise
            logger.warning("a transaction is run again", extra={"error": type(error).__name__, "code": code or ""})
            if lost:
                connection.close()
            time.sleep(attempt * _PAUSE_SECONDS * (1 + random.random()))  # noqa: S311  # only so that two do not meet again
    return work()


def _code(error: Error) -> str | None:
    """PostgreSQL's code for it; None when it was the driver that noticed."""
    code: str | None = getattr(error.__cause__, "sqlstate", None)
    return code


def _is_lost(code: str | None, error: Error) -> bool:
    return code.startswith(_ENDED) if code else isinstance(error, OperationalError | InterfaceError)
