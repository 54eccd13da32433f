"""Failures in groups: what happened how often, to whom, since when; and how to retry them all."""

from datetime import timedelta

import pytest
from django.utils import timezone

from queueadmin import lifecycle
from queueadmin.models import FailureMinute
from queueadmin.pages.base import url
from queueadmin.pages.failures import groups
from queueadmin.states import State
from tests.queueadmin.factories import WORKER, claimed, job_in, submitted
from tests.queueadmin.pages.test_base import client_with

DAY = timedelta(days=1)

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]


def fail(code: str, fingerprint: str, *, tenant: str = "", times: int = 1) -> None:
    for _ in range(times):
        job = claimed(submitted(partition_key=tenant))
        outcome = lifecycle.fail(job, code=code, message=f"{code} of {tenant}", fingerprint=fingerprint)
        lifecycle.finish([outcome], worker_id=WORKER)


def test_failures_of_one_kind_are_one_group_the_largest_first() -> None:
    # Given two kinds of failures, one of which met two tenants
    fail("timeout", "aa" * 16, tenant="acme", times=2)
    fail("timeout", "aa" * 16, tenant="globex")
    fail("damaged", "bb" * 16)

    # When they are grouped
    first, second = groups(since=timezone.now() - timedelta(hours=1), now=timezone.now())

    # Then each group says what, how often, to whom, and how many are still there
    assert (first.code, first.count, first.tenants, first.open_jobs) == ("timeout", 3, ("acme", "globex"), 3)
    assert (second.code, second.count, second.open_jobs) == ("damaged", 1, 1)
    assert first.message.startswith("timeout of")
    assert max(first.bars) == 100


def test_one_fingerprint_of_two_actors_is_two_groups_that_do_not_mix() -> None:
    fail("timeout", "aa" * 16, tenant="acme")
    job = claimed(submitted(partition_key="globex"))
    lifecycle.finish([lifecycle.fail(job, code="other", message="m", fingerprint="aa" * 16)], worker_id=WORKER)
    found = {group.code: group.tenants for group in groups(since=timezone.now() - DAY, now=timezone.now())}
    assert found == {"timeout": ("acme",), "other": ("globex",)}


def test_first_seen_is_the_first_ever_and_the_message_outlives_a_retry() -> None:
    # Given a failure of last week, and one of today whose job has been queued again
    fail("timeout", "aa" * 16)
    week_ago = timezone.now() - 7 * DAY
    FailureMinute.objects.update(minute=week_ago)
    job = claimed(submitted())
    told = {"code": "timeout", "message": "the store is slow"}
    lifecycle.finish(
        [lifecycle.fail(job, code="timeout", message="x", fingerprint="aa" * 16, detail=told)], worker_id=WORKER
    )
    lifecycle.retry([job.id], by="x", order_key=1)
    # Then
    (group,) = groups(since=timezone.now() - DAY, now=timezone.now())
    assert group.count == 1
    assert abs(group.first_seen - week_ago) < timedelta(minutes=2)
    assert group.message == "the store is slow"


def test_the_page_leads_to_the_jobs_and_to_retrying_them() -> None:
    fail("timeout", "aa" * 16)
    page = client_with("queueadmin.view_job", "queueadmin.retry_job").get(url("failures")).text
    assert f"?q=fingerprint:{'aa' * 16}" in page
    assert f"operation=retry&amp;q=fingerprint:{'aa' * 16}" in page
    assert "Retry this group" not in client_with("queueadmin.view_job").get(url("failures")).text


def test_dead_letters_are_shown_by_queue_with_their_evidence() -> None:
    job_in(State.DEAD_LETTER)
    page = client_with("queueadmin.view_job").get(url("dead_letters")).text
    assert "<strong>1</strong> dead letter." in page
    assert "state:dead_letter+queue:%22q%22" in page
