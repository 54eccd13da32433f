"""What an exception means, decided without any I/O."""

import pytest
from dramatiq.errors import Retry
from hypothesis import given
from hypothesis import strategies as st

from queueadmin.decisions import (
    Backoff,
    Bury,
    Complete,
    Fail,
    Release,
    RetryLater,
    Stop,
    decide,
    describe,
    fingerprint,
    stop_when_exhausted,
    without_decision,
)
from queueadmin.exceptions import JobCancelled, JobError, PermanentJobError

BACKOFF = Backoff(minimum=5, maximum=600)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def decision(error: BaseException, *, failures: int = 1, cancel_reason: str | None = None, fraction: float = 0.0):  # type: ignore[no-untyped-def]  # a union, narrowed by each test
    return decide(error, failures=failures, backoff=BACKOFF, fraction=fraction, cancel_reason=cancel_reason)


def test_an_error_of_unknown_kind_is_retried_as_internal_error() -> None:
    made = decision(raised(ValueError("no")))
    assert isinstance(made, RetryLater)
    assert (made.fault.code, made.fault.message) == ("internal_error", "ValueError: no")
    assert "Traceback" in made.fault.traceback


def test_any_error_that_says_it_is_not_retryable_fails_at_once() -> None:
    class Foreign(Exception):
        code = "foreign"
        retryable = False

    made = decision(raised(Foreign("no")))
    assert isinstance(made, Fail)
    assert (made.fault.code, made.fault.message, made.fault.traceback) == ("foreign", "no", "")


def test_a_server_that_asks_for_patience_gets_it() -> None:
    made = decision(raised(JobError("busy", retry_after=90)))
    assert isinstance(made, RetryLater)
    assert made.delay == 90


def test_dramatiqs_own_retry_names_its_delay() -> None:
    made = decision(raised(Retry("later", delay=1500)))
    assert isinstance(made, RetryLater)
    assert made.delay == 1.5


@pytest.mark.parametrize(("reason", "expected"), [("cancelled", Stop), ("shutdown", Release)])
def test_a_job_that_stopped_as_asked_is_cancelled_or_given_back(reason: str | None, expected: type) -> None:
    assert isinstance(decision(raised(JobCancelled()), cancel_reason=reason), expected)


def test_a_fault_while_a_cancellation_is_under_way_is_still_a_fault() -> None:
    assert isinstance(decision(raised(PermanentJobError("x")), cancel_reason="cancelled"), Fail)


@given(failures=st.integers(1, 10_000), fraction=st.floats(0, 1, exclude_max=True))
def test_backoff_doubles_within_its_bounds(failures: int, fraction: float) -> None:
    delay = BACKOFF.delay(failures, fraction)
    assert 2.5 <= delay <= 600
    assert BACKOFF.delay(failures + 1, fraction) >= delay


def test_one_retry_too_many_is_a_dead_letter() -> None:
    retry = decision(raised(ValueError("no")))
    assert stop_when_exhausted(retry, failures=3, max_attempts=4) is retry
    assert isinstance(stop_when_exhausted(retry, failures=4, max_attempts=4), Bury)


def test_an_exception_without_a_decision_is_never_a_success() -> None:
    assert isinstance(without_decision(ValueError("no"), result=None), Fail)
    assert without_decision(None, result=1) == Complete(result=1)


def test_failures_of_one_kind_share_a_fingerprint() -> None:
    def fail(text: str) -> BaseException:
        return raised(OSError(text))

    assert fingerprint(fail("host 10.0.0.1 port 80")) == fingerprint(fail("host 10.9.8.7 port 8080"))
    assert fingerprint(fail("host down")) != fingerprint(fail("disk full"))


def test_a_message_that_no_database_stores_is_cleaned_and_cut() -> None:
    fault = describe(raised(PermanentJobError("a\x00b" + "x" * 9000)))
    assert fault.message.startswith("a�b")
    assert len(fault.message) == 4000


@pytest.mark.parametrize("asked", [float("inf"), float("nan"), 1e12, -5, "soon", True])
def test_a_delay_that_makes_no_sense_stays_within_reason(asked: object) -> None:
    error = JobError("busy")
    error.retry_after = asked  # type: ignore[assignment]  # what a server may send
    made = decision(raised(error))
    assert isinstance(made, RetryLater)
    assert 0 <= made.delay <= 7 * 24 * 3600


def test_a_job_that_calls_itself_cancelled_unasked_has_failed() -> None:
    assert isinstance(decision(raised(JobCancelled()), failures=1), RetryLater)
