"""Identifiers: time-ordered, so that the primary key's index grows at its right edge only."""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from uuid import UUID

_RANDOM_BITS = (1 << 76) - 1
_VARIANT_MASK = 0x3FFFFFFFFFFFFFFF


def uuid7(now_ms: int | None = None) -> UUID:
    """A UUID version 7 (RFC 9562): 48 bits of milliseconds, then random bits."""
    return _compose(time.time_ns() // 1_000_000 if now_ms is None else now_ms, secrets.randbits(128))


def uuid7s(count: int) -> list[UUID]:
    """So many UUIDs version 7 of this millisecond, in ascending order."""
    now_ms = time.time_ns() // 1_000_000
    return sorted(uuid7(now_ms) for _ in range(count))


def job_id_of(message_id: str, timestamp_ms: int) -> UUID:
    """The job id of a Dramatiq message: time-ordered, and the same whenever the same message is sent again.

    Dramatiq makes version 4 ids. Replacing them by a fresh id on every send would turn a resent
    message into a second job, so the id is derived from the message's own id and time instead.
    Raises ValueError when `message_id` is not a UUID.
    """
    given = UUID(message_id)
    return given if given.version == 7 else _compose(timestamp_ms, given.int)


def new_token() -> UUID:
    """A claim token: made by the claimer before its first try, so that trying again is harmless."""
    return UUID(int=secrets.randbits(128))


def new_worker_id() -> int:
    """A worker's id: 62 random bits, which fit a signed 64-bit column."""
    return secrets.randbits(62) | 1


def first_id_at(moment: datetime) -> UUID:
    """The smallest UUID version 7 of a moment: ids from it on were made since."""
    milliseconds = max(0, int(moment.timestamp() * 1000))
    return UUID(int=milliseconds << 80 | 0x7 << 76 | 0x2 << 62)


def _compose(timestamp_ms: int, bits: int) -> UUID:
    high = (timestamp_ms & 0xFFFFFFFFFFFF) << 80 | 0x7 << 76 | (bits & _RANDOM_BITS) & (0xFFF << 64)
    return UUID(int=high | 0x2 << 62 | bits & _VARIANT_MASK)
