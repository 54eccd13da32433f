"""The overview: what is wrong right now, and where to look."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.utils import timezone

from queueadmin import presence
from queueadmin.models import Job, JobMinute, QueueControl
from queueadmin.pages.base import url
from queueadmin.pages.throughput import HEIGHT, UNITS, chart
from queueadmin.states import State
from queueadmin.timings import NEWEST, percentiles, timings
from tests.queueadmin.factories import job_in
from tests.queueadmin.pages.test_base import client_with

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]

SEE = "queueadmin.view_job"


def figure(page: str, label: str) -> str:
    """The number that stands above a label."""
    found = re.search(rf"<strong>([^<]*)</strong>\s*{re.escape(label)}</a>", page)
    assert found is not None, label
    return found[1]


def links(page: str) -> list[str]:
    """Where the overview's own figures, bars and tables lead."""
    body = page[page.index("data-live-body") : page.index("</main>") if "</main>" in page else None]
    return [unescape(link) for link in re.findall(r'href="([^"#]+)"', body)]


@pytest.mark.both_databases
def test_every_figure_leads_to_the_rows_behind_it() -> None:
    # Given jobs in every state
    for state in State:
        job_in(state, queue='q "uoted" & odd', partition_key="acme")
    client = client_with(SEE, "queueadmin.view_queuecontrol", "queueadmin.view_workerprocess")
    page = client.get(url("overview")).text
    # Then they are counted
    for label in ("Pending", "Processing", "Retrying", "Scheduled", "Failed", "Dead letter"):
        assert figure(page, label) == "1", label
    # And each link of the page opens, searches for something, and finds what the figure counts
    followed = [link if link.startswith("/") else url("overview") + link for link in links(page)]
    assert len(followed) > 20
    for link in followed:
        answer = client.get(link)
        assert answer.status_code == 200, link
        assert "errornote" not in answer.text, link
        assert 'class="error"' not in answer.text, link
    dead = next(link for link in followed if "dead_letter" in link and "queue" in link and "failed" not in link)
    assert len(client.get(dead).context["cl"].result_list) == 1


def test_an_empty_installation_says_what_appears_here() -> None:
    page = client_with(SEE).get(url("overview")).text
    assert "No job yet." in page
    assert "No worker is alive." in page
    assert "Nothing has failed in the last day." in page
    assert "Webhooks waiting" in page
    assert "Storage up" in page
    assert "Database up" in page


def test_what_is_paused_and_what_nobody_serves_is_said() -> None:
    job_in(State.PENDING, queue="unserved")
    QueueControl.objects.create(queue="q", paused_at=timezone.now(), paused_by="ada", reason="a bad release")
    me = presence.identify(1, name="west-1")
    presence.register(me, queues=["q"], actors=["act"], threads=4)
    page = client_with(SEE).get(url("overview")).text
    assert "q is paused" in page
    assert "a bad release" in page
    assert "No live worker takes jobs from unserved" in page
    assert figure(page, "Busy threads") == "0 of 4"


def minute(ago: timedelta, **counts: int) -> None:
    at = (timezone.now() - ago).replace(second=0, microsecond=0)
    JobMinute.objects.create(minute=at, source_id=1, queue="q", actor="act", **counts)


def test_the_last_hour_is_counted_by_queue_and_actor() -> None:
    minute(timedelta(minutes=5), completed=97, failed=2, dead_letter=1, retried=7)
    minute(timedelta(hours=3), completed=1_000)
    page = client_with(SEE).get(url("overview")).text
    assert page.count("3.0 %") == 2 + 1, "of the queue, of the actor, and under the chart"
    assert "97 completed, 3 failed" in page


@pytest.mark.both_databases
@pytest.mark.parametrize("unit", list(UNITS))
def test_the_chart_counts_each_minute_hour_and_day_once(unit: str) -> None:
    # Given outcomes now, one unit ago, and before the first bar
    length = UNITS[unit].length
    for ago, count in ((timedelta(0), 3), (length, 5), (length * (UNITS[unit].bars + 1), 100)):
        minute(ago, completed=count, failed=1)
    # When
    drawn = chart(unit, timezone.now())
    # Then
    assert [bar.ended.jobs for bar in drawn.bars][-2:] == [6, 4]
    assert drawn.total.jobs == 10
    assert drawn.most == 6
    tallest = drawn.bars[-2]
    assert tallest.failed_top >= 0
    assert tallest.failed_top + tallest.failed_height + tallest.height == pytest.approx(HEIGHT)


def test_an_unknown_unit_is_the_usual_one() -> None:
    page = client_with(SEE).get(url("overview"), {"chart": "<script>"}).text
    assert "Ended by minute" in page


@pytest.mark.both_databases
def test_times_are_those_of_the_newest_completed_jobs() -> None:
    # Given jobs that waited and ran for known times
    now = timezone.now()
    for seconds in range(1, 101):
        job_id, _ = job_in(State.COMPLETED)
        ended = now - timedelta(minutes=1)
        Job.objects.filter(pk=job_id).update(
            created_at=ended - timedelta(seconds=2 * seconds), run_at=None,
            claimed_at=ended - timedelta(seconds=seconds), finished_at=ended,
        )  # fmt: skip
    # Then
    measured = timings()
    assert measured.all.jobs == 100 <= NEWEST
    assert (measured.all.run.p50, measured.all.run.p95, measured.all.run.p99) == pytest.approx((50, 95, 99), abs=0.01)
    assert measured.queues["q"] == measured.actors["act"] == measured.all
    assert percentiles([3.0]).p99 == 3.0
    assert percentiles([]).p50 is None


def test_somebody_without_permission_sees_nothing() -> None:
    assert client_with().get(url("overview")).status_code == 403
    assert Client().get(url("overview")).status_code == 302
