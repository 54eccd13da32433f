"""The ledger's tables. State is written by `lifecycle` alone; these classes are for reading."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from queueadmin.states import LIVE, TERMINAL, State

_live = sorted(LIVE)
_terminal = sorted(TERMINAL)


class Job(models.Model):
    """One unit of work and where it stands. Its id is the Dramatiq message id, a UUID version 7.

    Each index is paid for by every transition, so there are as few as the queries need;
    what people search for lives on the application's own immutable request row.
    """

    id = models.UUIDField(primary_key=True)
    queue = models.CharField(max_length=64)
    actor = models.CharField(max_length=200)
    state = models.CharField(max_length=12, choices=State.choices)
    priority = models.SmallIntegerField(default=0)
    order_key = models.BigIntegerField(help_text="Microseconds since 1970 when it became due.")
    partition_key = models.CharField(max_length=64, blank=True, default="", help_text="Whose job it is: a tenant.")
    unique_key = models.CharField(  # noqa: DJ001  (NULL is "no key": empty strings would all be the same key)
        max_length=200, null=True, help_text="At most one live job may hold it."
    )
    parent_id = models.UUIDField(null=True, help_text="The job that this one follows up.")
    payload = models.JSONField(default=dict, help_text="args, kwargs and options; emptied by retention.")
    result = models.JSONField(null=True)

    attempt = models.IntegerField(default=0, help_text="Claims so far; never reset, it names result objects.")
    failures = models.IntegerField(default=0, help_text="Failed attempts of this run.")
    crashes = models.IntegerField(default=0, help_text="Worker deaths under this job in this run.")
    run = models.IntegerField(default=1, help_text="1, and one more with every retry by a person.")
    max_attempts = models.IntegerField()

    run_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    claimed_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    cleaned_at = models.DateTimeField(null=True, help_text="When retention emptied it, leaving the slim audit row.")

    worker_id = models.BigIntegerField(null=True)
    token = models.UUIDField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)

    error_code = models.CharField(max_length=64, blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    fingerprint = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        default_permissions = ("view",)
        permissions = [
            ("retry_job", "Can retry jobs"),
            ("cancel_job", "Can cancel jobs"),
            ("discard_job", "Can discard dead letters"),
            ("purge_job", "Can purge a queue"),
            ("reprioritise_job", "Can change the priority of jobs"),
        ]
        indexes = [
            models.Index(fields=["queue", "order_key", "id"], name="job_ready", condition=Q(state="pending")),
            models.Index(fields=["run_at"], name="job_due", condition=Q(state__in=["retrying", "scheduled"])),
            models.Index(fields=["worker_id"], name="job_held", condition=Q(state="processing")),
            models.Index(
                fields=["state", "finished_at"],
                name="job_finished",
                condition=Q(state__in=_terminal, cleaned_at__isnull=True),
            ),
            models.Index(
                fields=["fingerprint"],
                name="job_fingerprint",
                condition=Q(state__in=["dead_letter", "failed"]),
            ),
            models.Index(fields=["parent_id"], name="job_parent", condition=Q(parent_id__isnull=False)),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["unique_key"],
                name="job_unique_key",
                condition=Q(unique_key__isnull=False, state__in=_live),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.id}"


class JobEvent(models.Model):
    """One edge that a job took. Append-only; no foreign key, which every batch would have to check."""

    id = models.BigAutoField(primary_key=True)
    job_id = models.UUIDField(db_index=True)
    edge = models.CharField(max_length=16)
    attempt = models.IntegerField()
    worker_id = models.BigIntegerField(null=True)
    at = models.DateTimeField()
    detail = models.JSONField(null=True)

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.edge} #{self.attempt}"


class JobProgress(models.Model):
    """How far a running attempt is. A narrow row of its own, because it changes every second."""

    job_id = models.UUIDField(primary_key=True)
    attempt = models.IntegerField()
    stage = models.CharField(max_length=32)
    done = models.BigIntegerField(null=True)
    total = models.BigIntegerField(null=True)
    at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.job_id} {self.stage}"


class WorkerProcess(models.Model):
    """One worker process and its last beat, by the database's clock."""

    id = models.BigIntegerField(primary_key=True)
    name = models.CharField(max_length=200)
    host = models.CharField(max_length=200, help_text="Host, boot and process namespace: where `pid` means something.")
    pid = models.IntegerField()
    pid_started = models.CharField(max_length=40, blank=True, default="", help_text="Tells a reused pid apart.")
    queues = models.JSONField(default=list)
    actors = models.JSONField(default=list)
    threads = models.IntegerField()
    busy = models.IntegerField(default=0)
    unwritten = models.IntegerField(default=0)
    writer_lag = models.FloatField(default=0, db_default=0, help_text="Seconds that the oldest of these has waited.")
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    buried_at = models.DateTimeField(null=True, help_text="Judged silent: its jobs were rescued; it must exit.")
    stopped_at = models.DateTimeField(null=True)
    peak_memory = models.BigIntegerField(null=True, help_text="Most bytes that it and its children were seen to take.")
    exit_code = models.IntegerField(null=True, help_text="As its master reaped it; empty if nobody did.")
    exit_signal = models.IntegerField(null=True)

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.name


