"""The page of queues: timed pauses, drains, limits, and purges that refuse what was not shown."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from queueadmin import lifecycle, operations
from queueadmin.models import OperationLog, QueueControl
from queueadmin.states import State
from tests.queueadmin.factories import claimed, new_job, state_of, submitted
from tests.queueadmin.people import text_of

pytestmark = [pytest.mark.django_db(transaction=True)]

QUEUES = "/admin/queueadmin/queuecontrol/"


def operate(admin: Client, operation: str, **fields: object) -> str:
    """The page after the form of an operation on the queue q was sent."""
    answer = admin.post(f"{QUEUES}operate/{operation}/", {"queue": "q", **fields}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_pause_ends_by_itself_when_that_is_asked_for(admin: Client) -> None:
    submitted()
    page = operate(admin, "pause", length="30m", reason="upgrade")
    assert "The queue q is paused" in page
    assert "Resumes by itself" in page
    control = QueueControl.objects.get()
    assert control.resume_at is not None
    assert timedelta(minutes=29) < control.resume_at - timezone.now() <= timedelta(minutes=30)
    assert OperationLog.objects.get().reason == "upgrade"


@pytest.mark.parametrize("length", ["tomorrow", "30", "0m", "999999w", "-5m"])
def test_a_length_that_cannot_be_read_is_explained_and_changes_nothing(admin: Client, length: str) -> None:
    submitted()
    page = operate(admin, "pause", length=length, reason="upgrade")
    assert 'class="errorlist"' in page
    assert not QueueControl.objects.exists()


def test_a_drained_queue_says_when_nothing_runs_any_more(admin: Client) -> None:
    job = claimed(submitted())
    assert "1 still runs" in operate(admin, "drain")
    operations.cancel([job.id], by="x", source="cli")
    lifecycle.finish([lifecycle.stop(job)], worker_id=1)
    page = text_of(admin, QUEUES)
    assert "Nothing runs." in page
    assert "Draining" not in page
    assert OperationLog.objects.filter(operation="drain").exists()


def test_a_limit_is_set_shown_changed_and_lifted(admin: Client) -> None:
    submitted()
    assert "At most 4 jobs of the queue q at once" in operate(admin, "limit", limit=4)
    assert 'value="4"' in text_of(admin, f"{QUEUES}operate/limit/?queue=q")
    operate(admin, "limit", limit=2, partition="acme")
    page = text_of(admin, QUEUES)
    assert "At most 4 at once." in page
    assert "Limits of tenants" in page
    assert "acme" in page
    assert "There is no limit for the queue q any more" in operate(admin, "limit", limit="")
    details = [log.detail for log in OperationLog.objects.order_by("at")]
    assert [(d["partition"], d["before"], d["limit"]) for d in details] == [
        (None, None, 4), ("acme", None, 2), (None, 4, None),
    ]  # fmt: skip


@pytest.mark.parametrize("limit", ["-1", "many", "1000001", "1.5"])
def test_a_limit_that_is_none_is_explained(admin: Client, limit: str) -> None:
    submitted()
    assert 'class="errorlist"' in operate(admin, "limit", limit=limit)
    assert not OperationLog.objects.exists()


def test_a_purge_names_its_depth_and_refuses_when_it_has_changed_much(admin: Client) -> None:
    # Given a confirmation that named one job
    first = submitted()
    answer = admin.get(f"{QUEUES}operate/purge/?queue=q")
    shown = answer.context["form"]["expected"].value()
    assert (shown, "Cancel 1 job" in answer.content.decode()) == (1, True)
    # When many more arrive before it is confirmed
    for _ in range(20):
        submitted()
    page = operate(admin, "purge", expected=shown)
    # Then nothing happened, and the new number is asked about
    assert "held 1 pending jobs when you were asked and holds 21 now" in page
    assert "Cancel 21 jobs" in page
    assert state_of(first) == State.PENDING
    assert not OperationLog.objects.exists()
    # and that one may be confirmed
    assert "21 jobs of q cancelled" in operate(admin, "purge", expected=21)


def test_a_purge_of_more_than_a_hundred_jobs_wants_a_reason(admin: Client) -> None:
    lifecycle.submit([new_job() for _ in range(101)])
    assert "(required above 100 jobs)" in text_of(admin, f"{QUEUES}operate/purge/?queue=q")
    for reason in ("", "   "):
        page = operate(admin, "purge", expected=101, reason=reason)
        assert "more than 100 jobs needs a reason" in page
        assert "Cancel 101 jobs" in page
    assert not OperationLog.objects.exists()
    assert "101 jobs of q cancelled" in operate(admin, "purge", expected=101, reason="a bad batch")


def test_a_purge_without_the_depth_that_was_shown_does_nothing(admin: Client) -> None:
    job_id = submitted()
    operate(admin, "purge")
    assert state_of(job_id) == State.PENDING
