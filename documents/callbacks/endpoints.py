"""Addresses that asked for no more webhooks: 410 Gone disables one until staff enable it again."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction

from documents.models import DisabledEndpoint

_MAX_ORIGIN = 300


def find_disabled(tenant: str, url: str) -> DisabledEndpoint | None:
    """Why nothing is sent to a tenant's URL, if it is disabled."""
    return DisabledEndpoint.objects.filter(tenant=tenant, url_hash=_digest(url)).first()


def disable(tenant: str, url: str) -> None:
    """Send nothing more there. Repeating it is harmless."""
    try:
        with transaction.atomic():
            DisabledEndpoint.objects.get_or_create(
                tenant=tenant, url_hash=_digest(url), defaults={"origin": origin(url)[:_MAX_ORIGIN]}
            )
    except IntegrityError:
        return  # another delivery has just done so


def enable(tenant: str, url: str | None = None) -> int:
    """Let webhooks go to a tenant's URL again, or to all of its URLs; returns how many were disabled."""
    found = DisabledEndpoint.objects.filter(tenant=tenant)
    if url is not None:
        found = found.filter(url_hash=_digest(url))
    return found.delete()[0]


def origin(url: str) -> str:
    """`https://example.org:8443` of a URL: what may be shown of it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()
