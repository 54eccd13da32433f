"""Retries and dead letters as Dramatiq middleware: pure decisions, no I/O.

Dramatiq swallows what a hook raises. So a hook only leaves its decision on the message; the
broker reads it afterwards, and an exception without a decision counts as a failure.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from dramatiq.middleware import Middleware

from queueadmin.conf import queue_settings
from queueadmin.decisions import Backoff, Bury, Fail, decide, stop_when_exhausted

if TYPE_CHECKING:
    from dramatiq.broker import Broker, MessageProxy

    from queueadmin.consumer import JobMessage


class RetryMiddleware(Middleware):
    """Decides what a raised error means: again after a backoff, or a permanent failure.

    Actor options: `min_backoff_seconds`, `max_backoff_seconds` (defaults in QUEUEADMIN), `throws`
    (Dramatiq's own: errors of these types are logged without a traceback).
    """

    def __init__(self, *, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter

    @property
    def actor_options(self) -> set[str]:
        return {"min_backoff_seconds", "max_backoff_seconds", "throws"}

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        if exception is None:
            return
        held = cast("JobMessage", message)
        held.decision = decide(
            exception,
            failures=held.job.failures + 1,
            backoff=self._backoff(broker, held.job.actor),
            fraction=self._jitter(),
            cancel_reason=held.context.cancel.reason,
        )
        if isinstance(held.decision, Fail):
            held.fail()

    def _backoff(self, broker: Broker, actor: str) -> Backoff:
        options, settings = broker.get_actor(actor).options, queue_settings()
        return Backoff(
            minimum=options.get("min_backoff_seconds", settings.min_backoff_seconds),
            maximum=options.get("max_backoff_seconds", settings.max_backoff_seconds),
        )


class DeadLetterMiddleware(Middleware):
    """Decides when to stop retrying: after `max_attempts` failures the job becomes a dead letter.

    Actor option: `max_attempts` (default in QUEUEADMIN). Stands before RetryMiddleware in the
    list, because Dramatiq calls the after-hooks in reverse order.
    """

    @property
    def actor_options(self) -> set[str]:
        return {"max_attempts"}

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        held = cast("JobMessage", message)
        held.decision = stop_when_exhausted(
            held.decision, failures=held.job.failures + 1, max_attempts=held.job.max_attempts
        )
        if isinstance(held.decision, Bury):
            held.fail()
