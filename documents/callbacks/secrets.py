"""The secrets that sign a tenant's webhooks: encrypted in the database, rotated with an overlap.

A tenant without secrets of its own is signed for with the installation's (WEBHOOK_SECRET). During the overlap each
event carries the signatures of both secrets, and a receiver accepts it if one fits: nothing is lost while it changes
over.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from documents import encryption
from documents.models import Tenant, WebhookSecret

SECRET_BYTES = 32
"""Standard Webhooks wants 24 to 64."""
MAX_ACTIVE = 3
"""Signatures that one event carries at most: each costs 47 bytes of a header."""


@dataclass(frozen=True, kw_only=True)
class NewSecret:
    """A new secret; this is the only time that it is shown. The one before signs until `previous_until`."""

    secret_id: int
    secret: str
    previous_until: datetime


def signing(tenant: str, *, shared: Sequence[str], now: datetime | None = None) -> tuple[str, ...]:
    """The secrets that sign for a tenant now, newest first; `shared` when it has none. Raises SecretUnreadable."""
    own = tuple(encryption.decrypt(stored.secret) for stored in active(tenant, now=now))
    return own or tuple(shared)


def active(tenant: str, *, now: datetime | None = None) -> list[WebhookSecret]:
    """The tenant's own secrets that are valid, newest first."""
    valid = Q(expires_at=None) | Q(expires_at__gt=now or timezone.now())
    return list(WebhookSecret.objects.filter(valid, tenant=tenant).order_by("-pk"))


def rotate(tenant: Tenant, *, overlap: timedelta, shared: Sequence[str], now: datetime | None = None) -> NewSecret:
    """Make a secret; those before it stay valid for `overlap` at most. What has expired is deleted.

    The first of a tenant's own takes the place of the `shared` one, which overlaps with it likewise.
    """
    moment = now or timezone.now()
    until = moment + overlap
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    with transaction.atomic():
        Tenant.objects.select_for_update().get(pk=tenant.pk)  # two at once would each miss the other's
        before = active(tenant.pk, now=moment)
        if not before:
            before = [_store(tenant, value, expires_at=until) for value in shared]
        made = _store(tenant, secret)
        for stored in before[: MAX_ACTIVE - 1]:
            if stored.expires_at is None or stored.expires_at > until:
                stored.expires_at = until
                stored.save(update_fields=["expires_at"])
        kept = [made.pk, *(stored.pk for stored in before[: MAX_ACTIVE - 1])]
        WebhookSecret.objects.filter(tenant=tenant).exclude(pk__in=kept).delete()
    return NewSecret(secret_id=made.pk, secret=secret, previous_until=until)


def reencrypt() -> int:
    """Put every stored secret under the installation's first key; returns how many. Raises SecretUnreadable."""
    stored = list(WebhookSecret.objects.order_by("pk"))
    for one in stored:
        one.secret = encryption.rotate(one.secret)
        one.save(update_fields=["secret"])
    return len(stored)


def _store(tenant: Tenant, secret: str, *, expires_at: datetime | None = None) -> WebhookSecret:
    return WebhookSecret.objects.create(tenant=tenant, secret=encryption.encrypt(secret), expires_at=expires_at)
