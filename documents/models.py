"""What was asked for, by whom, and what was announced. Where a task stands is its job's business (queueadmin)."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from queueadmin import display

DEFAULT_TENANT = "default"
"""The tenant of keys that name no other; it owns whatever lies under no other tenant's prefix."""


class Scope(models.TextChoices):
    """What an API key may do."""

    SUBMIT = "submit", "Submit documents"
    READ = "read", "Read tasks, results and counts of its tenant"
    OPERATE = "operate", "Operate queues, retry tasks of its tenant, see the counts of all tenants"


class Tenant(models.Model):
    """Who documents belong to, and the part of the document store that is theirs.

    The prefix is empty for the root (the default tenant) or ends with a slash, so that "acme" never
    reaches into "acme-labs/".
    """

    slug = models.SlugField(max_length=64, primary_key=True)
    key_prefix = models.CharField(
        max_length=512,
        unique=True,
        blank=True,
        help_text='Keys of the document store that are theirs, such as "acme/"; empty for the root.',
    )
    webhook_url = models.CharField(
        max_length=2048,
        blank=True,
        default="",
        db_default="",
        help_text="Where their events go that name no callback URL.",
    )
    requests_per_minute = models.IntegerField(null=True, help_text="API requests; empty: as the settings say, 0: any.")
    documents_per_minute = models.IntegerField(null=True, help_text="Submitted documents, likewise.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        default_permissions = ("view", "change")

    def __str__(self) -> str:
        return self.slug


class TenantMember(models.Model):
    """A person who may look at the tasks of one tenant in the admin, and of no other."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tenant_memberships")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="members")

    class Meta:
        default_permissions = ("view", "add", "delete")
        constraints = [models.UniqueConstraint(fields=["user", "tenant"], name="tenant_member")]

    def __str__(self) -> str:
        return f"{self.user} of {self.tenant_id}"


class WebhookSecret(models.Model):
    """A secret that signs a tenant's webhooks, encrypted. While two are valid, each event carries both signatures."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="webhook_secrets")
    secret = models.TextField(help_text="Encrypted, as documents.encryption does it.")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, help_text="When it stops signing; empty for the newest.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.tenant_id} #{self.pk}"


class DisabledEndpoint(models.Model):
    """An address that answered 410 Gone: nothing more goes there until staff enable it.

    It is known by a digest, because the path or query of a URL may be a secret.
    """

    tenant = models.CharField(max_length=64)
    url_hash = models.CharField(max_length=64, help_text="SHA-256 of the URL, in hex.")
    origin = models.CharField(max_length=300, help_text="Scheme, host and port, to recognise it by.")
    disabled_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ("view", "delete")
        constraints = [models.UniqueConstraint(fields=["tenant", "url_hash"], name="disabled_endpoint_key")]

    def __str__(self) -> str:
        return f"{self.origin} of {self.tenant}"


class ApiKey(models.Model):
    """A key for the API. The key itself is shown once; what is stored cannot be turned back into it."""

    name = models.CharField(max_length=100)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="api_keys")
    prefix = models.CharField(max_length=16, help_text="The key's first characters, to recognise it by.")
    hash = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the key, in hex.")
    scopes = models.JSONField(default=list, help_text="Any of submit, read, operate.")
    all_tenants = models.BooleanField(
        default=False,
        db_default=False,
        help_text="With the scope operate: pauses and purges queues, and sees the dead letters of all tenants.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="Exact to a minute or so.")

    class Meta:
        verbose_name = "API key"
        default_permissions = ("view", "add", "change")

    def __str__(self) -> str:
        return f"{display.visible(self.name)} ({self.prefix}…)"


class Immutable(Exception):
    """An ingestion task is the record of a request and is never changed; only its job moves."""


class IngestionTask(models.Model):
    """The request to ingest one document, as it was accepted. Its id is its job's id.

    Never changed after the insert (retention blanks `metadata` and `callback_url`), so it may carry the
    indexes that people search by: the job, which is written with every transition, carries none of them.
    No foreign key in the database: it would be checked by every insert and locked by every claim.
    """

    job = models.OneToOneField(
        "queueadmin.Job",
        primary_key=True,
        db_column="id",
        db_constraint=False,
        on_delete=models.DO_NOTHING,
        related_name="ingestion_task",
    )
    tenant = models.CharField(max_length=64)
    document_id = models.CharField(max_length=255)
    user_id = models.CharField(max_length=255)
    file_name = models.CharField(max_length=255)
    r2_key = models.CharField(max_length=1024)
    content_type = models.CharField(max_length=255)
    file_size = models.BigIntegerField(null=True, help_text="Bytes, as the client declared them.")
    callback_url = models.CharField(max_length=2048, blank=True, default="")
    priority = models.SmallIntegerField(default=0)
    metadata = models.JSONField(default=dict)
    options = models.JSONField(null=True, help_text="How to read it, where that differs from the service's settings.")
    batch_id = models.UUIDField(null=True, help_text="The batch that it was submitted with.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ("view",)
        permissions = [("view_own_ingestiontask", "Can view the ingestion tasks of their own tenants")]
        indexes = [
            # The id is time-ordered and breaks ties: together they make a cursor for pages.
            models.Index(fields=["tenant", "created_at", "job"], name="task_tenant"),
            models.Index(fields=["document_id", "created_at"], name="task_document"),
            models.Index(fields=["user_id", "created_at"], name="task_user"),
            models.Index(fields=["batch_id", "job"], name="task_batch", condition=Q(batch_id__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.file_name} {self.pk}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert. Raises Immutable for a task that is stored already."""
        if not self._state.adding:
            raise Immutable(Immutable.__doc__)
        super().save(*args, **kwargs)


class Batch(models.Model):
    """Documents that were submitted together. Its counts are those of its tasks' jobs: no row is contended for.

    `completed_at` is set once, when none of its tasks is live any more; a task that is retried later does not take
    it back.
    """

    id = models.UUIDField(primary_key=True)
    tenant = models.CharField(max_length=64)
    accepted = models.IntegerField(help_text="Documents that became tasks.")
    refusals = models.JSONField(default=list, help_text="Documents that did not, and why: index, code, detail, errors.")
    callback_url = models.CharField(max_length=2048, blank=True, default="")
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ("view",)
        verbose_name_plural = "batches"
        indexes = [
            models.Index(fields=["id"], name="batch_open", condition=Q(completed_at__isnull=True)),
            models.Index(fields=["created_at"], name="batch_created"),
        ]

    def __str__(self) -> str:
        return f"{self.pk}"


class IdempotencyKey(models.Model):
    """A submission that a client named, so that repeating it makes no second task. Kept for a day."""

    tenant = models.CharField(max_length=64)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the submission, in hex.")
    task_id = models.UUIDField()
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["tenant", "key"], name="idempotency_key")]

    def __str__(self) -> str:
        return f"{self.tenant} {self.key}"


class WebhookAttempt(models.Model):
    """One try to deliver an event to a callback URL. Append-only."""

    task_id = models.UUIDField(db_index=True, help_text="The task or batch that it is about; for a test, its own job.")
    job_id = models.UUIDField(help_text="The job that delivers: one event has one job and many attempts.")
    event = models.CharField(max_length=64)
    attempt = models.IntegerField()
    at = models.DateTimeField(default=timezone.now)
    url = models.CharField(max_length=2048)
    status_code = models.IntegerField(null=True)
    duration_ms = models.IntegerField(default=0)
    error = models.CharField(max_length=500, blank=True, default="")
    detail = models.CharField(
        max_length=500, blank=True, default="", db_default="", help_text="What staff alone may know of it."
    )
    response_excerpt = models.TextField(blank=True, default="")

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.event} #{self.attempt}"
