"""The ledger's tables. State is written by `lifecycle` alone; these classes are for reading."""

from __future__ import annotations

from queueadmin.models.controls import PartitionLimit, PeriodicControl, QueueControl
from queueadmin.models.counters import FailureMinute, FailureTotal, JobMinute, JobTotal, Measure, TotalsMark
from queueadmin.models.jobs import Job, JobEvent, JobProgress
from queueadmin.models.operations import AuditEntry, AuditHead, BulkOperation, OperationLog
from queueadmin.models.workers import Lease, SweepReport, WorkerProcess

__all__ = [
    "AuditEntry",
    "AuditHead",
    "BulkOperation",
    "FailureMinute",
    "FailureTotal",
    "Job",
    "JobEvent",
    "JobMinute",
    "JobProgress",
    "JobTotal",
    "Lease",
    "Measure",
    "OperationLog",
    "PartitionLimit",
    "PeriodicControl",
    "QueueControl",
    "SweepReport",
    "TotalsMark",
    "WorkerProcess",
]
