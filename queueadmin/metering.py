"""From the outcomes of a process to its measures: how long jobs waited, how long they and their stages ran.

Called by the writer with each batch that is committed, so a histogram's count is the number of attempts whose outcome
the ledger has, give or take those whose claim was lost meanwhile. A release is no outcome: its job runs elsewhere.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence

from queueadmin.jobs import Outcome
from queueadmin.measures import JOB_RUN, JOB_STAGE, JOB_WAIT, Labels, Measures

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
        ended = [outcome for outcome in outcomes if outcome.edge != "release"]
        try:
            self._measure_times(ended)
        except Exception:
            logger.exception("times could not be measured", extra={"count": len(ended)})
        for outcome in ended:
            try:
                self._measure_notes(outcome)
            except Exception:
                logger.exception("an outcome could not be measured", extra={"job_id": str(outcome.job.id)})

    def _measure_times(self, outcomes: Sequence[Outcome]) -> None:
        """By actor and not one by one: of a job that does nothing, one by one was a fortieth."""
        waits: dict[Labels, list[float]] = defaultdict(list)
        runs: dict[Labels, list[float]] = defaultdict(list)
        for outcome in outcomes:
            job, detail = outcome.job, outcome.detail
            labels: Labels = (job.queue, job.actor)
            waits[labels].append(max(0, job.waited_ms) / 1000)
            if detail is not None and "seconds" in detail:
                runs[labels].append(detail["seconds"])
        for name, times in ((JOB_WAIT, waits), (JOB_RUN, runs)):
            for labels, seconds in times.items():
                self._measures.observe(name, labels, *seconds)

    def _measure_notes(self, outcome: Outcome) -> None:
        actor, stages = outcome.job.actor, (outcome.detail or {}).get("ms")
        if stages:
            for stage, milliseconds in stages.items():
                self._measures.observe(JOB_STAGE, (actor, stage), milliseconds / 1000)
        meter = _meters.get(actor)
        if meter is not None:
            meter(outcome, self._measures)
