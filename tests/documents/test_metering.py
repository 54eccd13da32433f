"""What is measured of an attempt: each engine once, each killed child once, and nothing that anybody can make up."""

from typing import Any

import pytest

from documents.metering import ENGINE_RUNS, ENGINE_SECONDS, SANDBOX_KILLS, measure_extraction
from queueadmin import lifecycle
from queueadmin.ids import new_token, uuid7
from queueadmin.jobs import ClaimedJob, Outcome
from queueadmin.measures import Measures

Found = dict[str, dict[tuple[str, ...], float]]

PDFIUM, OCR = {"engine": "pypdfium2", "seconds": 0.2}, {"engine": "ocr", "seconds": 3.0}


def measured(outcome: Outcome) -> Found:
    """Metric -> labels -> count of a histogram, value of a counter."""
    measures = Measures()
    measure_extraction(outcome, measures)
    found: Found = {ENGINE_SECONDS: {}, ENGINE_RUNS: {}, SANDBOX_KILLS: {}}
    for reading in measures.unwritten():
        found[reading.name][reading.labels] = reading.count
    return found


def job() -> ClaimedJob:
    return ClaimedJob(
        id=uuid7(), token=new_token(), queue="q", actor="ingest_document", payload={}, attempt=1, run=1, failures=0,
        crashes=0, max_attempts=3,
    )  # fmt: skip


def completed(**detail: Any) -> Outcome:
    return lifecycle.complete(job(), detail={"content_type": "application/pdf", **detail})


def failed(code: str, **detail: Any) -> Outcome:
    return lifecycle.fail(job(), code=code, message="m", detail={"content_type": "application/pdf", **detail})


def test_each_engine_that_ran_is_counted_with_what_became_of_it() -> None:
    found = measured(completed(engine="ocr", tried=[{**PDFIUM, "reason": "needs_ocr"}, {**OCR, "reason": ""}]))
    assert found[ENGINE_SECONDS] == {("pypdfium2", "pdf"): 1, ("ocr", "pdf"): 1}
    assert found[ENGINE_RUNS] == {("pypdfium2", "pdf", "needs_ocr"): 1, ("ocr", "pdf", "used"): 1}
    assert found[SANDBOX_KILLS] == {}


def test_a_type_that_is_none_of_ours_is_other() -> None:
    found = measured(completed(content_type="application/x-made-up", tried=[{**PDFIUM, "reason": ""}]))
    assert found[ENGINE_RUNS] == {("pypdfium2", "other", "used"): 1}


@pytest.mark.parametrize(
    ("outcome", "kills"),
    [
        (completed(tried=[{**PDFIUM, "reason": "extractor_crashed"}, {**OCR, "reason": ""}]), {"extractor_crashed": 1}),
        (
            failed(
                "extractor_crashed",
                tried=[{**PDFIUM, "reason": "extractor_crashed"}, {**OCR, "reason": "extractor_crashed"}],
                evidence={},
            ),
            {"extractor_crashed": 2},
        ),
        (failed("extraction_timeout", tried=[], evidence={"engine": "ocr"}), {"extraction_timeout": 1}),
        (failed("out_of_memory", tried=[{**PDFIUM, "reason": "out_of_memory"}], evidence={}), {"out_of_memory": 1}),
        (lifecycle.stop(job(), detail={"tried": [], "evidence": {}}), {"cancelled": 1}),
        (lifecycle.stop(job(), detail={"ms": {"fetch": 3.0}}), {}),
        (failed("encrypted", tried=[{**PDFIUM, "reason": "encrypted"}], evidence={}), {}),
        (failed("not_found"), {}),
    ],
)
def test_each_child_that_was_ended_is_counted_once(outcome: Outcome, kills: dict[str, int]) -> None:
    assert measured(outcome)[SANDBOX_KILLS] == {(reason,): count for reason, count in kills.items()}
