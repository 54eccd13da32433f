"""From the outcomes of a process to its measures: how long jobs waited, how long they and their stages ran.

Called by the writer with each batch that is committed, so a histogram's count is the number of attempts whose outcome
the ledger has, give or take those whose claim was lost meanwhile. A release is no outcome: its job runs elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from queueadmin.jobs import Outcome
from queueadmin.measures import JOB_RUN, JOB_STAGE, JOB_WAIT, Measures

logger = logging.getLogger(__name__)

Meter = Callable[[Outcome, Measures], None]

_meters: dict[str, Meter] = {}


def register(actor: str, meter: Meter) -> None:
    """Have `meter` look at every outcome of an actor's attempts, to measure what only its application knows.

    What it needs is in the outcome's `detail`: the notes of the attempt (`JobContext.note`).
    """
    _meters[actor] = meter


class OutcomeMeter:
    """Measures batches of outcomes. Never raises: the outcomes are committed, whatever becomes of their measures."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def __call__(self, outcomes: Sequence[Outcome]) -> None:
        try:
            for outcome in outcomes:
                if outcome.edge != "release":
                    self._measure(outcome)
        except Exception:
            logger.exception("outcomes could not be measured")

    def _measure(self, outcome: Outcome) -> None:
        measures, job, detail = self._measures, outcome.job, outcome.detail or {}
        labels = (job.queue, job.actor)
        measures.observe(JOB_WAIT, labels, job.waited_ms / 1000)
        if "seconds" in detail:
            measures.observe(JOB_RUN, labels, detail["seconds"])
        if "ms" in detail:
            for stage, milliseconds in detail["ms"].items():
                measures.observe(JOB_STAGE, (job.actor, stage), milliseconds / 1000)
        meter = _meters.get(job.actor)
        if meter is not None:
            meter(outcome, measures)