class QueueControl(models.Model):
    """What operators set for one queue."""

    queue = models.CharField(max_length=64, primary_key=True)
    paused_at = models.DateTimeField(null=True)
    paused_by = models.CharField(max_length=150, blank=True, default="")
    reason = models.TextField(blank=True, default="")
    concurrency_limit = models.IntegerField(null=True, help_text="Most jobs of it that run at once; empty: no limit.")

    class Meta:
        verbose_name = "queue"
        verbose_name_plural = "queues and workers"
        default_permissions = ("view",)
        permissions = [
            ("pause_queue", "Can pause and resume queues"),
            ("limit_queue", "Can set concurrency limits"),
            ("repair_queue", "Can publish what the broker lacks"),
            ("run_periodic", "Can run periodic jobs now"),
        ]

    def __str__(self) -> str:
        return self.queue


class PartitionLimit(models.Model):
    """How many jobs of one partition may run at once: in one queue, or in all of them together."""

    partition_key = models.CharField(max_length=64)
    queue = models.CharField(max_length=64, blank=True, default="", help_text="Empty: in all queues together.")
    concurrency_limit = models.IntegerField(help_text="0 lets none run.")

    class Meta:
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["partition_key", "queue"], name="partition_limit_key")]

    def __str__(self) -> str:
        return f"{self.partition_key}: {self.concurrency_limit}"


class JobMinute(models.Model):
    """Outcomes counted by minute. Each process adds to rows of its own; the dispatcher folds old ones.

    One row for all processes would make every batch of outcomes wait for every other.
    """

    id = models.BigAutoField(primary_key=True)
    minute = models.DateTimeField()
    source_id = models.BigIntegerField(help_text="The process that counts; 0 after folding.")
    queue = models.CharField(max_length=64)
    actor = models.CharField(max_length=200)
    partition_key = models.CharField(max_length=64, blank=True, default="")
    completed = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    dead_letter = models.BigIntegerField(default=0)
    cancelled = models.BigIntegerField(default=0)
    retried = models.BigIntegerField(default=0)
    released = models.BigIntegerField(default=0)
    rescued = models.BigIntegerField(default=0)
    attempts = models.BigIntegerField(
        default=0, db_default=0, help_text="Claims that ended, in whatever way; started = these + those in hand."
    )
    wait_ms = models.BigIntegerField(default=0, help_text="Sum over outcomes: due to claimed.")
    run_ms = models.BigIntegerField(default=0, help_text="Sum over outcomes: claimed to finished.")

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["minute", "source_id", "queue", "actor", "partition_key"], name="job_minute_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.minute:%F %H:%M} {self.actor}"


