"""The ready sets: all that Redis knows. They say which pending job is next, and nothing else.

    {namespace}:ready:<queue>:<high|normal>   sorted set; member = job id (32 hex digits), score = virtual start time
    {namespace}:fair:<queue>:<high|normal>    sorted set; what `fairness` remembers of each partition
    {namespace}:epoch                         any value; gone when Redis lost its memory

No bodies, no acknowledgements, no delayed jobs and no secrets are kept in Redis: losing it all
costs one sweep of the ledger. Members are added with NX, so publishing twice changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

import redis
from redis.exceptions import NoPermissionError

from queueadmin import fairness
from queueadmin.exceptions import BrokerTooOld, BrokerUnavailable
from queueadmin.jobs import Ready
from queueadmin.redis_client import tls_problem

BANDS = ("high", "normal")
_PUBLISH_BATCH = 1000
Member = tuple[UUID, float]
"""A job id and its virtual start time."""


class ReadySets:
    """The ready sets of one namespace. Thread-safe. Raises BrokerUnavailable when Redis does not answer."""

    def __init__(self, client: redis.Redis, *, namespace: str, high_priority_from: int) -> None:
        self._client = client
        self._prefix = f"{{{namespace}}}"
        self._high_priority_from = high_priority_from

    @property
    def epoch_key(self) -> str:
        return f"{self._prefix}:epoch"

    def key(self, queue: str, band: str) -> str:
        return f"{self._prefix}:ready:{queue}:{band}"

    def _tags_key(self, queue: str, band: str) -> str:
        return f"{self._prefix}:fair:{queue}:{band}"

    def band(self, priority: int) -> str:
        return "high" if priority >= self._high_priority_from else "normal"

    def add(self, jobs: Iterable[Ready]) -> int:
        """Line jobs up, fairly between partitions and by order key within each; returns how many were not there yet."""
        lines: dict[tuple[str, str], list[Ready]] = defaultdict(list)
        for job in sorted(jobs, key=lambda job: (job.order_key, job.id)):
            lines[job.queue, self.band(job.priority)].append(job)
        return sum(
            self._call(self._line_up, line, waiting[start : start + _PUBLISH_BATCH])
            for line, waiting in lines.items()
            for start in range(0, len(waiting), _PUBLISH_BATCH)
        )

    def _line_up(self, line: tuple[str, str], jobs: Sequence[Ready]) -> int:
        """Run the script of `fairness`, by its name, which costs less than its text."""
        arguments: list[str | int] = [self.key(*line), self._tags_key(*line)]
        for job in jobs:
            arguments += (job.id.hex, job.partition_key, 0 if job.given_back else 1)
        try:
            added: int = self._client.evalsha(fairness.ADD_SHA, 2, *arguments)
        except redis.exceptions.NoScriptError:  # a new server, or one that was restarted
            added = self._client.eval(fairness.ADD, 2, *arguments)
        return added

    def pop(self, queues: Sequence[str], *, count: int, timeout: float, normal_first: bool) -> list[UUID]:
        """Take up to `count` ids of one ready set, waiting up to `timeout` seconds; high priority first.

        `normal_first` turns the order round, so that a flood of urgent jobs cannot starve the rest.
        """
        bands = reversed(BANDS) if normal_first else BANDS
        keys = [self.key(queue, band) for band in bands for queue in queues]
        reply = self._call(self._client.bzmpop, timeout, len(keys), keys, min=True, count=count)
        return [UUID(hex=member.decode()) for member, _ in reply[1]] if reply else []

    def missing(self, jobs: Sequence[Ready]) -> list[Ready]:
        """Those of `jobs` whose id is not in its ready set. All must be of one queue and band."""
        if not jobs:
            return []
        key = self.key(jobs[0].queue, self.band(jobs[0].priority))
        scores = self._call(self._client.zmscore, key, [job.id.hex for job in jobs])
        return [job for job, score in zip(jobs, scores, strict=True) if score is None]

    def members(self, queue: str, band: str, *, start: int, count: int) -> list[Member]:
        """A page of a ready set, in order."""
        found = self._call(self._client.zrange, self.key(queue, band), start, start + count - 1, withscores=True)
        return [(UUID(hex=member.decode()), score) for member, score in found]

    def remove(self, queue: str, ids: Sequence[UUID]) -> int:
        """Take ids out of both ready sets of a queue; returns how many were there."""
        if not ids:
            return 0
        names = [job_id.hex for job_id in ids]
        return sum(self._call(self._client.zrem, self.key(queue, band), *names) for band in BANDS)

    def depth(self, queue: str) -> dict[str, int]:
        """Members per band."""
        return {band: self._call(self._client.zcard, self.key(queue, band)) for band in BANDS}

    def rank(self, job: Ready) -> int | None:
        """How many ids stand before this one in its ready set; None when it is not there."""
        key = self.key(job.queue, self.band(job.priority))
        rank: int | None = self._call(self._client.zrank, key, job.id.hex)
        return rank

    def epoch_is_new(self) -> bool:
        """True once after Redis lost its memory (or on its first day): the ledger must be published again."""
        return bool(self._call(self._client.set, self.epoch_key, time.time_ns(), nx=True))

    def ask_for_sweep(self) -> None:
        """Make the leading dispatcher compare ledger and ready sets soon: for it, Redis has lost its memory."""
        self._call(self._client.delete, self.epoch_key)

    def ping(self) -> float:
        """Seconds that one round trip took."""
        started = time.perf_counter()
        self._call(self._client.ping)
        return time.perf_counter() - started

    def memory(self) -> tuple[int, int]:
        """Bytes that the server uses, and its limit; 0 for none."""
        info: dict[str, Any] = self._call(self._client.info, "memory")
        return int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))

    def require_supported(self) -> str:
        """The server's name and version; raises BrokerTooOld below Redis 7."""
        info: dict[str, Any] = self._call(self._client.info, "server")
        name = str(info.get("server_name", "redis"))
        version = str(info.get("valkey_version") or info.get("redis_version", "0"))
        if name != "valkey" and int(version.split(".")[0]) < 7:
            raise BrokerTooOld(f"Redis {version} is too old: Redis 7 or newer, or any Valkey, is needed.")
        return f"{name} {version}"

    def eviction_policy(self) -> str:
        """The server's maxmemory-policy; "" where it does not tell. From INFO: hosted servers often forbid CONFIG."""
        info: dict[str, Any] = self._call(self._client.info, "memory")
        return str(info.get("maxmemory_policy", ""))

    def close(self) -> None:
        self._client.close()

    def _call(self, command: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except redis.RedisError as error:
            raise BrokerUnavailable(_reason(error)) from error


def _reason(error: redis.RedisError) -> str:
    """For a person. Not the server's own words: they may repeat what was sent."""
    if isinstance(error, redis.AuthenticationError):
        return "The broker refuses the user or the password."
    if isinstance(error, NoPermissionError):
        return "The broker's ACL forbids this user a command or a key that is needed: see docs/operations.md, Redis."
    if problem := tls_problem(error):
        return f"The broker cannot be reached over TLS: {problem}."
    return f"The broker did not answer: {type(error).__name__}."


class Publisher:
    """Adds jobs to the ready sets after their commit, and never lets the caller wait long or fail.

    After a failure it tries no more for a while (1 s, doubling to 8 s), so that a hanging Redis
    costs one submission its time-out and the others nothing. The sweep publishes what was left out.
    """

    def __init__(self, sets: ReadySets, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._sets = sets
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_until = 0.0
        self.skipped = 0

    def publish(self, jobs: Sequence[Ready]) -> bool:
        """Add `jobs`; False when the broker did not answer and the sweep has to do it."""
        if not jobs:
            return True
        if self._clock() < self._closed_until:
            self.skipped += len(jobs)
            return False
        try:
            self._sets.add(jobs)
        except BrokerUnavailable:
            self._trip(len(jobs))
            return False
        if self._failures:
            self._recover()
        return True

    def _recover(self) -> None:
        """Redis is back: have the jobs published that were left out, now rather than with the next regular sweep."""
        try:
            self._sets.ask_for_sweep()
        except BrokerUnavailable:
            return
        self._failures = 0

    def _trip(self, skipped: int) -> None:
        with self._lock:
            self.skipped += skipped
            self._failures += 1
            self._closed_until = self._clock() + min(8.0, 2.0 ** (self._failures - 1))
