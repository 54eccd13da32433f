"""What people do to the queue: retry, cancel, discard, purge, pause, resume, set limits, repair.

The admin, the API and the command line all come here. Each operation first commits an audit row
that says who wants what, then acts, then completes the row with the outcome: an operation that
dies midway has left its row as "started".
"""

from __future__ import annotations

from queueadmin.audit import Who, shell_user
from queueadmin.operations.batches import BATCH, HIGHEST_PRIORITY, LOWEST_PRIORITY, carry_out
from queueadmin.operations.jobs import cancel, change_priority, discard, eligible, retry, takes, why_not
from queueadmin.operations.limits import MAX_LIMIT, MAX_PARTITION_KEY, set_limit
from queueadmin.operations.queues import pause, purge, repair, resume
from queueadmin.operations.results import (
    CANCEL_REQUESTED,
    CLEANED_UP,
    NOT_FOUND,
    UNIQUE_KEY_HELD,
    Eligibility,
    InvalidLimit,
    LimitResult,
    OperationResult,
    Progress,
    QueueResult,
    UnknownQueue,
)

__all__ = [
    "BATCH",
    "CANCEL_REQUESTED",
    "CLEANED_UP",
    "HIGHEST_PRIORITY",
    "LOWEST_PRIORITY",
    "MAX_LIMIT",
    "MAX_PARTITION_KEY",
    "NOT_FOUND",
    "UNIQUE_KEY_HELD",
    "Eligibility",
    "InvalidLimit",
    "LimitResult",
    "OperationResult",
    "Progress",
    "QueueResult",
    "UnknownQueue",
    "Who",
    "cancel",
    "carry_out",
    "change_priority",
    "discard",
    "eligible",
    "pause",
    "purge",
    "repair",
    "resume",
    "retry",
    "set_limit",
    "shell_user",
    "takes",
    "why_not",
]
