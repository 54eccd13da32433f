"""`/metrics` after a storm on several real processes: every number is the ledger's, told from its rows and history."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from queueadmin.models import Job, JobEvent
from tests.documents.api.web import WebServer
from tests.end_to_end.service import Service
from tests.receivers import answer, receiver
from tests.servers import wait_until
from tests.slow_documents import long_pdf

pytestmark = [pytest.mark.django_db(transaction=True)]

TOKEN = "token-of-the-storm"


Values = dict[tuple[str, ...], float]


@pytest.fixture
def web(service: Service, service_environment: dict[str, str]) -> Iterator[WebServer]:
    """A web server of two processes."""
    server = WebServer({**service_environment, **service.variables, "METRICS_TOKEN": TOKEN}, workers=2)
    server.start()
    yield server
    server.close()


class Scrape:
    """One scrape over the wire; values that are not 0, by the values of the labels in the order of their names."""

    def __init__(self, url: str) -> None:
        response = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
        self.samples = [
            sample
            for family in text_string_to_metric_families(response.raise_for_status().text)
            for sample in family.samples
        ]

    def __getitem__(self, name: str) -> Values:
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for sample in self.samples
            if sample.name == name and sample.value
        }


def events(*edges: str) -> Values:
    """(actor, queue) -> events of these edges, from the history of each job."""
    job = {job.pk: (job.actor, job.queue) for job in Job.objects.all()}
    return dict(Counter(job[event.job_id] for event in JobEvent.objects.filter(edge__in=edges)))


def test_after_a_storm_on_several_processes_metrics_are_what_the_ledger_says(service: Service, web: WebServer) -> None:
    # Given a worker that was killed in the middle of a document
    service.put("long.pdf", long_pdf(3_000))
    long_task = service.submit("long.pdf")
    doomed = service.worker()
    service.until_running(long_task, "extract")
    os.killpg(doomed.pid, signal.SIGKILL)
    # And another of two processes, with documents that are good, missing and of no known kind, two of them with a
    # receiver that accepts one webhook and then no more
    variables = {"WEBHOOK_ALLOW_PRIVATE": "true", "MAX_ATTEMPTS": "2"}
    worker = service.worker(processes=2, **variables)
    with receiver(answer(204), answer(503)) as server:
        for number in range(10):
            service.put(f"{number}.txt", b"hello " * number + b"there")
        service.put("archive.rar", b"Rar!\x1a\x07\x01\x00" + b"x" * 50)
        keys = [f"{number}.txt" for number in range(10)] + ["archive.rar"] * 3 + ["missing.txt"] * 4
        tasks = [service.submit(key, callback_url=server.url if key in ("3.txt", "4.txt") else "") for key in keys]
        service.wait(long_task, *tasks, seconds=60)
        tried = Job.objects.filter(queue="webhooks", state__in=["completed", "retrying"])
        wait_until(lambda: tried.count() == 2, what="both webhooks to be tried")
        # When it has left (before the receiver does: the next try is not to find nobody)
        assert worker.stop(30) == 0
    scrape = Scrape(web.url)
    # Then every total is that of the history, over all processes, the killed one included
    assert scrape["queueadmin_jobs_started_total"] == events("claim")
    for state, edge in (("completed", "complete"), ("failed", "fail"), ("dead_letter", "bury")):
        found = {key[:2]: value for key, value in scrape["queueadmin_jobs_finished_total"].items() if key[2] == state}
        assert found == events(edge)
    assert scrape["queueadmin_jobs_retried_total"] == events("retry_later") != {}
    assert scrape["queueadmin_jobs_rescued_total"] == events("rescue") == {("ingest_document", "document_ingestion"): 1}
    assert scrape["queueadmin_jobs_released_total"] == events("release")
    failed = Counter(
        event.detail["code"] for event in JobEvent.objects.filter(edge__in=["retry_later", "fail", "bury"])
    ) + Counter(worker_lost=1)
    assert sum(scrape["queueadmin_failures_total"].values()) == failed.total()
    by_code: Counter[str] = Counter()
    for (_, code, _, _), value in scrape["queueadmin_failures_total"].items():
        by_code[code] += int(value)
    assert by_code == failed
    # And histograms hold each attempt that a worker ended, also now that its process is gone
    ended = {
        key: count
        for key, count in events("complete", "fail", "bury", "retry_later").items()
        if key[1] != "maintenance"
    }  # periodic jobs may have been the killed worker's, which took its last five seconds along
    for name in ("queueadmin_job_wait_seconds_count", "queueadmin_job_run_seconds_count"):
        assert {key: count for key, count in scrape[name].items() if key[1] != "maintenance"} == ended
    assert scrape["queueadmin_job_stage_seconds_count"]["ingest_document", "store"] == 11
    assert sum(scrape["documents_engine_runs_total"].values()) >= 11
    # And the present is that of the rows
    jobs = Counter((job.actor, job.queue, job.state) for job in Job.objects.all() if job.state != "completed")
    assert scrape["queueadmin_jobs"] == jobs
    assert scrape["queueadmin_workers"] == {("silent",): 1}  # the killed one, for an hour
    rejected = events("retry_later")["deliver_webhook", "webhooks"]
    assert scrape["documents_webhook_deliveries_total"] == {("delivered",): 1, ("webhook_rejected",): rejected}


def test_http_metrics_are_those_of_all_processes_of_the_web_server(web: WebServer) -> None:
    # Given requests on connections of their own, which both processes answer
    before = sum(Scrape(web.url)["django_http_requests_before_middlewares_total"].values())
    for _ in range(40):
        assert httpx.get(f"{web.url}/health/live").status_code == 200
    # When either process is asked, again and again / Then they agree, and scrapes are not counted
    for _ in range(10):
        assert sum(Scrape(web.url)["django_http_requests_before_middlewares_total"].values()) == before + 40
