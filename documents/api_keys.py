"""API keys: issuing, recognising and revoking them.

A key is 32 random bytes, so a plain SHA-256 is enough to store it by: there is nothing to guess, and a
slow password hash would cost every request 50 ms.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from documents import tenants
from documents.exceptions import DocumentError
from documents.models import DEFAULT_TENANT, ApiKey, Scope, Tenant
from queueadmin import sql

logger = logging.getLogger(__name__)

_MARK = "ing_"
"""Lets secret scanners and people recognise a key of ours."""
_SHOWN_CHARACTERS = 12
_MAX_CHARACTERS = 200
_USE_NOTED_EVERY = timedelta(minutes=1)


class InvalidApiKey(DocumentError):
    """The API key is unknown. Check it, or make one with `manage.py api_key create`."""

    code = "unauthenticated"


class ApiKeyExpired(InvalidApiKey):
    """The API key has expired. Make a new one with `manage.py api_key create`."""


class ApiKeyRevoked(InvalidApiKey):
    """The API key has been revoked. Make a new one with `manage.py api_key create`."""


class NoSuchApiKey(DocumentError):
    """There is no such API key; `manage.py api_key list` shows them."""

    code = "no_such_api_key"


class InvalidScopes(DocumentError):
    """Scopes are one or more of submit, read, operate."""

    code = "invalid_scopes"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who makes a request, as its API key says. `tenant` is a slug."""

    key_id: int
    name: str
    tenant: str
    scopes: frozenset[str]
    all_tenants: bool = False
    """Whether the key was made to operate on all tenants' jobs; see `reaches_all`."""
    is_authenticated: bool = True
    """For Django REST framework, which asks its user this."""

    @property
    def pk(self) -> int:
        return self.key_id

    def __str__(self) -> str:
        return f"API key {self.name} (#{self.key_id})"


@dataclass(frozen=True, kw_only=True)
class IssuedKey:
    """A new key. `key` is the secret itself, which exists nowhere else."""

    key: str
    record: ApiKey

    @property
    def told(self) -> dict[str, Any]:
        """What the audit keeps of its making."""
        record = self.record
        return {"prefix": record.prefix, "scopes": record.scopes, "all_tenants": record.all_tenants}


def issue(
    name: str,
    *,
    scopes: Iterable[str],
    tenant: str = DEFAULT_TENANT,
    key_prefix: str | None = None,
    expires_at: datetime | None = None,
    all_tenants: bool = False,
) -> IssuedKey:
    """Make a key, and its tenant when that is new. Raises InvalidScopes, InvalidTenant."""
    wanted = list(dict.fromkeys(scopes))
    if not wanted or not set(wanted) <= set(Scope.values):
        raise InvalidScopes()
    if all_tenants and Scope.OPERATE not in wanted:
        raise InvalidScopes("A key for all tenants is one that operates: give it the scope operate.")
    key = _MARK + secrets.token_urlsafe(32)
    with transaction.atomic():
        record = ApiKey.objects.create(
            name=name,
            tenant=tenants.get_or_create(tenant, key_prefix=key_prefix),
            prefix=key[:_SHOWN_CHARACTERS],
            hash=_hash(key),
            scopes=wanted,
            expires_at=expires_at,
            all_tenants=all_tenants,
        )
    return IssuedKey(key=key, record=record)


def recognise(key: str, *, now: datetime | None = None) -> Caller:
    """Who this key belongs to. One indexed query. Raises InvalidApiKey, ApiKeyExpired, ApiKeyRevoked."""
    moment = now or timezone.now()
    if len(key) > _MAX_CHARACTERS:
        raise InvalidApiKey()
    digest = _hash(key)
    row = _find(digest)
    if row is None:
        raise InvalidApiKey()
    if row["revoked_at"] is not None:
        raise ApiKeyRevoked()
    expires_at, last_used_at = sql.as_time(row["expires_at"]), sql.as_time(row["last_used_at"])
    if expires_at is not None and expires_at <= moment:
        raise ApiKeyExpired()
    if last_used_at is None or last_used_at <= moment - _USE_NOTED_EVERY:
        _uses.note(row["id"], digest, moment)
    scopes = frozenset(sql.decode(row["scopes"]))
    return Caller(
        key_id=row["id"],
        name=row["name"],
        tenant=row["tenant_id"],
        scopes=scopes,
        all_tenants=bool(row["all_tenants"]),
    )


def reaches_all(caller: Caller) -> bool:
    """Whether a key that operates may touch the jobs of every tenant: one made for that, or where there is one tenant.

    So an installation for one needs no second kind of key, and the first further tenant ends that by itself.
    """
    return caller.all_tenants or not Tenant.objects.exclude(pk=caller.tenant).exists()


def _find(digest: str) -> sql.Row | None:
    """By hand, because every request begins with it: the ORM took twice as long as the database.

    Not remembered between requests, so that a revoked key is refused at once and everywhere.
    """
    rows = sql.query(
        "SELECT id, name, tenant_id, scopes, all_tenants, expires_at, revoked_at, last_used_at FROM documents_apikey "
        "WHERE hash = %(hash)s",
        {"hash": digest},
    )
    return rows[0] if rows else None


def revoke(reference: str, *, now: datetime | None = None) -> ApiKey:
    """Revoke the key with this id, or the only one with this prefix. Raises NoSuchApiKey."""
    found = list(ApiKey.objects.filter(prefix=reference).select_related("tenant")[:2])
    if not found and reference.isascii() and reference.isdigit() and len(reference) < 19:
        found = list(ApiKey.objects.filter(pk=int(reference)).select_related("tenant"))
    if not found:
        raise NoSuchApiKey()
    if len(found) > 1:
        raise NoSuchApiKey(f"More than one key begins with {reference}; name the key by its id.")
    record = found[0]
    if record.revoked_at is None:
        record.revoked_at = now or timezone.now()
        record.save(update_fields=["revoked_at"])
    return record


class _Uses:
    """Writes `last_used_at` at most once a minute per key and process, and never makes a request wait or fail."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: dict[str, float] = {}

    def note(self, key_id: int, digest: str, moment: datetime) -> None:
        with self._lock:
            last = self._noted.get(digest)
            if last is not None and time.monotonic() - last < _USE_NOTED_EVERY.total_seconds():
                return
            self._noted[digest] = time.monotonic()
        try:
            self._write(key_id, moment)
        except DatabaseError as error:
            logger.warning("the last use of an API key was not noted", extra={"error": type(error).__name__})

    def _write(self, key_id: int, moment: datetime) -> None:
        stale = Q(last_used_at=None) | Q(last_used_at__lte=moment - _USE_NOTED_EVERY)
        with transaction.atomic():
            # A row that another process is writing at this moment is left to it instead of waited for.
            free = ApiKey.objects.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)
            ApiKey.objects.filter(pk__in=free.filter(stale, pk=key_id).values("pk")).update(last_used_at=moment)


_uses = _Uses()


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
