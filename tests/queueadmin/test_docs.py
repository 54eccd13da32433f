"""What the documentation shows works as it is printed."""

import re
from pathlib import Path
from typing import Any

import dramatiq
import pytest

from queueadmin.broker import get_ledger_broker
from queueadmin.models import Job
from queueadmin.states import State
from tests.servers import ValkeyServer, wait_until

PAGE = Path(__file__).resolve().parents[2] / "docs" / "durable_jobs.md"


@pytest.mark.django_db(transaction=True)
def test_the_example_of_durable_jobs_runs(valkey_server: ValkeyServer) -> None:
    # Given the page's first example, word for word
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
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
