"""What must hold of documents after a run: their ends, their results, their webhooks."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from tests.faults.apps.plan import DEADLY, DOCUMENT_KINDS, GREEDY, Plan, content
from tests.faults.inbox import Delivery, Inbox
from tests.faults.site import Site

EXPECTED_FAILURES = {DEADLY: "extractor_crashed", GREEDY: "out_of_memory"}
_READ_RESULTS = 40
"""Results that are read back per run; the checksum of what was read is compared for all."""

Row = Mapping[str, Any]


def is_document(plan: Plan, number: int) -> bool:
    return plan.job(number).kind in DOCUMENT_KINDS


def expected_end(plan: Plan, number: int) -> tuple[str, str]:
    """State and error code in which a document must end."""
    code = EXPECTED_FAILURES.get(plan.job(number).kind, "")
    return ("failed", code) if code else ("completed", "")


def results(site: Site, plan: Plan, completed: Mapping[int, Row]) -> list[str]:
    """No document is called complete of which a part was not read, or whose result is not there as it should be."""
    contents = {number: content(plan.run, plan.job(number)) for number in completed}
    unread = sum(
        row["result"].get("sha256") != hashlib.sha256(contents[number]).hexdigest() for number, row in completed.items()
    )
    missing = sum(
        contents[number] not in site.result(row["result"]["key"])
        for number, row in islice(completed.items(), _READ_RESULTS)
    )
    words = {"documents read in part": unread, "results missing or damaged": missing}
    return [f"{count} {what}" for what, count in words.items() if count]


def accepted_at(inbox: Inbox) -> dict[str, float]:
    """Task id -> when the receiver first took its webhook."""
    found: dict[str, float] = {}
    for delivery in list(inbox.deliveries):
        if delivery.accepted:
            found.setdefault(delivery.task, delivery.at)
    return found


def webhooks(inbox: Inbox, owed: Iterable[str]) -> list[str]:
    """Each end was delivered at least once, always signed, always with the same id and the same body."""
    by_task: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in list(inbox.deliveries):
        by_task[delivery.task].append(delivery)
    faults: Counter[str] = Counter()
    for task in owed:
        sent = by_task.get(task, [])
        faults["webhooks never accepted"] += not any(delivery.accepted for delivery in sent)
        faults["webhooks with two ids"] += len({delivery.id for delivery in sent}) > 1
        faults["webhooks with two bodies"] += len({delivery.body for delivery in sent}) > 1
        faults["webhooks with a bad signature"] += not all(delivery.is_signed for delivery in sent)
    return [f"{count} {what}" for what, count in faults.items() if count]
