"""The ledger's own actors: interfaces of a few lines."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import dramatiq

from queueadmin import bulk, operations
from queueadmin.broker import get_ledger_broker
from queueadmin.context import current_job

RESUME = "resume queues whose pause is over"


@dramatiq.actor(queue_name="control", max_attempts=20)
def run_bulk_operation(bulk_id: str) -> Any:
    """Carry out what a person asked for on all jobs of a search; a queue of its own, which no backlog delays."""
    return bulk.run(UUID(bulk_id), current_job())


# No periodic actor: a job every second that mostly finds nothing to do would fill the ledger.
get_ledger_broker().add_chore(RESUME, every_seconds=1.0, run=operations.resume_due)
