"""What to do about an attempt that ended: values, and the pure functions that choose them."""

from __future__ import annotations

import hashlib
import math
import re
import traceback
from dataclasses import dataclass
from typing import Any

from dramatiq.errors import Retry

from queueadmin.exceptions import JobCancelled
from queueadmin.sanitize import clean_text

_VARIABLE = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|[0-9a-fA-F]{16,}|\d+|'[^']*'|\"[^\"]*\"")
_TRACEBACK_CHARACTERS = 8_000
MAX_DELAY_SECONDS = 7 * 24 * 3600.0
"""No retry waits longer, whoever asks for it."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why an attempt failed: a stable code, a message for a person, and a fingerprint to group by."""

    code: str
    message: str
    fingerprint: str = ""
    traceback: str = ""


@dataclass(frozen=True, kw_only=True)
class Complete:
    """The attempt succeeded."""

    result: Any = None


@dataclass(frozen=True, kw_only=True)
class RetryLater:
    """A passing fault: try again after `delay` seconds."""

    fault: Fault
    delay: float


@dataclass(frozen=True, kw_only=True)
class Fail:
    """A permanent fault."""

    fault: Fault


@dataclass(frozen=True, kw_only=True)
class Bury:
    """A passing fault too many: a dead letter."""

    fault: Fault


@dataclass(frozen=True, kw_only=True)
class Release:
    """Not this worker's to finish: give it back."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Cancelled, as a person asked."""


Decision = Complete | RetryLater | Fail | Bury | Release | Stop


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Waiting times between attempts, in seconds: doubling from `minimum` up to `maximum`, with jitter."""

    minimum: float
    maximum: float

    def delay(self, failures: int, fraction: float) -> float:
        """Seconds to wait after the given number of failures; `fraction` in [0, 1) is the jitter.

        Between half of the step and all of it ("equal jitter"): spread enough that a storm does not
        come back as one wave, and never so short that a struggling server gets no rest.
        """
        step = min(self.maximum, self.minimum * 2.0 ** min(max(failures - 1, 0), 60))
        return step * (0.5 + 0.5 * fraction)


def decide(
    error: BaseException, *, failures: int, backoff: Backoff, fraction: float, cancel_reason: str | None
) -> Decision:
    """The decision on an attempt that raised, leaving aside how many attempts are allowed.

    `failures` counts this one. An error says with `retryable` (default: True) and `code` what it is.
    """
    if cancel_reason is not None and (isinstance(error, JobCancelled) or getattr(error, "code", "") == "cancelled"):
        return Stop() if cancel_reason == "cancelled" else Release(reason=cancel_reason)
    fault = describe(error)
    if isinstance(error, Retry):
        return RetryLater(fault=fault, delay=_seconds((error.delay or 0) / 1000))
    if not getattr(error, "retryable", True):
        return Fail(fault=fault)
    asked = _seconds(getattr(error, "retry_after", None))
    return RetryLater(fault=fault, delay=max(backoff.delay(failures, fraction), asked))


def _seconds(asked: Any) -> float:
    """A delay that somebody asked for, within reason: a server may send anything as Retry-After."""
    if isinstance(asked, bool) or not isinstance(asked, (int, float)) or not math.isfinite(asked):
        return 0.0
    return min(max(float(asked), 0.0), MAX_DELAY_SECONDS)


def stop_when_exhausted(decision: Decision | None, *, failures: int, max_attempts: int) -> Decision | None:
    """Turn one retry too many into a dead letter."""
    if isinstance(decision, RetryLater) and failures >= max_attempts:
        return Bury(fault=decision.fault)
    return decision


def without_decision(error: BaseException | None, result: Any) -> Decision:
    """The decision when no middleware made one: an exception is a failure, never a success."""
    return Complete(result=result) if error is None else Fail(fault=describe(error))


def describe(error: BaseException) -> Fault:
    """The fault in an exception. Errors without a `code` are `internal_error`, named by their type."""
    code = getattr(error, "code", None)
    known = isinstance(code, str) and bool(code)
    message = _text(error) if known else f"{type(error).__name__}: {_text(error)}"
    return Fault(
        code=str(code)[:64] if known else "internal_error",
        message=clean_text(message),
        fingerprint=fingerprint(error),
        traceback=""
        if known
        else clean_text("".join(traceback.format_exception(error))[-_TRACEBACK_CHARACTERS:], _TRACEBACK_CHARACTERS),
    )


def _text(error: BaseException) -> str:
    """An error's message; errors of applications may fail even at that."""
    try:
        return str(error)
    except Exception as failure:
        return f"(its message cannot be read: {type(failure).__name__})"


def fingerprint(error: BaseException) -> str:
    """32 hex digits that failures of one kind share: type, code, place, and the message without its variables."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].name}" if frames else ""
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    message = _VARIABLE.sub("#", _text(error))[:500]
    parts = "\n".join((kind, str(getattr(error, "code", "")), place, message))
    return hashlib.sha256(parts.encode("utf-8", "replace")).hexdigest()[:32]
