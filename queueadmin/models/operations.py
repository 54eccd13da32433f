"""What people did: the operations log, its chain, and operations on everything that a search finds."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models


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
        indexes = [
            models.Index(fields=["at"], name="operation_at"),
            models.Index(fields=["target", "at"], name="operation_target"),
        ]

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
    """An operation on all jobs of a search or a selection: what was asked for, frozen, and how far it is."""

    id = models.UUIDField(primary_key=True)
    operation = models.CharField(max_length=16)
    search = models.TextField(blank=True, default="", help_text="In the filter language.")
    partition_key = models.CharField(max_length=64, blank=True, default="", help_text="Only this tenant's jobs.")
    as_of = models.DateTimeField(help_text="What the relative times of the search count from.")
    ids = models.JSONField(null=True, help_text="The jobs of a selection, in the place of a search.")
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
        return f"{self.operation} {self.sought}"

    @property
    def sought(self) -> str:
        """What it is about, in words or in the filter language."""
        return self.search or ("all jobs" if self.ids is None else f"{len(self.ids)} selected jobs")
