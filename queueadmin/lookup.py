"""The few reads that the broker, worker and dispatcher need, as SQL by hand.

They use no models: Django sets up the broker before it loads any.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from queueadmin import sql
from queueadmin.jobs import Ready, Waiting
from queueadmin.sql import CONTROL, JOB, PERIODIC, Row
from queueadmin.states import LIVE

_LIVE = ", ".join(f"'{state}'" for state in sorted(LIVE))
_READY = "id, queue, priority, order_key, partition_key"


def unique_key_holders(keys: Sequence[str]) -> dict[str, UUID]:
    """Which live job holds each unique key."""
    if not keys:
        return {}
    rows = sql.query(
        f"SELECT unique_key, id FROM {JOB} j WHERE {sql.dialect().member('j.unique_key', 'keys')} "
        f"AND unique_key IS NOT NULL AND state IN ({_LIVE})",
        {"keys": json.dumps(list(keys))},
    )
    return {row["unique_key"]: sql.as_uuid(row["id"]) for row in rows}


def pending_up_to(queue: str, limit: int) -> int:
    """How many jobs of a queue are pending, counted no further than `limit`."""
    rows = sql.query(
        f"SELECT count(*) AS n FROM (SELECT 1 FROM {JOB} WHERE state = 'pending' AND queue = %(queue)s "
        "LIMIT %(limit)s) counted",
        {"queue": queue, "limit": limit},
    )
    return int(rows[0]["n"])


def paused_queues() -> frozenset[str]:
    return frozenset(row["queue"] for row in sql.query(f"SELECT queue FROM {CONTROL} WHERE paused_at IS NOT NULL"))


def paused_periodic() -> frozenset[str]:
    """The periodic actors that operators have paused."""
    return frozenset(row["actor"] for row in sql.query(f"SELECT actor FROM {PERIODIC}"))


def waiting(ids: Sequence[UUID]) -> list[Ready]:
    """Those of `ids` that are pending, in the order of `ids`."""
    found = {
        (job := _ready(row)).id: job
        for row in sql.query(
            f"SELECT {_READY} FROM {JOB} j JOIN {sql.dialect().rows({'wanted': 'uuid'})} w ON w.wanted = j.id "
            "WHERE j.state = 'pending'",
            {"rows": sql.encode([{"wanted": job_id} for job_id in ids])},
        )
    }
    return [found[job_id] for job_id in ids if job_id in found]


def held_by(worker_id: int) -> list[Row]:
    """What the ledger says a worker holds: id, token, and whether it was asked to stop ("cancel")."""
    rows = sql.query(
        f"SELECT id, token, cancel_requested_at FROM {JOB} WHERE state = 'processing' AND worker_id = %(worker_id)s",
        {"worker_id": worker_id},
    )
    return [
        {
            "id": sql.as_uuid(row["id"]),
            "token": sql.as_uuid(row["token"]),
            "cancel": bool(row["cancel_requested_at"]),
        }
        for row in rows
    ]


def holding_workers() -> list[int]:
    """Every worker id that some processing job names."""
    rows = sql.query(f"SELECT DISTINCT worker_id FROM {JOB} WHERE state = 'processing' AND worker_id IS NOT NULL")
    return [int(row["worker_id"]) for row in rows]


def pending_queues() -> list[str]:
    """Queues that have pending jobs, found by skipping along the index instead of reading all of it."""
    found: list[str] = []
    while True:
        row = sql.query(
            f"SELECT queue FROM {JOB} WHERE state = 'pending' AND queue > %(last)s ORDER BY queue LIMIT 1",
            {"last": found[-1] if found else ""},
        )
        if not row:
            return found
        found.append(row[0]["queue"])


def pending_page(queue: str, *, after: tuple[int, UUID] | None, due_before: int, limit: int) -> list[Ready]:
    """A page of a queue's pending jobs in their order, from behind the position `after`."""
    position = after or (-1, UUID(int=0))
    rows = sql.query(
        f"SELECT {_READY} FROM {JOB} WHERE state = 'pending' AND queue = %(queue)s "
        "AND (order_key, id) > (%(order_key)s, %(id)s) AND order_key < %(due_before)s "
        "ORDER BY order_key, id LIMIT %(limit)s",
        {
            "queue": queue, "order_key": position[0], "id": position[1].hex, "due_before": due_before, "limit": limit,
        },
    )  # fmt: skip
    return [_ready(row) for row in rows]


def waiting_page(queue: str, *, after: Waiting | None, limit: int) -> list[Waiting]:
    """A page of a queue's pending jobs in their order, from behind `after`, as the sweep needs them."""
    rows = sql.tuples(
        f"SELECT order_key, {sql.dialect().digits('id')}, priority, partition_key FROM {JOB} "
        "WHERE state = 'pending' AND queue = %(queue)s AND (order_key, id) > (%(order_key)s, %(id)s) "
        "ORDER BY order_key, id LIMIT %(limit)s",
        {
            "queue": queue, "limit": limit, "order_key": -1 if after is None else after.order_key,
            "id": "0" * 32 if after is None else after.id,
        },
    )  # fmt: skip
    return [Waiting(*row) for row in rows]


def _ready(row: Row) -> Ready:
    return Ready(
        id=sql.as_uuid(row["id"]), queue=row["queue"], priority=row["priority"], order_key=row["order_key"],
        partition_key=row["partition_key"],
    )  # fmt: skip


def pending(ids: Sequence[UUID]) -> list[Ready]:
    """Those of `ids` that are pending."""
    rows = sql.query(
        f"SELECT {_READY} FROM {JOB} j JOIN {sql.dialect().rows({'wanted': 'uuid'})} w ON w.wanted = j.id "
        "WHERE j.state = 'pending'",
        {"rows": sql.encode([{"wanted": job_id} for job_id in ids])},
    )
    return [_ready(row) for row in rows]


@dataclass(frozen=True, kw_only=True)
class Unclaimed:
    """Pending jobs that a worker popped and did not claim.

    Those of unknown actors, those that must run alone, and those that it could have had: somebody held their rows.
    """

    foreign: tuple[Ready, ...]
    suspects: tuple[Ready, ...]
    locked: tuple[Ready, ...]


def unclaimed(ids: Sequence[UUID], actors: Sequence[str], *, suspect_from: int) -> Unclaimed:
    """Why those of `ids` that are still pending were not claimed by a worker that knows `actors`."""
    d = sql.dialect()
    rows = sql.query(
        f"SELECT {_READY}, actor, crashes FROM {JOB} j JOIN {d.rows({'wanted': 'uuid'})} w "
        "ON w.wanted = j.id WHERE j.state = 'pending' ORDER BY j.order_key",
        {"rows": sql.encode([{"wanted": job_id} for job_id in ids])},
    )
    known = frozenset(actors)
    return Unclaimed(
        foreign=tuple(_popped(row) for row in rows if row["actor"] not in known),
        suspects=tuple(_popped(row) for row in rows if row["actor"] in known and row["crashes"] >= suspect_from),
        locked=tuple(_popped(row) for row in rows if row["actor"] in known and row["crashes"] < suspect_from),
    )


def _popped(row: Row) -> Ready:
    """A job that was in line, and goes back to where it stood."""
    return replace(_ready(row), given_back=True)


def something_due() -> bool:
    """Whether a scheduled or retrying job's time has come; reads one index entry."""
    d = sql.dialect()
    return bool(
        sql.query(
            f"SELECT 1 AS due FROM {JOB} WHERE state IN ('retrying', 'scheduled') AND run_at <= {d.now} LIMIT 1",
            {"now": d.time(None)},
        )
    )
