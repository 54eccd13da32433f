"""Jobs, what happened to them, and how far they are."""

from __future__ import annotations

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
            # What somebody has to look at is counted by queue and actor on many pages, from this index alone.
            models.Index(
                fields=["state", "queue", "actor"],
                name="job_ended_badly",
                condition=Q(state__in=["dead_letter", "failed"], cleaned_at__isnull=True),
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
