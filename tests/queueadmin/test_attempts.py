"""A job's events, grouped by attempt."""

import pytest

from queueadmin import lifecycle, operations, presence, selectors
from queueadmin.attempts import attempts_of
from queueadmin.models import WorkerProcess
from tests.queueadmin.factories import WORKER, claimed, submitted

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]


@pytest.fixture(autouse=True)
def worker() -> None:
    me = presence.Identity(id=WORKER, name="w1", host="host-a", pid=77, pid_started="1")
    presence.register(me, queues=["q"], actors=["act"], threads=1)


def test_each_claim_is_an_attempt_with_its_worker_timings_and_end() -> None:
    # Given an attempt that failed and one that succeeded
    job = claimed(submitted())
    failed = {
        "seconds": 1.5, "ms": {"fetch": 250.0, "extract": 750.0}, "code": "timeout", "message": "too slow",
        "traceback": "Traceback: ...", "delay": 0.0, "bytes": 12,
        "evidence": {"engine": "pdfium", "signal": "SIGKILL", "exit_code": None, "peak_bytes": 99},
    }  # fmt: skip
    lifecycle.finish(
        [lifecycle.retry_later(job, delay=0.0, code="timeout", message="too slow", detail=failed)], worker_id=WORKER
    )
    lifecycle.promote(limit=1, order_key=1)
    lifecycle.finish([lifecycle.complete(claimed(job.id), detail={"seconds": 0.5})], worker_id=WORKER)
    # When
    newest, oldest = attempts_of(selectors.timeline(job.id))
    # Then
    assert (newest.number, newest.outcome, newest.seconds, newest.has_failed) == (2, "Completed", 0.5, False)
    assert (oldest.number, oldest.worker, oldest.host, oldest.pid) == (1, "w1", "host-a", 77)
    assert (oldest.outcome, oldest.code, oldest.message) == ("Failed, tried again later", "timeout", "too slow")
    assert [(stage.name, stage.seconds, stage.share) for stage in oldest.stages] == [
        ("fetch", 0.25, 25), ("extract", 0.75, 75),
    ]  # fmt: skip
    assert (oldest.traceback, oldest.child, oldest.peak_bytes) == ("Traceback: ...", "killed by SIGKILL", 99)
    assert oldest.notes == {"bytes": 12, "engine": "pdfium"}


def test_the_attempt_of_a_worker_that_died_says_how() -> None:
    job = claimed(submitted())
    WorkerProcess.objects.filter(pk=WORKER).update(exit_signal=9, peak_memory=1234)
    lifecycle.rescue([WORKER], worker_id=1, max_crashes=3)
    (attempt,) = attempts_of(selectors.timeline(job.id))
    assert (attempt.outcome, attempt.child, attempt.peak_bytes) == ("Its worker died", "killed by SIGKILL", 1234)
    assert attempt.last_stage == "not reported"


def test_an_attempt_that_runs_has_no_end_and_tells_what_was_asked_of_it() -> None:
    job_id = claimed(submitted()).id
    operations.cancel([job_id], by="Ada", source="cli")
    (attempt,) = attempts_of(selectors.timeline(job_id))
    assert (attempt.is_running, attempt.outcome, attempt.edge) == (True, "Running", "")
    assert [entry.edge for entry in attempt.asked] == ["request_cancel"]


def test_a_job_that_was_never_claimed_has_no_attempts() -> None:
    assert attempts_of(selectors.timeline(submitted())) == []


@pytest.mark.parametrize(
    "detail",
    [{"ms": [1]}, {"ms": {"a": "b", "c": None, "d": True}}, {"evidence": "x"}, {"seconds": "long", "code": 7},
     {"ms": {"a": -5}}, {"peak_bytes": "much", "exit_code": "x", "signal": ["x"]}],
)  # fmt: skip
def test_notes_of_any_shape_do_no_harm(detail: dict[str, object]) -> None:
    job = claimed(submitted())
    lifecycle.finish([lifecycle.complete(job, detail=detail)], worker_id=WORKER)
    (attempt,) = attempts_of(selectors.timeline(job.id))
    assert attempt.outcome == "Completed"
    assert attempt.seconds is not None
