"""What people do to queues: pause, resume, purge; and the repair of the broker's ready sets."""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from queueadmin import lookup, selectors
from queueadmin.audit import Who, audited
from queueadmin.broker import get_ledger_broker
from queueadmin.jobs import Ready
from queueadmin.models import QueueControl
from queueadmin.operations.batches import BATCH, NAME, cancel_waiting
from queueadmin.operations.results import Progress, QueueResult, UnknownQueue, untold
from queueadmin.sanitize import clean_text
from queueadmin.sweep import Swept, sweep

_EVER = 2**62


def purge(queue: str, *, on_progress: Progress = untold, **who: Unpack[Who]) -> QueueResult:
    """Cancel the pending jobs of a queue, batch by batch; scheduled, retrying and running ones stay.

    It ends after as many jobs as were pending when it began, so that it never chases new ones.
    Raises UnknownQueue.
    """
    require_known(queue)
    by = clean_text(who["by"], NAME)
    depth = selectors.pending_count(queue)
    with audited("purge", queue, depth, **who) as log:
        seen, after = 0, None
        while seen < depth and (page := _page(queue, after, min(BATCH, depth - seen))):
            log.done += len(cancel_waiting([job.id for job in page], by))
            seen += len(page)
            after = (page[-1].order_key, page[-1].id)
            on_progress(seen)
    return QueueResult(log_id=log.pk, queue=queue, requested=depth, changed=log.done)


def _page(queue: str, after: tuple[int, UUID] | None, limit: int) -> list[Ready]:
    return lookup.pending_page(queue, after=after, due_before=_EVER, limit=limit)


def pause(queue: str, **who: Unpack[Who]) -> QueueResult:
    """Let no worker claim from a queue; what runs goes on, and submissions are accepted. Raises UnknownQueue."""
    require_known(queue)
    with audited("pause", queue, 1, **who) as log:
        QueueControl.objects.get_or_create(queue=queue)
        log.done = QueueControl.objects.filter(queue=queue, paused_at=None).update(
            paused_at=timezone.now(), paused_by=clean_text(who["by"], 150), reason=clean_text(who.get("reason", ""))
        )
    return QueueResult(log_id=log.pk, queue=queue, requested=1, changed=log.done)


def resume(queue: str, **who: Unpack[Who]) -> QueueResult:
    """Let workers claim from a paused queue again. Raises UnknownQueue."""
    require_known(queue)
    with audited("resume", queue, 1, **who) as log:
        log.done = QueueControl.objects.filter(queue=queue, paused_at__isnull=False).update(
            paused_at=None, paused_by="", reason=""
        )
        # What was popped while it was being paused waits for the next sweep; the head need not, and stays the head.
        head = [replace(job, given_back=True) for job in _page(queue, None, BATCH)]
        transaction.on_commit(lambda: get_ledger_broker().publisher.publish(head))
    return QueueResult(log_id=log.pk, queue=queue, requested=1, changed=log.done)


def repair(*, on_progress: Progress = untold, **who: Unpack[Who]) -> Swept:
    """Publish every pending job that the broker lacks, now. Raises BrokerUnavailable."""
    with audited("repair", "all queues", 0, **who) as log:
        sets = get_ledger_broker().ready_sets
        sets.ping()  # with nothing pending the sweep asks nobody, and "repaired" would be a guess
        swept = sweep(sets, on_progress=on_progress)
        log.requested, log.done = swept.republished, swept.republished
        log.detail = {"pending": swept.pending}
    return swept


def require_known(queue: str) -> None:
    """Raises UnknownQueue."""
    known = selectors.known_queues()
    if queue not in known:
        raise UnknownQueue(queue, known)
