"""How many jobs may run at once: of a queue, of a partition in one queue, of a partition in all queues together.

Limits hold when jobs are claimed, exactly: a claim that limits concern locks their rows, counts what runs, and takes as
many jobs as there is room for, in one transaction. Where there are no limits a claim is the one statement that it
always was; where there are some, a claim that they do not concern costs one look at the popped ids.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import OperationalError, transaction

from queueadmin import lifecycle, lookup, sql
from queueadmin.jobs import Claim, ClaimedJob, Ready
from queueadmin.sql import CONTROL, JOB, LIMIT

_LOCK_TIMEOUT = "500ms"
"""Other claims hold the lock for milliseconds. Somebody's forgotten transaction must not stop this worker."""
_LOCK_NOT_AVAILABLE = "55P03"

Scope = tuple[str, str | None]
"""What one limit covers: a queue ("" for all) and a partition (None for the whole queue)."""
Running = Counter[tuple[str, str]]
"""How many jobs run, by queue and partition."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most jobs that may run at once, by what they cover."""

    most: Mapping[Scope, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.most)

    def of(self, queue: str, partition: str) -> list[Scope]:
        """The limits that cover a job."""
        return [scope for scope in ((queue, None), (queue, partition), ("", partition)) if scope in self.most]

    def bounds_partition(self, queue: str, partition: str) -> bool:
        """Whether a limit of the partition itself covers these jobs."""
        return (queue, partition) in self.most or ("", partition) in self.most

    def room(self, queue: str, partition: str, running: Running) -> int | None:
        """How many more jobs of this partition may start in this queue; None when no limit of a partition says so."""
        scopes = [scope for scope in self.of(queue, partition) if scope[1] is not None]
        return min((max(0, self.most[scope] - used(scope, running)) for scope in scopes), default=None)


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """What a claim took, and what it left because a limit is reached: its partition's, or only its queue's."""

    jobs: tuple[ClaimedJob, ...]
    over_partition: tuple[Ready, ...] = ()
    over_queue: tuple[Ready, ...] = ()


def known() -> Limits:
    """All limits."""
    rows = sql.query(
        f"SELECT queue, NULL AS partition_key, concurrency_limit FROM {CONTROL} WHERE concurrency_limit IS NOT NULL "
        f"UNION ALL SELECT queue, partition_key, concurrency_limit FROM {LIMIT}"
    )
    return _limits(rows)


def count_running() -> Running:
    """Counts the jobs that run now, along the index of those."""
    rows = sql.query(
        f"SELECT queue, partition_key, count(*) AS n FROM {JOB} WHERE state = 'processing' "
        "GROUP BY queue, partition_key"
    )
    return Counter({(row["queue"], row["partition_key"]): int(row["n"]) for row in rows})


def used(scope: Scope, running: Running) -> int:
    """How many of the running jobs a limit covers."""
    queue, partition = scope
    return sum(
        number for (in_queue, of), number in running.items() if queue in ("", in_queue) and partition in (None, of)
    )


def claim(
    claims: Sequence[Claim],
    *,
    limits: Limits,
    actors: Iterable[str],
    worker_id: int,
    suspects: bool = False,
    suspect_from: int = 1,
    now: datetime | None = None,
) -> Claimed:
    """`lifecycle.claim` for as many of `claims` as limits let run. `limits` are those known a moment ago.

    They decide which claims are looked at closely; what is held to is what the rows say under their locks. Jobs over a
    limit stay pending, and so do those whose limit somebody keeps locked.
    """

    def take(left_out: Iterable[Ready] = ()) -> tuple[ClaimedJob, ...]:
        out = {job.id for job in left_out}
        wanted = [item for item in claims if item.id not in out]
        if not wanted:
            return ()
        return tuple(
            lifecycle.claim(
                wanted, actors=actors, worker_id=worker_id, suspects=suspects, suspect_from=suspect_from, now=now
            )
        )

    limited = _limited(claims, limits)
    if not limited:
        return Claimed(jobs=take())
    try:
        with transaction.atomic():
            over_partition, over_queue = _over(limited, _locked(limited), count_running())
            return Claimed(
                jobs=take([*over_partition, *over_queue]),
                over_partition=tuple(over_partition),
                over_queue=tuple(over_queue),
            )
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
    by_partition = [job for job in limited if limits.bounds_partition(job.queue, job.partition_key)]
    by_queue = [job for job in limited if job not in by_partition]
    return Claimed(jobs=take(limited), over_partition=tuple(by_partition), over_queue=tuple(by_queue))


def _limited(claims: Sequence[Claim], limits: Limits) -> list[Ready]:
    """The pending jobs that a limit covers, in the order in which they were popped."""
    if not limits:
        return []
    return [job for job in lookup.waiting([item.id for item in claims]) if limits.of(job.queue, job.partition_key)]


def _locked(jobs: Sequence[Ready]) -> Limits:
    """The limits that may cover `jobs`, as they are now, and nobody else's to count by until the transaction ends.

    Always queues before partitions and each in order, so that two claims never wait for each other.
    """
    d = sql.dialect()
    lock = ""
    if sql.is_postgresql():
        sql.query("SELECT set_config('lock_timeout', %(timeout)s, true)", {"timeout": _LOCK_TIMEOUT})
        lock = " FOR NO KEY UPDATE"
    queues = sql.query(
        f"SELECT queue, NULL AS partition_key, concurrency_limit FROM {CONTROL} "
        f"WHERE {d.member('queue', 'queues')} AND concurrency_limit IS NOT NULL ORDER BY queue{lock}",
        {"queues": json.dumps(sorted({job.queue for job in jobs}))},
    )
    partitions = sql.query(
        f"SELECT queue, partition_key, concurrency_limit FROM {LIMIT} "
        f"WHERE {d.member('partition_key', 'partitions')} ORDER BY partition_key, queue{lock}",
        {"partitions": json.dumps(sorted({job.partition_key for job in jobs}))},
    )
    return _limits([*queues, *partitions])


def _over(jobs: Sequence[Ready], limits: Limits, running: Running) -> tuple[list[Ready], list[Ready]]:
    """Those for which there is no room: because of their partition, and because of their queue only."""
    taken = Counter({scope: used(scope, running) for scope in limits.most})
    over_partition, over_queue = [], []
    for job in jobs:
        scopes = limits.of(job.queue, job.partition_key)
        full = [scope for scope in scopes if taken[scope] >= limits.most[scope]]
        if any(partition is not None for _, partition in full):
            over_partition.append(job)
        elif full:
            over_queue.append(job)
        else:
            taken.update(scopes)
    return over_partition, over_queue


def _limits(rows: Iterable[sql.Row]) -> Limits:
    return Limits(most={(row["queue"], row["partition_key"]): row["concurrency_limit"] for row in rows})
