"""Worker processes, and who of them leads."""

from __future__ import annotations

from django.db import models


class WorkerProcess(models.Model):
    """One worker process and its last beat, by the database's clock."""

    id = models.BigIntegerField(primary_key=True)
    name = models.CharField(max_length=200)
    host = models.CharField(max_length=200, help_text="Host, boot and process namespace: where `pid` means something.")
    pid = models.IntegerField()
    pid_started = models.CharField(max_length=40, blank=True, default="", help_text="Tells a reused pid apart.")
    queues = models.JSONField(default=list)
    actors = models.JSONField(default=list)
    version = models.CharField(max_length=64, blank=True, default="", db_default="", help_text="Of the application.")
    threads = models.IntegerField()
    busy = models.IntegerField(default=0)
    unwritten = models.IntegerField(default=0)
    writer_lag = models.FloatField(default=0, db_default=0, help_text="Seconds that the oldest of these has waited.")
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    buried_at = models.DateTimeField(null=True, help_text="Judged silent: its jobs were rescued; it must exit.")
    stopped_at = models.DateTimeField(null=True)
    drain_requested_at = models.DateTimeField(null=True, help_text="Asked to finish what it has, and to exit.")
    memory = models.BigIntegerField(null=True, help_text="Bytes that it and its children take, at its last beat.")
    peak_memory = models.BigIntegerField(null=True, help_text="Most bytes that it and its children were seen to take.")
    exit_code = models.IntegerField(null=True, help_text="As its master reaped it; empty if nobody did.")
    exit_signal = models.IntegerField(null=True)

    class Meta:
        default_permissions = ("view",)
        permissions = [("drain_worker", "Can ask workers to finish and exit")]

    def __str__(self) -> str:
        return self.name


class Lease(models.Model):
    """Who leads. Taken and renewed by the database's clock; also says when a periodic job is due."""

    name = models.CharField(max_length=64, primary_key=True)
    holder = models.BigIntegerField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class SweepReport(models.Model):
    """The last sweep that came to its end, and the last that had something to mend. One row, for people."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    ended_at = models.DateTimeField()
    seconds = models.FloatField()
    pending = models.BigIntegerField(help_text="Jobs that it compared with the ready sets.")
    republished = models.BigIntegerField(help_text="Jobs that no ready set held.")
    mended_at = models.DateTimeField(null=True)
    mended = models.BigIntegerField(default=0, help_text="What the last sweep published that had something to mend.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.ended_at:%F %T}"
