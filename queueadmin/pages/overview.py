"""What is wrong right now, in one screen."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from queueadmin import inspection
from queueadmin.broker import get_ledger_broker
from queueadmin.selectors import QueueSummary
from queueadmin.states import State


def overview(request: HttpRequest) -> dict[str, Any]:
    """Figures of all queues, each of which leads to the rows behind it."""
    found = inspection.overview(get_ledger_broker().ready_sets)
    summaries = [queue.summary for queue in found.queues]
    return {
        "overview": found,
        "figures": [_figure(summaries, state) for state in _SHOWN],
        "oldest": max((queue.oldest_pending_seconds or 0.0 for queue in summaries), default=0.0),
        "paused": [queue for queue in summaries if queue.is_paused],
    }


_SHOWN = (State.PENDING, State.SCHEDULED, State.PROCESSING, State.RETRYING, State.FAILED, State.DEAD_LETTER)


def _figure(summaries: list[QueueSummary], state: State) -> dict[str, Any]:
    count = sum(summary.counts[state] for summary in summaries)
    return {"state": str(state), "label": state.label, "count": count, "is_bad": count and state == State.DEAD_LETTER}
