"""Every error of this package. A class's docstring is its default message.

`code` is stable and machine-readable; `retryable` says whether the same job may succeed later.
The retry middleware looks at these two attributes only, so an application's own errors need
not subclass anything of ours.
"""

from __future__ import annotations

import inspect
from uuid import UUID


class QueueAdminError(Exception):
    """Something went wrong in the job queue."""

    code: str = "queue_error"
    retryable: bool = True

    def __init__(self, message: str = "") -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or type(self).__name__))


class ConfigurationError(QueueAdminError):
    """The queue's settings are wrong."""

    code = "configuration_error"
    retryable = False


class JobError(QueueAdminError):
    """The job failed; a later attempt may succeed."""

    code = "job_error"

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        """`retry_after`: seconds to wait at least before the next attempt, as a server asked for."""
        super().__init__(message)
        self.retry_after = retry_after


class PermanentJobError(JobError):
    """The job failed and trying again cannot help."""

    code = "permanent_error"
    retryable = False


class JobCancelled(JobError):
    """The job stopped because it was asked to."""

    code = "cancelled"


class QueueFull(QueueAdminError):
    """The queue is full; try again later."""

    code = "queue_full"

    def __init__(self, queue: str, *, limit: int, retry_after: float) -> None:
        super().__init__(f"The queue {queue} already holds {limit} waiting jobs. Try again later.")
        self.queue, self.limit, self.retry_after = queue, limit, retry_after


class InvalidTransition(QueueAdminError):
    """The job is in a state that this operation does not leave."""

    code = "invalid_transition"
    retryable = False

    def __init__(self, job_id: UUID, state: str, operation: str) -> None:
        super().__init__(f"Job {job_id} is {state}; {operation} does not apply to that state.")
        self.job_id, self.state, self.operation = job_id, state, operation


class BrokerUnavailable(QueueAdminError):
    """The broker (Redis or Valkey) does not answer."""

    code = "broker_unavailable"


class BrokerTooOld(QueueAdminError):
    """The broker is too old: Redis 7 or any Valkey is needed (for BZMPOP)."""

    code = "broker_too_old"
    retryable = False
