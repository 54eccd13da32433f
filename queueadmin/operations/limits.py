"""How many jobs may run at once: of a queue, of a partition."""

from __future__ import annotations

from typing import Unpack

from django.db import transaction

from queueadmin.audit import Who, audited
from queueadmin.models import PartitionLimit, QueueControl
from queueadmin.operations.queues import require_known
from queueadmin.operations.results import InvalidLimit, LimitResult
from queueadmin.sanitize import clean_text

MAX_LIMIT = 1_000_000
MAX_PARTITION_KEY = 64
"""Characters, as Job.partition_key."""


def set_limit(
    limit: int | None,
    *,
    queue: str = "",
    partition: str | None = None,
    **who: Unpack[Who],
) -> LimitResult:
    """Let at most `limit` jobs run at once; None lifts the limit, 0 lets none run. What runs already goes on.

    Of a queue, of a partition in one queue, or of a partition in all queues together (without `queue`). Workers heed
    it within a second. Raises UnknownQueue, InvalidLimit.
    """
    if queue:
        require_known(queue)
    if limit is not None and not 0 <= limit <= MAX_LIMIT:
        raise InvalidLimit(f"A limit is a whole number from 0 to {MAX_LIMIT:,}, or none.")
    if partition is None and not queue:
        raise InvalidLimit("Name the queue or the partition whose jobs are to be limited.")
    if partition is not None and partition != clean_text(partition, MAX_PARTITION_KEY):
        raise InvalidLimit(f"A partition key is at most {MAX_PARTITION_KEY} characters without control characters.")
    target = " in ".join(filter(None, (partition, queue))) or "jobs without a partition"
    with audited("set_limit", target, 1, **who) as log:
        before = _replace_limit(limit, queue, partition)
        log.done, log.detail = 1, {"queue": queue, "partition": partition, "limit": limit, "before": before}
    return LimitResult(log_id=log.pk, queue=queue, partition=partition, limit=limit, before=before)


def _replace_limit(limit: int | None, queue: str, partition: str | None) -> int | None:
    """Returns the limit that was set before."""
    with transaction.atomic():
        if partition is None:
            control, _ = QueueControl.objects.get_or_create(queue=queue)
            QueueControl.objects.filter(queue=queue).update(concurrency_limit=limit)
            return control.concurrency_limit
        rows = PartitionLimit.objects.filter(queue=queue, partition_key=partition)
        before = rows.values_list("concurrency_limit", flat=True).first()
        if limit is None:
            rows.delete()
        else:
            PartitionLimit.objects.update_or_create(
                queue=queue, partition_key=partition, defaults={"concurrency_limit": limit}
            )
        return before
