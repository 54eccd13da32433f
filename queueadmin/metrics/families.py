"""The metrics by name: what each means, its unit, and the labels by which it is told apart.

Names and labels are a promise to whoever has dashboards and alerts on them: tests/queueadmin/test_metrics.py freezes
them, and docs/operations.md lists them. There is no label for tenants, who may be thousands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from queueadmin.measures import JOB_RUN, JOB_STAGE, JOB_WAIT, REPUBLISHED


@dataclass(frozen=True, kw_only=True)
class Family:
    """One metric. The values of a counter come with its full name, which ends with `_total`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


def counter(name: str, text: str, *labels: str) -> Family:
    return Family(name=name, kind="counter", help=text, labels=labels)


def gauge(name: str, text: str, *labels: str) -> Family:
    return Family(name=name, kind="gauge", help=text, labels=labels)


def histogram(name: str, text: str, *labels: str) -> Family:
    return Family(name=name, kind="histogram", help=text, labels=labels)


LEDGER = (
    gauge("queueadmin_jobs", "Jobs by queue, actor and state, of all states but completed and cancelled.",
          "queue", "actor", "state"),
    gauge("queueadmin_oldest_waiting_seconds", "How long the first job in line has been due; 0 when none waits.",
          "queue"),
    counter("queueadmin_jobs_started_total", "Attempts that a worker began.", "queue", "actor"),
    counter("queueadmin_jobs_finished_total", "Jobs that ended: completed, failed, dead_letter or cancelled.",
            "queue", "actor", "state"),
    counter("queueadmin_jobs_retried_total", "Attempts that failed and will be repeated.", "queue", "actor"),
    counter("queueadmin_jobs_released_total", "Attempts given back unfinished, as at a shutdown.", "queue", "actor"),
    counter("queueadmin_jobs_rescued_total", "Attempts whose worker died under them.", "queue", "actor"),
    counter("queueadmin_failures_total",
            "Failed attempts by error code and by what became of the job: retrying, failed or dead_letter.",
            "queue", "actor", "error_code", "state"),
    histogram(JOB_WAIT, "From when a job was due until a worker claimed it.", "queue", "actor"),
    histogram(JOB_RUN, "How long an attempt ran.", "queue", "actor"),
    histogram(JOB_STAGE, "How long a stage of an attempt took.", "actor", "stage"),
    gauge("queueadmin_unknown_actor_jobs", "Pending jobs whose actor no live worker knows.", "actor"),
    gauge("queueadmin_queue_paused", "1 while an operator has paused the queue.", "queue"),
    gauge("queueadmin_queue_workers", "Live worker processes that take jobs from the queue.", "queue"),
    gauge("queueadmin_workers", "Worker processes: alive, or silent and not signed off, for up to an hour.", "state"),
    gauge("queueadmin_worker_threads", "Threads of the live workers, busy or idle.", "state"),
    gauge("queueadmin_unwritten_outcomes", "Outcomes that the live workers have not committed yet."),
    gauge("queueadmin_writer_lag_seconds", "How long the oldest of these has waited."),
    gauge("queueadmin_dispatcher_leader", "1 while some worker leads: promotes, rescues and sweeps."),
    gauge("queueadmin_dispatcher_lag_seconds", "How long a job has been due that was not promoted yet."),
    counter(REPUBLISHED, "Ids that the sweep found missing in the ready sets; 0 while nothing goes wrong."),
    gauge("queueadmin_oldest_transaction_seconds", "Age of the oldest open transaction (PostgreSQL only)."),
    gauge("queueadmin_snapshot_age_seconds", "How long ago the metrics above were read from the ledger."),
    gauge("queueadmin_snapshot_duration_seconds", "How long reading them took."),
)  # fmt: skip
"""Read from the ledger: the same whichever web process is asked; none of them while the database is down."""

SERVERS = (
    gauge("queueadmin_database_up", "1 when the ledger answered this scrape or the last one, a moment ago."),
    gauge("queueadmin_database_latency_seconds", "One round trip to the database."),
    gauge("queueadmin_broker_up", "1 when the broker answered this scrape."),
    gauge("queueadmin_broker_latency_seconds", "One round trip to the broker."),
    gauge("queueadmin_broker_memory_used_bytes", "Memory that the broker uses."),
    gauge("queueadmin_broker_memory_limit_bytes", "Its maxmemory; 0 when it has none."),
    gauge("queueadmin_ready_jobs", "Ids in the broker's ready sets.", "queue"),
)
"""As the process that is asked reaches them."""
