"""Ledger beside broker, and periodic jobs: what the pages show is so, and what they offer does exactly that."""

from datetime import timedelta

import pytest
from django.utils import timezone

from queueadmin import lifecycle, presence
from queueadmin.broker import get_ledger_broker
from queueadmin.models import Job, JobProgress, OperationLog
from queueadmin.pages.base import url
from queueadmin.pages.truth import _LISTED
from queueadmin.states import State
from queueadmin.sweep import Swept, report
from tests.queueadmin.factories import WORKER, job_in, new_job, submitted
from tests.queueadmin.pages.test_base import client_with

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]

SEE = ("queueadmin.view_job", "queueadmin.view_queuecontrol")


def age_of_everything(seconds: int) -> None:
    """Older than what a submitter is probably still publishing."""
    for job in Job.objects.all():
        Job.objects.filter(pk=job.pk).update(order_key=job.order_key - seconds * 1_000_000)


def test_what_the_broker_lacks_is_shown_and_repaired_by_those_who_may() -> None:
    # Given a pending job that no ready set holds
    lost = submitted()
    age_of_everything(10)
    viewer, operator = client_with(*SEE), client_with(*SEE, "queueadmin.repair_queue")

    # Then comparing shows it and changes nothing, and a viewer may not repair
    page = viewer.get(url("truth"), {"compare": "yes"}).text
    assert "<strong>1</strong> missing in the broker" in page
    assert f"…{lost.hex[-6:]}" in page
    assert viewer.post(url("truth")).status_code == 403
    assert get_ledger_broker().ready_sets.members("q", "normal", start=0, count=9) == []

    # When it is repaired, exactly that is published, and the audit says by whom
    page = operator.post(url("truth"), {"reason": "a test"}, follow=True).text
    assert "1 of 1 pending jobs were missing, and are published." in page
    assert [found for found, _ in get_ledger_broker().ready_sets.members("q", "normal", start=0, count=9)] == [lost]
    assert OperationLog.objects.get().operation == "repair"


def test_claims_of_processes_that_nobody_knows_stand_out() -> None:
    job_in(State.PROCESSING)
    page = client_with(*SEE).get(url("truth")).text
    assert "its row is gone" in page
    assert "<strong>1</strong> claims of silent workers" in page


def test_claims_in_doubt_are_listed_with_links() -> None:
    # Given a claim of nobody, and three of a live worker that says it has one of them in hand
    nobodys, _ = job_in(State.PROCESSING)
    Job.objects.filter(pk=nobodys).update(worker_id=99)
    presence.register(presence.identify(7, name="w"), queues=["q"], actors=["act"], threads=4)
    presence.beat(7, busy=1, unwritten=0, writer_lag=0)
    theirs = [job_in(State.PROCESSING)[0] for _ in range(3)]
    Job.objects.filter(pk__in=theirs).update(worker_id=7)
    JobProgress.objects.create(job_id=theirs[0], attempt=1, stage="extract", at=timezone.now())
    # When / Then
    viewer = client_with(*SEE)
    page = viewer.get(url("truth")).text
    for job_id in (nobodys, *theirs):
        assert f"/admin/queueadmin/job/{job_id}/change/" in page
    assert "(2 not begun, or unknown to it)" in page
    assert page.index(f"…{theirs[0].hex[-6:]}") > max(page.index(f"…{job_id.hex[-6:]}") for job_id in theirs[1:])
    assert "extract" in page
    # And a worker that knows all that it has is no matter of doubt
    presence.beat(7, busy=3, unwritten=0, writer_lag=0)
    assert f"/admin/queueadmin/job/{theirs[1]}/change/" not in viewer.get(url("truth")).text


def test_a_row_whose_claims_are_too_many_to_list_says_how_many_there_are() -> None:
    # Given claims of two workers that nobody knows; those of the first were made earlier, and are all that is listed
    jobs = [new_job() for _ in range(_LISTED + 3)]
    lifecycle.submit(jobs)
    earlier, later = [job.id for job in jobs[:_LISTED]], [job.id for job in jobs[_LISTED:]]
    now = timezone.now()
    Job.objects.filter(pk__in=earlier).update(state=State.PROCESSING, worker_id=98, claimed_at=now - timedelta(hours=1))
    Job.objects.filter(pk__in=later).update(state=State.PROCESSING, worker_id=99, claimed_at=now)
    # Then neither row looks as if there were nothing in doubt
    page = client_with(*SEE).get(url("truth")).text
    assert "<small>and 480 more</small>" in page
    assert "<small>3 more</small>" in page


def test_the_last_sweep_says_what_it_looked_at_and_what_it_published() -> None:
    viewer = client_with(*SEE)
    assert "No sweep has ended yet" in viewer.get(url("truth")).text
    report(Swept(pending=7, republished=3), seconds=0.5)
    report(Swept(pending=9, republished=0), seconds=0.5)
    page = viewer.get(url("truth")).text
    assert "compared 9 pending jobs and published 0" in page
    assert "with something to mend published 3" in page


def test_claims_beyond_what_a_worker_says_it_holds_are_named() -> None:
    presence.register(
        presence.Identity(id=WORKER, name="w1", host="h", pid=1, pid_started="1"),
        queues=["q"], actors=["act"], threads=1,
    )  # fmt: skip
    job_in(State.PROCESSING)
    assert "(1 not begun, or unknown to it)" in client_with(*SEE).get(url("truth")).text


def test_a_periodic_job_is_run_now_once() -> None:
    viewer, operator = client_with(*SEE), client_with(*SEE, "queueadmin.run_periodic")
    assert "cleanup" in viewer.get(url("periodic")).text
    assert viewer.post(url("periodic"), {"actor": "cleanup", "action": "run"}).status_code == 403
    assert "Cleanup is sent" in operator.post(url("periodic"), {"actor": "cleanup", "action": "run"}, follow=True).text
    assert (
        "Cleanup is under way already"
        in operator.post(url("periodic"), {"actor": "cleanup", "action": "run"}, follow=True).text
    )
    assert Job.objects.filter(actor="cleanup").count() == 1
    assert operator.post(url("periodic"), {"actor": "ingest_document", "action": "run"}).status_code == 404
