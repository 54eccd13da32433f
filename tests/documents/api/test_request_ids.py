"""The id of a request goes on: into the job that it sends, and into the line that the log has about the request."""

import json
import logging
from uuid import UUID

import pytest

from ingestion_site.logs import formatter
from queueadmin.models import Job
from tests.documents.api.client import PROCESS, Api, submission

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_job_carries_the_requests_id_and_the_document(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    # Given / When
    caplog.set_level(logging.INFO)
    caplog.handler.setFormatter(formatter(style="json", colours=False))
    answer = api.post(PROCESS, submission(document_id="doc-7"), **{"X-Request-ID": "r-3"})
    # Then
    task_id = answer.json()["task_id"]
    options = Job.objects.get(pk=UUID(task_id)).payload["options"]
    assert (options["request_id"], options["labels"]) == ("r-3", {"document_id": "doc-7"})
    assert answer.headers["X-Request-ID"] == "r-3"
    # And the request's line names the task that it made
    lines = map(json.loads, caplog.text.splitlines())
    (found,) = [line for line in lines if line["event"] == "request_finished"]
    assert (found["request_id"], found["task_id"], found["document_id"]) == ("r-3", task_id, "doc-7")


def test_a_request_that_names_no_id_gets_one(api: Api) -> None:
    answer = api.post(PROCESS, submission())
    options = Job.objects.get(pk=UUID(answer.json()["task_id"])).payload["options"]
    assert options["request_id"] == answer.headers["X-Request-ID"]
