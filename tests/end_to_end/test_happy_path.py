"""A document goes in and its text comes out, through a real worker process."""

import json

import pytest

from tests.end_to_end.service import Service

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def test_a_document_becomes_text(service: Service) -> None:
    # Given a document in the store, and a task that names it
    service.put("reports/may.txt", "Grüße aus Mai".encode())
    task = service.submit("reports/may.txt", file_size=3)
    # When a worker is there
    service.worker()
    job = service.one(task)
    # Then it completes at the first attempt, with a summary
    assert job.state == "completed"
    assert (job.attempt, job.failures, job.error_code) == (1, 0, "")
    assert job.result["characters"] == len("Grüße aus Mai")
    assert job.result["content_type"] == "text/plain"
    assert job.result["warnings"][0].startswith("size_mismatch")
    # And both representations are stored under the task and the attempt
    stored = service.data_dir / "results" / task.hex[-2:] / job.result["key"]
    assert (stored / "text.txt").read_text().strip() == "Grüße aus Mai"
    assert json.loads((stored / "result.json").read_text())["text"].strip() == "Grüße aus Mai"
    # And the history tells each step once
    assert service.edges(task) == ["submit", "claim", "complete"]