class FailureMinute(models.Model):
    """Failed attempts counted by minute and by why they failed: the sources of failure groups and of failure metrics.

    Written with the outcomes, in their transaction, by batches in which an attempt failed; folded like JobMinute (two
    days by minute, then by hour) and deleted after 90 days. `state` is what the failure led to: `retrying`, `failed`
    or `dead_letter`. One job that fails four times counts four times. Rescues of killed workers count here too, with
    the codes `worker_lost` and `poison`.
    """

    id = models.BigAutoField(primary_key=True)
    minute = models.DateTimeField()
    source_id = models.BigIntegerField(help_text="The process that counts; 0 after folding.")
    queue = models.CharField(max_length=64)
    actor = models.CharField(max_length=200)
    partition_key = models.CharField(max_length=64, blank=True, default="")
    state = models.CharField(max_length=12)
    error_code = models.CharField(max_length=64, blank=True, default="")
    fingerprint = models.CharField(max_length=64, blank=True, default="")
    count = models.BigIntegerField()
    example_id = models.UUIDField(help_text="One of the jobs that failed so; retention may have emptied it.")

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "minute", "source_id", "queue", "actor", "partition_key", "state", "error_code", "fingerprint",
                ],
                name="failure_minute_key",
            ),
        ]  # fmt: skip
        indexes = [models.Index(fields=["fingerprint", "minute"], name="failure_fingerprint")]

    def __str__(self) -> str:
        return f"{self.minute:%F %H:%M} {self.actor} {self.error_code}"


class Measure(models.Model):
    """A counter or histogram of one process, in numbers that only grow; source 0 sums up the processes that are gone.

    For durations, and for events that leave no other row. The process replaces its rows every few seconds.
    """

    id = models.BigAutoField(primary_key=True)
    source_id = models.BigIntegerField()
    name = models.CharField(max_length=100)
    labels = models.CharField(max_length=1000, help_text="Values of the labels, as a JSON list.")
    count = models.BigIntegerField()
    total = models.FloatField(help_text="A counter's value; a histogram's sum, in seconds.")
    buckets = models.JSONField(default=list, help_text="Observations per bucket of measures.BOUNDS, not cumulative.")

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["source_id", "name", "labels"], name="measure_key")]

    def __str__(self) -> str:
        return f"{self.name} {self.labels}"


class JobTotal(models.Model):
    """What JobMinute counted before `TotalsMark.until`, summed: totals cost the same after years, for any tenant."""

    id = models.BigAutoField(primary_key=True)
    queue = models.CharField(max_length=64)
    actor = models.CharField(max_length=200)
    partition_key = models.CharField(max_length=64, blank=True, default="")
    completed = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    dead_letter = models.BigIntegerField(default=0)
    cancelled = models.BigIntegerField(default=0)
    retried = models.BigIntegerField(default=0)
    released = models.BigIntegerField(default=0)
    rescued = models.BigIntegerField(default=0)
    attempts = models.BigIntegerField(default=0)
    wait_ms = models.BigIntegerField(default=0)
    run_ms = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["actor", "partition_key", "queue"], name="job_total_key"),
        ]

    def __str__(self) -> str:
        return f"{self.queue} {self.actor} {self.partition_key}"


class FailureTotal(models.Model):
    """What FailureMinute counted before `TotalsMark.until`, summed over tenants and fingerprints."""

    id = models.BigAutoField(primary_key=True)
    queue = models.CharField(max_length=64)
    actor = models.CharField(max_length=200)
    state = models.CharField(max_length=12)
    error_code = models.CharField(max_length=64, blank=True, default="")
    count = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["queue", "actor", "state", "error_code"], name="failure_total_key"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.error_code}"


