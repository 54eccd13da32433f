"""Bulk operations in the admin: shown before they are done, by those who may, and watched while they run."""

import re

import pytest
from django.test import Client

from queueadmin import bulk
from queueadmin.context import JobContext
from queueadmin.models import BulkOperation, Job
from queueadmin.pages.base import url
from queueadmin.states import State
from tests.queueadmin.factories import job_in, submitted
from tests.queueadmin.pages.test_base import client_with

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]

NEW = "/admin/control/bulk/new/"
OPERATOR = ("queueadmin.view_job", "queueadmin.retry_job", "queueadmin.cancel_job", "queueadmin.reprioritise_job")


def run(operation: BulkOperation) -> None:
    bulk.run(
        operation.pk,
        JobContext(id=operation.pk, queue="control", actor="a", attempt=1, run=1, failures=0, max_attempts=1),
    )


def test_a_search_is_retried_as_a_whole_after_a_dry_run() -> None:
    # Given dead letters, and an operator who searched for them
    dead = [job_in(State.DEAD_LETTER)[0] for _ in range(3)]
    submitted()
    operator = client_with(*OPERATOR)
    assert (
        f"{NEW}?operation=retry&amp;q=state%3Adead_letter"
        in operator.get("/admin/queueadmin/job/?q=state:dead_letter").text
    )

    # When the dry run is looked at, nothing happens; when it is confirmed, it is handed to a worker
    page = operator.get(NEW, {"operation": "retry", "q": "state:dead_letter"}).text
    assert "<strong>3</strong> of 3 matching jobs are eligible" in page
    assert not BulkOperation.objects.exists()
    answer = operator.post(NEW, {**hidden(page), "reason": "the release is mended"})
    operation = BulkOperation.objects.get()
    assert answer.headers["Location"] == url("bulk", operation.pk)
    assert "Stop it" in operator.get(url("bulk", operation.pk)).text

    # Then, when it has run, its page and the list say so
    run(operation)
    assert set(Job.objects.filter(pk__in=dead).values_list("state", flat=True)) == {State.PENDING}
    assert "3 of about 3" in operator.get(url("bulk", operation.pk)).text
    assert "the release is mended" in operator.get(url("bulk_list")).text


def hidden(page: str) -> dict[str, str]:
    """What the form of a dry run carries."""
    return dict(re.findall(r'name="(operation|q|eligible|as_of|newest)" value="([^"]*)"', page))


def test_what_was_shown_is_acted_on_and_nothing_that_came_meanwhile() -> None:
    # Given a dry run that somebody looks at while further jobs come
    shown = submitted()
    operator = client_with(*OPERATOR)
    form = hidden(operator.get(NEW, {"operation": "cancel", "q": ""}).text)
    meanwhile = submitted()
    # When it is confirmed
    operator.post(NEW, form)
    operation = BulkOperation.objects.get()
    run(operation)
    # Then it is done to what was shown, its times count from then, and the log says so much
    assert [Job.objects.get(pk=job_id).state for job_id in (shown, meanwhile)] == [State.CANCELLED, State.PENDING]
    assert (operation.newest_id, operation.as_of.isoformat(), operation.expected) == (shown, form["as_of"], 1)


@pytest.mark.parametrize(
    "forged",
    [{"as_of": "yesterday"}, {"as_of": "0001-01-01T00:00:00+00:00"}, {"as_of": "9999-12-31T23:59:59+00:00"},
     {"as_of": "2026-01-01T00:00:00"}, {"newest": "x"}, {"newest": "f" * 32}, {"as_of": "\x00", "newest": "\x00"}],
)  # fmt: skip
def test_a_dry_run_that_nobody_was_shown_is_one_of_now(forged: dict[str, str]) -> None:
    newest = submitted()
    operator = client_with(*OPERATOR)
    form = hidden(operator.get(NEW, {"operation": "cancel", "q": "age>1s"}).text)
    assert operator.post(NEW, {**form, **forged}).status_code == 302
    assert BulkOperation.objects.get().newest_id == newest


def test_nobody_does_what_his_permissions_do_not_cover() -> None:
    job_in(State.DEAD_LETTER)
    viewer = client_with("queueadmin.view_job")
    for operation in ("retry", "cancel", "discard", "priority"):
        assert viewer.get(NEW, {"operation": operation}).status_code == 403
        assert viewer.post(NEW, {"operation": operation, "eligible": "1"}).status_code == 403
    assert not BulkOperation.objects.exists()


def test_a_running_one_is_stopped_only_by_who_might_have_started_it() -> None:
    submitted()
    operator, viewer = client_with(*OPERATOR), client_with("queueadmin.view_job")
    operator.post(NEW, {"operation": "cancel", "q": "", "eligible": "1"})
    operation = BulkOperation.objects.get()
    assert viewer.post(url("bulk", operation.pk)).status_code == 403
    assert operator.post(url("bulk", operation.pk), follow=True).status_code == 200
    operation.refresh_from_db()
    assert operation.abort_requested_at is not None


def test_what_cannot_be_done_is_explained_and_does_nothing() -> None:
    for _ in range(101):
        submitted()
    operator = client_with(*OPERATOR)
    # no reason for many; much more than was shown; no priority; no search; no operation
    assert "needs a reason" in operator.post(NEW, {"operation": "cancel", "eligible": "101"}).text
    assert "many more jobs match" in operator.post(NEW, {"operation": "cancel", "eligible": "3", "reason": "x"}).text
    assert (
        "A priority is"
        in operator.post(NEW, {"operation": "priority", "eligible": "101", "reason": "x", "priority": "high"}).text
    )
    assert operator.get(NEW, {"operation": "explode"}).status_code == 404
    assert operator.get(url("bulk", "00000000-0000-0000-0000-000000000000")).status_code == 404
    assert not BulkOperation.objects.exists()


def test_an_unreadable_search_gets_a_page_that_leads_to_where_it_is_corrected() -> None:
    submitted()
    operator = client_with(*OPERATOR)
    for answer in (operator.get(NEW, {"operation": "cancel", "q": "colour:red"}),
                   operator.post(NEW, {"operation": "cancel", "q": "colour:red", "eligible": "1"})):  # fmt: skip
        assert answer.status_code == 400
        assert "There is no field &#x27;colour&#x27;" in answer.text
        assert "/admin/queueadmin/job/?q=colour%3Ared" in answer.text
    assert not BulkOperation.objects.exists()


def test_pages_without_anything_say_what_appears_there() -> None:
    operator: Client = client_with(*OPERATOR)
    assert "No bulk operation yet" in operator.get(url("bulk_list")).text
    assert "Nothing has failed in the last day" in operator.get(url("failures")).text
    assert "No dead letters" in operator.get(url("dead_letters")).text
