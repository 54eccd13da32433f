"""Who may read which document: each tenant owns the keys below its prefix, minus the prefixes inside it.

A key belongs to the tenant with the longest prefix that matches, so the default tenant's empty prefix
means "whatever nobody else owns".
"""

from __future__ import annotations

import re
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping

from django.db import IntegrityError, transaction

from documents.exceptions import DocumentError, InvalidKey
from documents.models import DEFAULT_TENANT, Tenant
from documents.storage import normalise_key
from documents.storage.keys import UPLOAD_PREFIX

_FRESH_SECONDS = 5.0
"""How long a process may overlook a tenant that another process created."""
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class KeyNotAllowed(DocumentError):
    """This key lies outside the part of the document store that your tenant owns. Nobody looked whether it exists."""

    code = "key_not_allowed"


class InvalidTenant(DocumentError):
    """The tenant cannot be used."""

    code = "invalid_tenant"


class OwnerMap:
    """Every tenant's prefix, read at most every few seconds. Thread-safe."""

    def __init__(self, load: Callable[[], Mapping[str, str]], *, clock: Callable[[], float] = time.monotonic) -> None:
        """`load` returns the slug for each prefix; `clock` is in seconds."""
        self._load = load
        self._clock = clock
        self._lock = threading.Lock()
        self._owners: dict[str, str] = {}
        self._loaded_at: float | None = None

    def owner(self, key: str) -> str:
        """The slug of the tenant that owns a normalised key; an upload's says it itself."""
        owners, folded = self._current(), fold(key)
        if folded.startswith(UPLOAD_PREFIX):
            return folded.removeprefix(UPLOAD_PREFIX).partition("/")[0]
        end = len(folded)
        while (end := folded.rfind("/", 0, end)) >= 0:
            if (slug := owners.get(folded[: end + 1])) is not None:
                return slug
        return owners.get("", DEFAULT_TENANT)

    def forget(self) -> None:
        """Read the prefixes anew at the next question."""
        self._loaded_at = None

    def _current(self) -> dict[str, str]:
        loaded_at = self._loaded_at
        if loaded_at is None or self._clock() - loaded_at >= _FRESH_SECONDS:
            with self._lock:
                # The time is taken before the read: a tenant created meanwhile is seen in time.
                started = self._clock()
                self._owners = {fold(prefix): slug for prefix, slug in self._load().items()}
                self._loaded_at = started
        return self._owners


def fold(key: str) -> str:
    """A key as ownership compares it: without case and Unicode form, which some file systems cannot tell apart.

    "ACME/x" and "acme/x" may be one file on macOS; a tenant of that prefix then owns both spellings.
    """
    return key.lower() if key.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFC", key).casefold())


def _load() -> dict[str, str]:
    return dict(Tenant.objects.values_list("key_prefix", "slug"))


owners = OwnerMap(_load)
"""This process's view of the tenants."""


class _Settings:
    """What is set for tenants, read at most every few seconds, as the prefixes are."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._urls: dict[str, str] = {}
        self._rates: dict[str, dict[str, int | None]] = {}
        self._loaded_at: float | None = None

    def url(self, tenant: str) -> str:
        self._refresh()
        return self._urls.get(tenant, "")

    def rates(self, tenant: str) -> Mapping[str, int | None]:
        self._refresh()
        return self._rates.get(tenant, {})

    def _refresh(self) -> None:
        if self._loaded_at is None or self._clock() - self._loaded_at >= _FRESH_SECONDS:
            started = self._clock()
            rows = list(
                Tenant.objects.values_list("slug", "webhook_url", "requests_per_minute", "documents_per_minute")
            )
            self._urls = {slug: url for slug, url, _, _ in rows if url}
            self._rates = {slug: {"requests": requests, "documents": many} for slug, _, requests, many in rows}
            self._loaded_at = started

    def forget(self) -> None:
        self._loaded_at = None


own_settings = _Settings()
"""This process's view of what is set for tenants."""


def forget() -> None:
    """Read everything about the tenants anew at the next question."""
    owners.forget()
    own_settings.forget()


def webhook_url(tenant: str) -> str:
    """Where a tenant's events go that name no callback URL; empty without an endpoint. Known for some seconds."""
    return own_settings.url(tenant)


def rates(tenant: str) -> Mapping[str, int | None]:
    """Requests and documents a minute as set for a tenant; None: as the settings say. Known for some seconds."""
    return own_settings.rates(tenant)


def require_owned(tenant: str, key: str) -> str:
    """Return the normalised key. Raises InvalidKey (not a plain relative path), KeyNotAllowed."""
    normalised = normalise_key(key)
    if owners.owner(normalised) != tenant:
        raise KeyNotAllowed()
    return normalised


def get_or_create(slug: str, *, key_prefix: str | None = None) -> Tenant:
    """The tenant of this slug, made with `key_prefix` (default: its slug and a slash) when it is new.

    Raises InvalidTenant for an unusable slug, a prefix that is taken or no plain path, or a prefix that
    differs from the one an existing tenant has: moving a tenant would hide its documents from it.
    """
    if not _SLUG.fullmatch(slug):
        raise InvalidTenant(
            "A tenant is named by 1 to 64 lower-case letters, digits, hyphens or underscores, "
            "and begins with a letter or digit."
        )
    existing = Tenant.objects.filter(slug=slug).first()
    prefix = _prefix(slug, key_prefix)
    if existing is not None:
        if key_prefix is not None and prefix != existing.key_prefix:
            raise InvalidTenant(
                f'Tenant {slug} exists with the key prefix "{existing.key_prefix}"; leave --key-prefix out.'
            )
        return existing
    return _create(slug, prefix)


def _prefix(slug: str, wanted: str | None) -> str:
    if slug == DEFAULT_TENANT:
        if wanted:
            raise InvalidTenant(f"Tenant {DEFAULT_TENANT} owns the root; it takes no key prefix.")
        return ""
    try:
        return normalise_key((slug if wanted is None else wanted).removesuffix("/")) + "/"
    except InvalidKey as error:
        raise InvalidTenant(f"This key prefix cannot be used. {error.message}") from error


def _create(slug: str, prefix: str) -> Tenant:
    if any(fold(prefix) == fold(taken) for taken in _load()):
        raise InvalidTenant(f'The key prefix "{prefix}" belongs to another tenant.')
    try:
        with transaction.atomic():
            tenant = Tenant.objects.create(slug=slug, key_prefix=prefix)
    except IntegrityError:  # somebody else made it just now
        found = Tenant.objects.filter(slug=slug, key_prefix=prefix).first()
        if found is None:
            raise InvalidTenant(f'The key prefix "{prefix}" belongs to another tenant.') from None
        tenant = found
    owners.forget()
    return tenant
