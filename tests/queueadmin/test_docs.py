"""What the documentation shows works as it is printed."""

import re
from pathlib import Path
from typing import Any

import dramatiq
import pytest

from queueadmin import lifecycle, measure_rows, metering, presence
from queueadmin.broker import get_ledger_broker
from queueadmin.ids import new_token, uuid7
from queueadmin.jobs import ClaimedJob
from queueadmin.measures import Measures
from queueadmin.models import Job
from queueadmin.states import State
from tests.servers import ValkeyServer, wait_until

PAGE = Path(__file__).resolve().parents[2] / "docs" / "durable_jobs.md"


@pytest.mark.django_db(transaction=True)
def test_the_example_of_durable_jobs_runs(valkey_server: ValkeyServer) -> None:
    # Given the page's first example, word for word
    code, _ = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, str(PAGE), "exec"), names)
    # When a worker runs
    worker = dramatiq.Worker(get_ledger_broker(), worker_threads=1, worker_timeout=100)
    worker.start()
    try:
        # Then the job it sent completes
        job_id = names["message"].message_id
        wait_until(lambda: Job.objects.filter(pk=job_id, state=State.COMPLETED).exists(), seconds=20, what="the job")
        assert Job.objects.get(pk=job_id).result == {"greeting": "Hello, Ada"}
    finally:
        worker.stop(timeout=5000)
        del get_ledger_broker().actors["greet"]


@pytest.mark.django_db(transaction=True)
def test_the_example_of_an_applications_own_metrics_works(valkey_server: ValkeyServer) -> None:
    # Given the page's second example, word for word
    _, code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, str(PAGE), "exec"), names)
    # When a worker has measured two pages
    me = presence.identify(1)
    presence.register(me, queues=["default"], actors=["render"], threads=1)
    job = ClaimedJob(
        id=uuid7(), token=new_token(), queue="default", actor="render", payload={}, attempt=1, run=1, failures=0,
        crashes=0, max_attempts=1,
    )  # fmt: skip
    measures = Measures()
    metering.OutcomeMeter(measures)([lifecycle.complete(job, detail={"seconds": 0.1, "pages": 2})])
    measure_rows.write(me.id, measures.unwritten())
    # Then a scrape tells them, and where there was nothing yet, zero
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for metric in names["collector"].collect()
        for sample in metric.samples
    }
    assert samples["shop_pages_total", "pdf"] == 2
    assert samples["queueadmin_jobs_started_total", "default", "render"] == 0
    assert samples["queueadmin_job_run_seconds_count", "default", "render"] == 1
