"""What the domain adds to the metrics: engines and formats, ends of the sandbox's children, webhooks."""

from __future__ import annotations

from collections.abc import Iterator

from documents.metering import ENGINE_RUNS, ENGINE_SECONDS, SANDBOX_KILLS
from queueadmin.metrics.collector import Source
from queueadmin.metrics.families import counter, histogram
from queueadmin.metrics.ledger import Ledger
from queueadmin.metrics.samples import Sample

WEBHOOK_QUEUE = "webhooks"
WEBHOOK_DELIVERIES = "documents_webhook_deliveries_total"


def _derive(ledger: Ledger) -> Iterator[Sample]:
    """Webhooks, from the ledger's own counts: what was delivered, and each try that was not, by its error code."""
    delivered = sum(totals.completed for (queue, _), totals in ledger.totals.items() if queue == WEBHOOK_QUEUE)
    yield Sample(name=WEBHOOK_DELIVERIES, labels=("delivered",), value=float(delivered))
    for (queue, _, code, _), count in ledger.failures.items():
        if queue == WEBHOOK_QUEUE:
            yield Sample(name=WEBHOOK_DELIVERIES, labels=(code,), value=float(count))


SOURCE = Source(
    families=(
        histogram(ENGINE_SECONDS, "How long an extraction engine ran on a document.", "engine", "format"),
        counter(ENGINE_RUNS,
                "Runs of an extraction engine by result: used, or why the next one was tried or extraction failed.",
                "engine", "format", "result"),
        counter(SANDBOX_KILLS, "Extraction children that were ended or died, by reason.", "reason"),
        counter(WEBHOOK_DELIVERIES, "Tries to deliver a webhook: delivered, or the error code.", "result"),
    ),
    derive=_derive,
)  # fmt: skip
