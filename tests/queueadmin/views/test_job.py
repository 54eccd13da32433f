"""A job's page: attempts, what people did, and retrying with changes."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django import forms
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from queueadmin import lifecycle, operations, panels
from queueadmin.models import Job, OperationLog
from queueadmin.panels import JobOptions, register_options
from queueadmin.states import State
from tests.queueadmin.factories import WORKER, claimed, job_in, state_of, submitted
from tests.queueadmin.people import staff, text_of

pytestmark = [pytest.mark.django_db(transaction=True)]

JOBS = "/admin/queueadmin/job/"
CHANGED = f"{JOBS}operate/retry_changed/"


def page_of(client: Client, job_id: Any) -> str:
    return text_of(client, f"{JOBS}{job_id}/change/")


class OwnForm(forms.Form):
    colour = forms.ChoiceField(choices=[("red", "Red"), ("blue", "Blue")])


@pytest.fixture
def own_options() -> Iterator[None]:
    options = JobOptions(
        form=OwnForm, read=lambda kwargs: {"colour": kwargs.get("colour", "red")},
        write=lambda kwargs, data: {**kwargs, "colour": data["colour"]},
    )  # fmt: skip
    register_options("act", options)
    yield
    panels._options.pop("act")


# -- what the page tells ---------------------------------------------------------------------------


def test_the_page_groups_by_attempt_and_folds_the_traceback(admin: Client) -> None:
    job = claimed(submitted())
    detail = {"seconds": 2.0, "ms": {"fetch": 10.0}, "code": "x", "message": "broke", "traceback": "T <b>"}
    lifecycle.finish([lifecycle.fail(job, code="x", message="broke", detail=detail)], worker_id=WORKER)
    page = page_of(admin, job.id)
    for text in ("Attempt 1", "Failed for good", "<summary>Traceback</summary>", "T &lt;b&gt;", "fetch", "broke"):
        assert text in page


def test_what_people_did_is_shown_to_those_who_may_see_the_log(admin: Client) -> None:
    # Given a refused operation, one on two jobs, and one on this job alone
    job_id, _ = job_in(State.FAILED)
    operations.discard([job_id], by="Refused", source="cli", reason="no dead letter")
    operations.retry([job_id, submitted()], by="Two", source="cli", reason="the store is back")
    operations.cancel([job_id], by="Alone", source="cli")
    page = page_of(admin, job_id)
    for text in ("What people did", "Refused", "the store is back", "2 jobs", "Alone"):
        assert text in page
    assert "What people did" not in page_of(staff("view_job"), job_id)


def test_the_number_of_queries_does_not_grow_with_the_attempts(admin: Client) -> None:
    def cost(job_id: Any) -> int:
        with CaptureQueriesContext(connection) as queries:
            page_of(admin, job_id)
        return len(queries)

    few, many = (submitted(max_attempts=20) for _ in range(2))
    for job_id, times in ((few, 1), (many, 8)):
        for _ in range(times):
            job = claimed(job_id)
            lifecycle.finish([lifecycle.retry_later(job, delay=0.0, code="x", message="m")], worker_id=WORKER)
            operations.retry([job_id], by="x", source="cli", now=True)
    assert cost(many) == cost(few)


# -- retry with changes ----------------------------------------------------------------------------


def test_a_job_is_retried_with_changes(admin: Client, own_options: None) -> None:
    # Given the form with what the job has
    job_id, _ = job_in(State.DEAD_LETTER, priority=3, payload={"args": [], "kwargs": {"colour": "blue"}, "options": {}})
    assert f"{CHANGED}?ids={job_id}" in page_of(admin, job_id)
    form = text_of(admin, f"{CHANGED}?ids={job_id}")
    assert 'value="3"' in form
    assert '<option value="blue" selected>' in form
    assert state_of(job_id) == State.DEAD_LETTER
    # When
    later = (timezone.now() + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M")
    fields = {
        "ids": job_id.hex, "priority": 9, "max_attempts": 7, "run_at": later, "own-colour": "red", "reason": "r",
    }  # fmt: skip
    answer = admin.post(CHANGED, fields)
    # Then
    assert answer["Location"] == f"{JOBS}{job_id}/change/"
    job = Job.objects.get(pk=job_id)
    assert (job.state, job.priority, job.max_attempts, job.payload["kwargs"]) == (
        "scheduled", 9, 7, {"colour": "red"},
    )  # fmt: skip
    log = OperationLog.objects.get()
    assert (log.operation, log.reason, log.done, log.source) == ("retry", "r", 1, "admin")
    assert set(log.detail["changes"]) == {"priority", "max_attempts", "delay", "arguments"}


def test_what_is_left_as_it_was_is_not_changed(admin: Client, own_options: None) -> None:
    job_id, _ = job_in(State.FAILED, payload={"args": [1], "kwargs": {"other": 2}, "options": {}})
    admin.post(CHANGED, {"ids": job_id.hex, "priority": 0, "max_attempts": 3, "run_at": "", "own-colour": "red"})
    assert Job.objects.get(pk=job_id).payload["kwargs"] == {"other": 2}
    assert OperationLog.objects.get().detail["changes"] == {}


@pytest.mark.parametrize(
    "wrong",
    [{"priority": "x"}, {"priority": 101}, {"max_attempts": 0}, {"max_attempts": 1000}, {"run_at": "2001-01-01T00:00"},
     {"run_at": "9999-01-01T00:00"}, {"run_at": "soon"}, {"own-colour": "green"}, {"priority": ""}],
)  # fmt: skip
def test_what_cannot_be_is_explained_and_changes_nothing(
    admin: Client, own_options: None, wrong: dict[str, object]
) -> None:
    job_id, _ = job_in(State.FAILED)
    fields = {"ids": job_id.hex, "priority": 0, "max_attempts": 3, "run_at": "", "own-colour": "red"}
    answer = admin.post(CHANGED, fields | wrong)
    assert answer.status_code == 200
    assert b'class="errorlist' in answer.content
    assert state_of(job_id) == State.FAILED
    assert not OperationLog.objects.exists()


def test_changes_want_the_permission_to_retry_and_a_job_that_takes_them(admin: Client) -> None:
    job_id, _ = job_in(State.FAILED)
    outsider = staff("view_job", "cancel_job", "reprioritise_job")
    assert outsider.get(CHANGED, {"ids": str(job_id)}).status_code == 403
    assert outsider.post(CHANGED, {"ids": str(job_id), "priority": 1, "max_attempts": 3}).status_code == 403
    assert CHANGED not in page_of(outsider, job_id)
    waiting = submitted()
    assert CHANGED not in page_of(admin, waiting)
    assert "Retry with these" not in text_of(admin, f"{CHANGED}?ids={waiting}")
    admin.post(CHANGED, {"ids": str(waiting), "priority": 1, "max_attempts": 3})
    assert (state_of(waiting), Job.objects.get(pk=waiting).priority) == (State.PENDING, 0)
    assert admin.get(CHANGED, {"ids": "x"}).status_code == 400
    assert admin.get(CHANGED, {"ids": "0" * 32}).status_code == 404


# -- change the priority ---------------------------------------------------------------------------


def test_the_priority_is_changed_from_the_page_of_the_job(admin: Client) -> None:
    job_id = submitted()
    url = f"{JOBS}operate/priority/"
    assert url in page_of(admin, job_id)
    assert "is eligible" in text_of(admin, f"{url}?ids={job_id}")
    assert b'class="errorlist' in admin.post(url, {"ids": job_id.hex, "priority": "high"}).content
    assert admin.post(url, {"ids": job_id.hex, "priority": 5, "reason": "a guest waits"}).status_code == 302
    assert Job.objects.get(pk=job_id).priority == 5
    assert OperationLog.objects.get().detail["priority"] == 5
    outsider = staff("view_job", "retry_job", "cancel_job")
    assert outsider.post(url, {"ids": job_id.hex, "priority": 9}).status_code == 403
    assert url not in page_of(outsider, job_id)
