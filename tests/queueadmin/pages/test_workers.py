"""The page of workers: who they are, what they have in hand, who is silent; and asking one to drain."""

from datetime import timedelta

import pytest
from django.utils import timezone

from queueadmin import presence
from queueadmin.memory import Memory
from queueadmin.models import Job, OperationLog, WorkerProcess
from queueadmin.pages.base import url
from queueadmin.states import State
from tests.queueadmin.factories import WORKER, claimed, submitted
from tests.queueadmin.pages.test_base import client_with

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]

SEE, DRAIN = "queueadmin.view_workerprocess", "queueadmin.drain_worker"


def worker(number: int = WORKER, *, name: str = "west-1", silent_for: float = 0.0) -> int:
    me = presence.identify(number, name=name)
    presence.register(me, queues=["q"], actors=["act"], threads=4, version="2.4.1")
    presence.beat(number, busy=1, unwritten=2, memory=Memory(now=183 * 2**20, peak=2**30))
    WorkerProcess.objects.filter(pk=number).update(beat_at=timezone.now() - timedelta(seconds=silent_for))
    return number


def test_a_worker_is_shown_with_what_it_has_in_hand() -> None:
    # Given a worker with a job in hand, and another that has fallen silent
    number = worker()
    job = claimed(submitted(), worker_id=number)
    worker(7, name="east-1", silent_for=60)
    # When the page is opened
    page = client_with(SEE).get(url("workers")).text
    # Then
    for shown in ("west-1", "2.4.1", "183 MiB", "At most 1.0 GiB", "1 of 4", f"…{job.id.hex[-6:]}"):
        assert shown in page, shown
    assert page.index("east-1") < page.index("west-1"), "silent ones come first"
    assert '<tr class="qa-silent">' in page
    assert "1 worker does not beat" in page
    assert "Drain" not in page, "a viewer may not"


def test_no_query_is_added_for_a_worker_or_a_job(django_assert_max_num_queries: object) -> None:
    client = client_with(SEE)
    for number in range(1, 6):
        worker(number, name=f"w{number}")
        for _ in range(12):
            claimed(submitted(), worker_id=number)
    with django_assert_max_num_queries(9):  # type: ignore[operator]  # pytest-django's fixture
        page = client.get(url("workers")).text
    assert page.count("2 more") == 5, "of twelve jobs the ten oldest are named"


def test_draining_asks_first_and_leaves_its_row() -> None:
    # Given two people, one of whom may
    number = worker()
    viewer, operator = client_with(SEE), client_with(SEE, DRAIN)
    # Then looking changes nothing, and only one may act
    page = operator.get(url("drain_worker", number)).text
    assert "starts a new one in its place" in page
    assert viewer.post(url("drain_worker", number)).status_code == 403
    assert WorkerProcess.objects.get().drain_requested_at is None
    # When it is confirmed
    page = operator.post(url("drain_worker", number), {"reason": "a new kernel"}, follow=True).text
    # Then the worker is asked, it shows, and the audit says by whom and why
    assert "takes nothing more, and exits when what it has is done." in page
    assert "Draining" in page
    assert presence.beat(number, busy=0, unwritten=0) == presence.Asked(to_drain=True)
    log = OperationLog.objects.get()
    assert (log.operation, log.target, log.reason, log.outcome) == ("drain_worker", "west-1", "a new kernel", "done")
    assert "was asked already" in operator.post(url("drain_worker", number), follow=True).text


def test_one_that_has_ended_is_not_found_and_is_listed_among_the_ended() -> None:
    number = worker()
    presence.mark_stopped(number)
    operator = client_with(SEE, DRAIN)
    assert operator.get(url("drain_worker", number)).status_code == 404
    assert operator.get(url("drain_worker", 12)).status_code == 404
    assert "No worker has registered" in operator.get(url("workers")).text
    assert "stopped in order" in operator.get(url("workers"), {"ended": "yes"}).text


def test_jobs_of_a_worker_that_is_gone_break_nothing() -> None:
    claimed(submitted(), worker_id=99)
    assert Job.objects.get().state == State.PROCESSING
    assert client_with(SEE).get(url("workers")).status_code == 200
