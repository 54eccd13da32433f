"""What is counted: outcomes and failures by minute, their sums, and the measures of processes."""

from __future__ import annotations

from django.db import models


class JobOutcomes(models.Model):
    """How jobs ended, counted per queue, actor and partition."""

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

    class Meta:
        abstract = True


class JobMinute(JobOutcomes):
    """Outcomes counted by minute. Each process adds to rows of its own; the dispatcher folds old ones.

    One row for all processes would make every batch of outcomes wait for every other.
    """

    id = models.BigAutoField(primary_key=True)
    minute = models.DateTimeField()
    source_id = models.BigIntegerField(help_text="The process that counts; 0 after folding.")
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


class JobTotal(JobOutcomes):
    """What JobMinute counted before `TotalsMark.until`, summed: totals cost the same after years, for any tenant."""

    id = models.BigAutoField(primary_key=True)
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
