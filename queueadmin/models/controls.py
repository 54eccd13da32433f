"""What operators set: for a queue, for a partition, for a periodic job."""

from __future__ import annotations

from django.db import models


class QueueControl(models.Model):
    """What operators set for one queue."""

    queue = models.CharField(max_length=64, primary_key=True)
    paused_at = models.DateTimeField(null=True)
    paused_by = models.CharField(max_length=150, blank=True, default="")
    reason = models.TextField(blank=True, default="")
    resume_at = models.DateTimeField(null=True, help_text="When the dispatcher resumes it by itself.")
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
            ("pause_periodic", "Can pause and resume periodic jobs"),
        ]

    def __str__(self) -> str:
        return self.queue


class PeriodicControl(models.Model):
    """A periodic job that operators have paused: its row is there as long as it is."""

    actor = models.CharField(max_length=200, primary_key=True)
    paused_at = models.DateTimeField()
    paused_by = models.CharField(max_length=150)
    reason = models.TextField(blank=True, default="")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.actor


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