class TotalsMark(models.Model):
    """Up to which minute the totals have been summed. One row."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    until = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"until {self.until:%F %H:%M}"


class Lease(models.Model):
    """Who leads. Taken and renewed by the database's clock; also says when a periodic job is due."""

    name = models.CharField(max_length=64, primary_key=True)
    holder = models.BigIntegerField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class OperationLog(models.Model):
    """What a person did to the queue: written before the act, completed with its outcome."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    at = models.DateTimeField(auto_now_add=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    by = models.CharField(max_length=200, help_text="Who, in words: a user, an API key, or a shell user.")
    source = models.CharField(
        max_length=16,
        choices=[("admin", "Admin"), ("api", "API"), ("cli", "Command line"), ("system", "System")],
    )
    operation = models.CharField(max_length=32)
    target = models.CharField(max_length=200, blank=True, default="")
    reason = models.TextField(blank=True, default="")
    requested = models.IntegerField(default=0)
    done = models.IntegerField(default=0)
    outcome = models.CharField(max_length=16, default="started")
    detail = models.JSONField(null=True)

    class Meta:
        verbose_name = "operation"
        verbose_name_plural = "operations log"
        default_permissions = ("view",)
        indexes = [models.Index(fields=["at"], name="operation_at")]

    def __str__(self) -> str:
        return f"{self.operation} at {self.at:%Y-%m-%d %H:%M:%S}"


class AuditEntry(models.Model):
    """A link of the audit's chain: what was asked, or how it ended. Append-only; see `audit`."""

    number = models.BigIntegerField(primary_key=True, help_text="1, 2, 3 ... without a gap.")
    operation_id = models.UUIDField(db_index=True)
    kind = models.CharField(max_length=8, choices=[("asked", "Asked"), ("ended", "Ended")])
    at = models.DateTimeField()
    content = models.TextField(help_text="The facts, as the exact text that was hashed.")
    hash = models.CharField(max_length=64, help_text="SHA-256 of the hash before, the number and the content.")

    class Meta:
        default_permissions = ("view",)
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.number} {self.kind}"


class AuditHead(models.Model):
    """The end of the chain, in one row that is locked while an entry is added."""

    number = models.BigIntegerField()
    hash = models.CharField(max_length=64)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


class BulkOperation(models.Model):
    """An operation on all jobs that a search finds: what was asked for, frozen, and how far it is."""

    id = models.UUIDField(primary_key=True)
    operation = models.CharField(max_length=16)
    search = models.TextField(blank=True, default="", help_text="In the filter language.")
    partition_key = models.CharField(max_length=64, blank=True, default="", help_text="Only this tenant's jobs.")
    as_of = models.DateTimeField(help_text="What the relative times of the search count from.")
    newest_id = models.UUIDField(null=True, help_text="The newest job then; later ones are left alone.")
    options = models.JSONField(default=dict)
    state = models.CharField(
        max_length=8,
        choices=[
            ("waiting", "Waiting"),
            ("running", "Running"),
            ("done", "Done"),
            ("aborted", "Aborted"),
            ("failed", "Failed"),
        ],
        default="waiting",
    )
    by = models.CharField(max_length=200)
    source = models.CharField(max_length=16)
    reason = models.TextField(blank=True, default="")
    log_id = models.UUIDField(help_text="Its row in the operations log.")
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    abort_requested_at = models.DateTimeField(null=True)
    expected = models.BigIntegerField(default=0, help_text="Jobs that the dry run counted.")
    cursor = models.UUIDField(null=True, help_text="The last job that was looked at.")
    seen = models.BigIntegerField(default=0)
    done = models.BigIntegerField(default=0)
    refused = models.JSONField(default=dict, help_text="Why the others were left alone: reason -> jobs.")
    job_id = models.UUIDField(null=True, help_text="The job that carries it out.")

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(fields=["created_at"], name="bulk_created")]

    def __str__(self) -> str:
        return f"{self.operation} {self.search}"
