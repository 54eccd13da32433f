"""The control plane's own pages inside Django's admin. GET only ever shows; POST acts, through `operations`."""

from __future__ import annotations

from queueadmin.views.changed_retry import retry_changed
from queueadmin.views.job import job_page
from queueadmin.views.job_operations import JOB_OPERATIONS, MAX_JOBS, confirm_jobs, ids_of, operate_on_jobs
from queueadmin.views.queue_operations import QUEUE_OPERATIONS
from queueadmin.views.queues import operate_on_queue, queue_page

__all__ = [
    "JOB_OPERATIONS",
    "MAX_JOBS",
    "QUEUE_OPERATIONS",
    "confirm_jobs",
    "ids_of",
    "job_page",
    "operate_on_jobs",
    "operate_on_queue",
    "queue_page",
    "retry_changed",
]
