"""What is measured of an attempt to ingest a document: engines by format, and ends of the sandbox's children."""

from __future__ import annotations

from documents.extraction.errors import ExtractionTimeout, ExtractorCrashed, OutOfMemory
from documents.extraction.formats import format_of_content_type
from queueadmin.jobs import Outcome
from queueadmin.measures import OTHER, Measures

ENGINE_SECONDS = "documents_engine_seconds"
ENGINE_RUNS = "documents_engine_runs_total"
SANDBOX_KILLS = "documents_sandbox_kills_total"

_USED = "used"
_KILLS = frozenset({ExtractionTimeout.code, OutOfMemory.code, ExtractorCrashed.code})
_CANCELLED = "cancelled"


def measure_extraction(outcome: Outcome, measures: Measures) -> None:
    """Measure an attempt to ingest a document by what the pipeline noted of it."""
    detail = outcome.detail or {}
    tried = detail.get("tried", ())
    kind = format_of_content_type(detail.get("content_type", "")) or OTHER
    for run in tried:
        measures.observe(ENGINE_SECONDS, (run["engine"], kind), run["seconds"])
        measures.add(ENGINE_RUNS, (run["engine"], kind, run["reason"] or _USED))
    for reason in _kills(outcome, [run["reason"] for run in tried]):
        measures.add(SANDBOX_KILLS, (reason,))


def _kills(outcome: Outcome, reasons: list[str]) -> list[str]:
    """Why extraction children ended. One that was stopped at its deadline, or died before an engine ran, is not among
    the engines tried, but it is what the attempt failed of."""
    kills = [reason for reason in reasons if reason in _KILLS]
    if outcome.error_code in _KILLS and outcome.error_code not in kills:
        kills.append(outcome.error_code)
    if outcome.edge == "stop" and "evidence" in (outcome.detail or {}):
        kills.append(_CANCELLED)
    return kills
