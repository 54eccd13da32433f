"""What the log says of attempts: nothing of a success that nobody announced, everything else with its reason."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dramatiq
import pytest

from queueadmin import context, lines
from queueadmin.broker import LedgerRedisBroker
from queueadmin.exceptions import JobError, PermanentJobError
from queueadmin.hand import Hand
from queueadmin.models import Job
from queueadmin.origin import Origin, on_behalf_of
from tests.queueadmin.factories import claimed, submitted
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

RunWorker = Callable[..., dramatiq.Worker]


class Busy(JobError):
    """The other side is busy."""

    code = "busy"


class Broken(PermanentJobError):
    """It is broken for good."""

    code = "broken"


def actor(broker: LedgerRedisBroker, error: Exception | None = None, **options: Any) -> dramatiq.Actor[[], None]:
    def act() -> None:
        if error is not None:
            raise error

    return dramatiq.actor(act, broker=broker, queue_name="q", **options)


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.name == "queueadmin.lines"]


def run_once(act: dramatiq.Actor[[], None], run_worker: RunWorker, *, until: str) -> None:
    job_id = act.send().message_id
    run_worker(threads=1)
    wait_until(lambda: Job.objects.get(pk=job_id).state == until, what=f"the job to be {until}")


def test_a_success_is_told_of_announced_actors_only(
    broker: LedgerRedisBroker, run_worker: RunWorker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    quiet, told = actor(broker, actor_name="quiet"), actor(broker, actor_name="told", announced=True)
    quiet.send()
    run_once(told, run_worker, until="completed")
    assert [(line["msg"], line["actor"]) for line in lines_of(caplog)] == [
        ("job started", "told"), ("job completed", "told"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "options", "state", "message", "code"),
    [
        (Busy(), {}, "retrying", "job will be retried", "busy"),
        (Busy(), {"max_attempts": 1}, "dead_letter", "job became a dead letter", "busy"),
        (Broken(), {}, "failed", "job failed", "broken"),
    ],
)
def test_what_goes_wrong_is_told_with_its_reason(
    broker: LedgerRedisBroker, run_worker: RunWorker, caplog: pytest.LogCaptureFixture,
    error: Exception, options: dict[str, Any], state: str, message: str, code: str,
) -> None:  # fmt: skip
    # Given a job that was sent for a request
    caplog.set_level(logging.INFO)
    with on_behalf_of(Origin(request_id="r-1", labels={"document_id": "d-1"})):
        # When it goes wrong
        run_once(actor(broker, error, actor_name="act", min_backoff_seconds=60, max_backoff_seconds=60, **options),
                 run_worker, until=state)  # fmt: skip
    # Then
    (line,) = lines_of(caplog)
    assert (line["msg"], line["error_code"], line["error"]) == (message, code, str(error))
    assert (line["attempt"], line["request_id"], line["document_id"]) == (1, "r-1", "d-1")
    assert "exception" not in line
    if state == "retrying":
        assert 30 <= line["delay"] <= 60


def test_an_unexpected_error_is_told_with_its_traceback(
    broker: LedgerRedisBroker, run_worker: RunWorker, caplog: pytest.LogCaptureFixture
) -> None:
    run_once(actor(broker, ZeroDivisionError(), actor_name="act", max_attempts=1), run_worker, until="dead_letter")
    (line,) = lines_of(caplog)
    assert line["error_code"] == "internal_error"
    assert line["exception"].rstrip().endswith("ZeroDivisionError")


def test_a_job_that_a_job_sends_carries_the_same_request(broker: LedgerRedisBroker, run_worker: RunWorker) -> None:
    # Given an actor that sends another one's job
    second = actor(broker, actor_name="second")
    seen: list[dict[str, Any]] = []

    def first() -> None:
        seen.append(context.describe())
        second.send()

    with on_behalf_of(Origin(request_id="r-9")):
        sent = dramatiq.actor(first, broker=broker, queue_name="q").send()
    # When
    run_worker(threads=1)
    wait_until(lambda: Job.objects.filter(actor="second", state="completed").exists(), what="the second job")
    # Then
    assert Job.objects.get(actor="second").payload["options"] == {"request_id": "r-9"}
    assert broker.runtime is not None
    assert seen == [
        {"request_id": "r-9", "job_id": sent.message_id, "actor": "first", "attempt": 1,
         "worker": broker.runtime.identity.name}
    ]  # fmt: skip


@pytest.mark.parametrize(("attempt", "failures", "of"), [(1, 0, 4), (3, 2, 4), (5, 0, 8), (4, 2, 5)])
def test_the_number_of_an_attempt_is_never_above_how_many_there_may_be(
    caplog: pytest.LogCaptureFixture, attempt: int, failures: int, of: int
) -> None:
    """Attempts are counted over all runs: before somebody retried the job, and those that burned nothing."""
    caplog.set_level(logging.INFO)
    # Given a claimed job that may fail four times in a run
    job = replace(claimed(submitted()), attempt=attempt, failures=failures, max_attempts=4)
    held = Hand(threads=1).take([], [job])[0]
    # When it begins
    lines.started(held)
    # Then
    assert [(line["attempt"], line["of"]) for line in lines_of(caplog)] == [(attempt, of)]
