"""The ready sets: all that Redis knows. They say which pending job is next, and nothing else.

    {namespace}:ready:<queue>:<high|normal>   sorted set; member = job id (32 hex digits), score = virtual start time
    {namespace}:fair:<queue>:<high|normal>    sorted set; what `fairness` remembers of each partition
    {namespace}:parked:<queue>:<high|normal>  sorted set, all scores 0; jobs taken out of line because their partition
                                              runs as many as it may: <partition>NUL<order key>NUL<job id>, so that
                                              those of a partition lie together, in their order
    {namespace}:epoch                         any value; gone when Redis lost its memory

No bodies, no acknowledgements, no delayed jobs and no secrets are kept in Redis: losing it all
costs one sweep of the ledger. Members are added with NX, so publishing twice changes nothing.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

import redis
from redis.exceptions import NoPermissionError

from queueadmin import fairness
from queueadmin.exceptions import BrokerTooOld, BrokerUnavailable
from queueadmin.fairness import Script
from queueadmin.jobs import Ready, Waiting
from queueadmin.redis_client import tls_problem

BANDS = ("high", "normal")
_PUBLISH_BATCH = 1000
_IS_ABSENT = ord("1")

ABSENT = Script.of("""
local ids, marks = ARGV[1], {}
for i = 1, #ids, 32 do
  marks[#marks + 1] = redis.call('ZSCORE', KEYS[1], string.sub(ids, i, i + 31)) and '0' or '1'
end
return {redis.call('ZCARD', KEYS[2]), table.concat(marks)}
""")
"""Which of many ids are not in a ready set, and how many are parked beside it. KEYS: the ready set and the parked.
ARGV: the ids in a row, 32 digits each. ZMSCORE says the same, at three times the client's cost."""

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

    def _parked_key(self, queue: str, band: str) -> str:
        return f"{self._prefix}:parked:{queue}:{band}"

    def band(self, priority: int) -> str:
        return "high" if priority >= self._high_priority_from else "normal"

    def add(self, jobs: Iterable[Ready]) -> int:
        """Line jobs up, fairly between partitions and by order key within each; returns how many were not there yet."""
        lines: dict[tuple[str, str], list[Ready]] = defaultdict(list)
        for job in sorted(jobs, key=lambda job: (job.order_key, job.id)):
            lines[job.queue, self.band(job.priority)].append(job)
        return sum(
            self._line_up(line, [(job.id.hex, job.partition_key, job.given_back) for job in batch])
            for line, waiting in lines.items()
            for batch in _batches(waiting)
        )

    def line_up(self, queue: str, band: str, jobs: Sequence[Waiting]) -> int:
        """Line jobs of one line up, which are in their order; returns how many were not there yet."""
        return sum(
            self._line_up((queue, band), [(job.id, job.partition_key, False) for job in batch])
            for batch in _batches(jobs)
        )

    def _line_up(self, line: tuple[str, str], jobs: Sequence[tuple[str, str, bool]]) -> int:
        """(id, partition key, given back) of each job. Three texts for all of them: an argument costs 3 µs here."""
        numbers: dict[str, int] = {}
        which = "".join([f"{numbers.setdefault(partition, len(numbers)):03d}" for _, partition, _ in jobs])
        ids = "".join([job_id for job_id, _, _ in jobs])
        costs = "".join(["0" if given_back else "1" for _, _, given_back in jobs])
        added: int = self._run(fairness.ADD, self.key(*line), self._tags_key(*line), ids, costs, which, *numbers)
        return added

    def _run(self, script: Script, first_key: str, second_key: str, *arguments: str) -> Any:
        """Run a script by its name, which costs less than its text."""
        given = (2, first_key, second_key, *arguments)
        try:
            return self._call(self._client.evalsha, script.sha, *given)
        except BrokerUnavailable as error:
            if not isinstance(error.__cause__, redis.exceptions.NoScriptError):  # a new server, or a restarted one
                raise
            return self._call(self._client.eval, script.text, *given)

    def pop(self, queues: Sequence[str], *, count: int, timeout: float, normal_first: bool) -> list[UUID]:
        """Take up to `count` ids of one ready set, waiting up to `timeout` seconds; high priority first.

        `normal_first` turns the order round, so that a flood of urgent jobs cannot starve the rest.
        """
        bands = reversed(BANDS) if normal_first else BANDS
        keys = [self.key(queue, band) for band in bands for queue in queues]
        reply = self._call(self._client.bzmpop, timeout, len(keys), keys, min=True, count=count)
        return [UUID(hex=member.decode()) for member, _ in reply[1]] if reply else []

    def missing(self, jobs: Sequence[Ready]) -> list[Ready]:
        """Those of `jobs` that are neither in line nor parked. All must be of one queue and band."""
        if not jobs:
            return []
        known = {job.id.hex: job for job in jobs}
        rows = [Waiting(job.order_key, digits, job.priority, job.partition_key) for digits, job in known.items()]
        return [known[row.id] for row in self.absent(jobs[0].queue, self.band(jobs[0].priority), rows)]

    def absent(self, queue: str, band: str, jobs: Sequence[Waiting]) -> list[Waiting]:
        """Those of `jobs`, all of one line, that are neither in line nor parked."""
        if not jobs:
            return []
        ids = "".join([job.id for job in jobs])
        parked, marks = self._run(ABSENT, self.key(queue, band), self._parked_key(queue, band), ids)
        found = [job for job, mark in zip(jobs, marks, strict=True) if mark == _IS_ABSENT]
        return self._not_parked(self._parked_key(queue, band), found) if parked and found else found

    def _not_parked(self, key: str, jobs: Sequence[Waiting]) -> list[Waiting]:
        members = [f"{job.partition_key}\0{job.order_key:020d}\0{job.id}" for job in jobs]
        scores = self._call(self._client.zmscore, key, members)
        return [job for job, score in zip(jobs, scores, strict=True) if score is None]

    def members(self, queue: str, band: str, *, start: int, count: int) -> list[Member]:
        """A page of a ready set, in order."""
        found = self._call(self._client.zrange, self.key(queue, band), start, start + count - 1, withscores=True)
        return [(UUID(hex=member.decode()), score) for member, score in found]

    def remove(self, jobs: Iterable[Ready]) -> int:
        """Take jobs out of line, or from where they are parked; returns how many were there."""
        lines: dict[tuple[str, str], list[Ready]] = defaultdict(list)
        for job in jobs:
            lines[job.queue, self.band(job.priority)].append(job)
        return sum(
            self._call(self._client.zrem, self.key(*line), *(job.id.hex for job in gone))
            + self._call(self._client.zrem, self._parked_key(*line), *map(_parked, gone))
            for line, gone in lines.items()
        )

    # -- parked by a limit ---------------------------------------------------------------------

    def park(self, jobs: Iterable[Ready]) -> None:
        """Keep jobs that were popped and may not run yet out of line, so that nobody pops them again and again."""
        members: dict[str, dict[str, int]] = defaultdict(dict)
        for job in jobs:
            members[self._parked_key(job.queue, self.band(job.priority))][_parked(job)] = 0
        for key, parked in members.items():
            self._call(self._client.zadd, key, parked)

    def parked_depth(self, queue: str) -> int:
        """Parked jobs of a queue."""
        return sum(int(self._call(self._client.zcard, self._parked_key(queue, band))) for band in BANDS)

    def parked_partitions(self, queue: str, band: str) -> Iterator[str]:
        """The partitions that have parked jobs, found by skipping from one to the next."""
        after = "-"
        while found := self._call(self._client.zrangebylex, self._parked_key(queue, band), after, "+", 0, 1):
            partition = found[0].decode().split("\0", 1)[0]
            yield partition
            after = f"[{partition}\1"

    def parked(self, queue: str, band: str, partition: str, *, count: int) -> list[Ready]:
        """The first parked jobs of a partition, in their order, as they go back into line."""
        first, last = f"[{partition}\0", f"({partition}\1"
        found = self._call(self._client.zrangebylex, self._parked_key(queue, band), first, last, 0, count)
        priority = self._high_priority_from if band == "high" else self._high_priority_from - 1
        return [_unparked(member.decode(), queue=queue, priority=priority) for member in found]

    def unpark(self, jobs: Sequence[Ready]) -> None:
        """Put parked jobs back at the head of the line. All must be of one queue and band.

        If this stops midway they are missing, and the sweep lines them up.
        """
        if jobs:
            key = self._parked_key(jobs[0].queue, self.band(jobs[0].priority))
            self._call(self._client.zrem, key, *map(_parked, jobs))
            self.add(jobs)

    def in_line(self, jobs: Sequence[Ready]) -> list[Ready]:
        """Those of `jobs` that stand in line, whatever their queues and bands."""
        return [job for job in jobs if self.rank(job) is not None]

    def is_parked(self, job: Ready) -> bool:
        key = self._parked_key(job.queue, self.band(job.priority))
        return self._call(self._client.zscore, key, _parked(job)) is not None

    # -- the rest ------------------------------------------------------------------------------

    def depth(self, queue: str) -> dict[str, int]:
        """Jobs in line, per band."""
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


_Job = TypeVar("_Job", Ready, Waiting)


def _batches(jobs: Sequence[_Job]) -> Iterator[Sequence[_Job]]:
    return (jobs[start : start + _PUBLISH_BATCH] for start in range(0, len(jobs), _PUBLISH_BATCH))


def _parked(job: Ready) -> str:
    return f"{job.partition_key}\0{job.order_key:020d}\0{job.id.hex}"


def _unparked(member: str, *, queue: str, priority: int) -> Ready:
    partition, order_key, job_id = member.rsplit("\0", 2)
    return Ready(
        id=UUID(hex=job_id), queue=queue, priority=priority, order_key=int(order_key), partition_key=partition,
        given_back=True,
    )  # fmt: skip


def _reason(error: redis.RedisError) -> str:
    """For a person. Not the server's own words: they may repeat what was sent."""
    if isinstance(error, redis.AuthenticationError):
        return "The broker refuses the user or the password."
    if isinstance(error, NoPermissionError):
        return "The broker's ACL forbids this user a command or a key that is needed: see docs/operations.md, Redis."
    if problem := tls_problem(error):
        return f"The broker cannot be reached over TLS: {problem}."
    return f"The broker did not answer: {type(error).__name__}."
