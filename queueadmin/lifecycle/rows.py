"""What the edges share: the row of a job on its way to the ready sets, and guards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from queueadmin import sql
from queueadmin.jobs import Ready
from queueadmin.sql import Row
from queueadmin.states import State

READY = ("id", "queue", "priority", "order_key", "partition_key")
ID = {"id": "uuid"}


def ready(row: Row) -> Ready:
    """Needs the columns `READY`."""
    return Ready(
        id=sql.as_uuid(row["id"]), queue=row["queue"], priority=row["priority"], order_key=row["order_key"],
        partition_key=row["partition_key"],
    )  # fmt: skip


def id_rows(ids: Sequence[UUID]) -> list[Row]:
    """One row for each id, in the columns `ID`."""
    return [{"id": item} for item in dict.fromkeys(ids)]


def in_states(states: Iterable[State]) -> str:
    """A guard: only jobs in these states."""
    return f"j.state IN ({', '.join(repr(str(state.value)) for state in states)})"
