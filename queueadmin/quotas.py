"""Quotas: so much in a window of time, shared by all processes through Redis, or kept alone while it is away.

The generic cell rate algorithm: for each key one moment is kept, until which what was spent fills the window. A burst
of the whole quota is possible, and from then on it comes back evenly.

    {namespace}:quota:<key>   that moment, in milliseconds since 1970 by the clock of Redis; gone when it has passed
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import redis

SPEND = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local filled, wait = {}, 0
for i, key in ipairs(KEYS) do
  local quota, window, cost = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  filled[i] = math.max(now, tonumber(redis.call('GET', key) or now))
  wait = math.max(wait, filled[i] + math.min(cost, quota) * window / quota - now - window)
end
local told = {math.ceil(wait)}
for i, key in ipairs(KEYS) do
  local quota, window, cost = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  if wait <= 0 and cost > 0 then
    filled[i] = filled[i] + cost * window / quota
    redis.call('SET', key, string.format('%.17g', filled[i]), 'PX', math.max(1, math.ceil(filled[i] - now)))
  end
  told[#told + 1] = math.max(0, math.floor((window - (filled[i] - now)) * quota / window + 0.000001))
  told[#told + 1] = math.ceil(filled[i] - now)
end
return told
"""
SPEND_SHA = hashlib.sha1(SPEND.encode(), usedforsecurity=False).hexdigest()

_REST_SECONDS = 5.0
"""After Redis has not answered, it is not asked for so long."""
_MAX_LOCAL = 10_000
"""Keys that a process keeps itself; the longest unused are forgotten."""


@dataclass(frozen=True, kw_only=True)
class Quota:
    """At most `amount` in `seconds`, under a key of its own. `cost` of this time; more than `amount` counts as all."""

    name: str
    key: str
    amount: int
    seconds: int
    cost: int = 1


@dataclass(frozen=True, kw_only=True)
class Left:
    """What is left of a quota, and in how many seconds all of it will be."""

    quota: Quota
    remaining: int
    reset: int


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether it was spent: from all quotas or, with `wait` seconds to go, from none."""

    wait: int
    left: tuple[Left, ...]

    @property
    def is_granted(self) -> bool:
        return self.wait == 0


class Quotas:
    """The quotas of one namespace. Thread-safe; never raises: without Redis each process counts for itself."""

    def __init__(self, client: redis.Redis, *, namespace: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._prefix = f"{{{namespace}}}:quota:"
        self._clock = clock
        self._away_until = 0.0
        self._lock = threading.Lock()
        self._filled: OrderedDict[str, float] = OrderedDict()

    def spend(self, quotas: Sequence[Quota]) -> Verdict:
        """Spend each quota's cost, if all of them have it left."""
        if self._clock() >= self._away_until:
            try:
                return self._shared(quotas)
            except redis.RedisError:
                self._away_until = self._clock() + _REST_SECONDS
        return self._alone(quotas)

    def _shared(self, quotas: Sequence[Quota]) -> Verdict:
        keys = [self._prefix + quota.key for quota in quotas]
        numbers = [number for quota in quotas for number in (quota.amount, quota.seconds * 1000, quota.cost)]
        try:
            told = self._client.evalsha(SPEND_SHA, len(keys), *keys, *numbers)
        except redis.exceptions.NoScriptError:
            told = self._client.eval(SPEND, len(keys), *keys, *numbers)
        wait, left = told[0], told[1:]
        return Verdict(
            wait=math.ceil(wait / 1000),
            left=tuple(
                Left(quota=quota, remaining=left[2 * at], reset=math.ceil(left[2 * at + 1] / 1000))
                for at, quota in enumerate(quotas)
            ),
        )

    def _alone(self, quotas: Sequence[Quota]) -> Verdict:
        """The same in this process. Several processes together grant more: better than to refuse what is allowed."""
        with self._lock:
            now = self._clock()
            filled = [max(now, self._filled.get(quota.key, now)) for quota in quotas]
            wait = max(
                (at + min(quota.cost, quota.amount) * _tick(quota) - now - quota.seconds
                 for at, quota in zip(filled, quotas, strict=True)),
                default=0.0,
            )  # fmt: skip
            if wait <= 0:
                filled = [at + quota.cost * _tick(quota) for at, quota in zip(filled, quotas, strict=True)]
                for at, quota in zip(filled, quotas, strict=True):
                    self._filled[quota.key] = at
                    self._filled.move_to_end(quota.key)
                while len(self._filled) > _MAX_LOCAL:
                    self._filled.popitem(last=False)
        return Verdict(
            wait=max(0, math.ceil(wait)),
            left=tuple(
                Left(
                    quota=quota,
                    remaining=max(0, math.floor((quota.seconds - (at - now)) / _tick(quota) + 1e-6)),
                    reset=math.ceil(at - now),
                )
                for at, quota in zip(filled, quotas, strict=True)
            ),
        )


def _tick(quota: Quota) -> float:
    return quota.seconds / quota.amount
