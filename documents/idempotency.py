"""`Idempotency-Key`: a submission repeated with the same key within a day is the same submission.

For the client that lost the answer: the task was accepted, or it was not, and it cannot know. The key is stored in the
task's own transaction, so both are there or neither is, whatever dies in between.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from documents.exceptions import DocumentError
from documents.models import IdempotencyKey
from queueadmin import sql

KEPT = timedelta(hours=24)
MAX_LENGTH = 255
_PLAIN = re.compile(r"[\x20-\x7e]+")
_FORGET_BATCH = 1000


class InvalidIdempotencyKey(DocumentError):
    """The Idempotency-Key must be 1 to 255 printable ASCII characters."""

    code = "invalid_idempotency_key"


class IdempotencyConflict(DocumentError):
    """This Idempotency-Key was used with another body. Use a new key for every new submission."""

    code = "idempotency_conflict"


class SubmissionInFlight(DocumentError):
    """A submission with this Idempotency-Key is under way. Repeat the request in a moment."""

    code = "submission_in_flight"
    retryable = True


@dataclass(frozen=True, kw_only=True)
class Intent:
    """A submission that may have been made before: its tenant's key, and a digest of what was asked for."""

    tenant: str
    key: str
    fingerprint: str


def intent(tenant: str, header: str, body: Mapping[str, Any]) -> Intent:
    """What a header and a validated body mean. Raises InvalidIdempotencyKey.

    The IETF draft writes the key as a quoted string, most clients without quotes: both name the same key.
    """
    key = header.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not key.strip() or len(key) > MAX_LENGTH or not _PLAIN.fullmatch(key):
        raise InvalidIdempotencyKey()
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
    return Intent(tenant=tenant, key=key, fingerprint=hashlib.sha256(canonical.encode()).hexdigest())


def recall(wanted: Intent) -> UUID | None:
    """The task that this submission made before, if any; call it in the transaction that will `remember`.

    Raises SubmissionInFlight, IdempotencyConflict.
    """
    _enter(wanted)
    stored = IdempotencyKey.objects.filter(tenant=wanted.tenant, key=wanted.key)
    known = stored.filter(created_at__gt=timezone.now() - KEPT).first()
    if known is None:
        stored.delete()
        return None
    if known.fingerprint != wanted.fingerprint:
        raise IdempotencyConflict()
    return known.task_id


def _enter(wanted: Intent) -> None:
    """Be the only transaction at work on this key; a lock of the transaction, so that nothing is left by a crash.

    Not a row marked "in flight" in a transaction of its own: it would outlive a process that died, and would then have
    to be believed or not by its age. SQLite runs one write transaction at a time anyway; there the second one waits.
    """
    if connection.vendor != "postgresql":
        return
    digest = hashlib.sha256(f"{wanted.tenant}\n{wanted.key}".encode()).digest()
    number = int.from_bytes(digest[:8], signed=True)
    if not sql.query("SELECT pg_try_advisory_xact_lock(%(number)s) AS mine", {"number": number})[0]["mine"]:
        raise SubmissionInFlight()


def remember(wanted: Intent, task_id: UUID) -> None:
    """Store what this submission made, in its transaction."""
    IdempotencyKey.objects.create(tenant=wanted.tenant, key=wanted.key, fingerprint=wanted.fingerprint, task_id=task_id)


def forget(*, now: datetime | None = None) -> int:
    """Remove keys that are older than a day, in small batches; returns how many."""
    expired = IdempotencyKey.objects.filter(created_at__lte=(now or timezone.now()) - KEPT).order_by("created_at")
    removed = 0
    while ids := list(expired.values_list("pk", flat=True)[:_FORGET_BATCH]):
        removed += IdempotencyKey.objects.filter(pk__in=ids).delete()[0]
    return removed
