"""One durable actor, which the bad release breaks."""

from __future__ import annotations

import os
import time
from typing import Any

import dramatiq

from tests.photographs.release import BAD, QUEUE, VARIABLE

_SECONDS = 0.2


@dramatiq.actor(queue_name=QUEUE, max_attempts=2, min_backoff_seconds=1, max_backoff_seconds=2)
def build_report(customer: str, month: str) -> dict[str, Any]:
    """Add up a customer's month."""
    time.sleep(_SECONDS)
    invoices = [{"number": f"{month}-{n}", "total": 100 * n} for n in range(1, 4)]
    return {"customer": customer, "total": sum(total_of(invoice) for invoice in invoices)}


def total_of(invoice: dict[str, Any]) -> int:
    """What the bad release expects, the database does not hold yet: its migration was forgotten."""
    amount: int = invoice["total_in_cents"] if os.environ.get(VARIABLE) == BAD else 100 * invoice["total"]
    return amount
