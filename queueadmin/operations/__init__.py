"""What people do to the queue: retry, cancel, discard, purge, pause, drain, resume, set limits, repair, periodic jobs.

The admin, the API and the command line all come here. Each operation first commits an audit row
that says who wants what, then acts, then completes the row with the outcome: an operation that
dies midway has left its row as "started".
"""

from __future__ import annotations

from queueadmin.audit import Who, shell_user
from queueadmin.operations.batches import BATCH, HIGHEST_PRIORITY, LOWEST_PRIORITY, Author, carry_out
from queueadmin.operations.jobs import (
    MAX_ATTEMPTS,
    cancel,
    change_priority,
    discard,
    eligible,
    retry,
    retry_changed,
    takes,
    why_not,
)
from queueadmin.operations.limits import MAX_LIMIT, MAX_PARTITION_KEY, set_limit
from queueadmin.operations.periodic import (
    PeriodicResult,
    pause_periodic,
    resume_periodic,
    run_periodic,
)
from queueadmin.operations.queues import (
    LONGEST_PAUSE,
    drain,
    pause,
    purge,
    repair,
    resume,
    resume_due,
    running,
    wait_until_drained,
)
from queueadmin.operations.results import (
    CANCEL_REQUESTED,
    CLEANED_UP,
    NOT_FOUND,
    UNIQUE_KEY_HELD,
    DepthChanged,
    Eligibility,
    InvalidChange,
    InvalidLimit,
    InvalidTime,
    LimitResult,
    OperationResult,
    Progress,
    QueueResult,
    UnknownPeriodic,
    UnknownQueue,
    UnknownWorker,
    WorkerResult,
)
from queueadmin.operations.workers import drain_worker, find_worker

__all__ = [
    "BATCH",
    "CANCEL_REQUESTED",
    "CLEANED_UP",
    "HIGHEST_PRIORITY",
    "LONGEST_PAUSE",
    "LOWEST_PRIORITY",
    "MAX_ATTEMPTS",
    "MAX_LIMIT",
    "MAX_PARTITION_KEY",
    "NOT_FOUND",
    "UNIQUE_KEY_HELD",
    "Author",
    "DepthChanged",
    "Eligibility",
    "InvalidChange",
    "InvalidLimit",
    "InvalidTime",
    "LimitResult",
    "OperationResult",
    "PeriodicResult",
    "Progress",
    "QueueResult",
    "UnknownPeriodic",
    "UnknownQueue",
    "UnknownWorker",
    "Who",
    "WorkerResult",
    "cancel",
    "carry_out",
    "change_priority",
    "discard",
    "drain",
    "drain_worker",
    "eligible",
    "find_worker",
    "pause",
    "pause_periodic",
    "purge",
    "repair",
    "resume",
    "resume_due",
    "resume_periodic",
    "retry",
    "retry_changed",
    "run_periodic",
    "running",
    "set_limit",
    "shell_user",
    "takes",
    "wait_until_drained",
    "why_not",
]
