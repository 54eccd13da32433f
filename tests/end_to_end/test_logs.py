"""What a real worker says of a task: every step with its ids, and neither a secret nor a word of the document."""

import base64
import json
from typing import Any

import pytest

from queueadmin.models import Job
from queueadmin.origin import Origin, on_behalf_of
from tests.end_to_end.service import Service
from tests.receivers import answer, receiver
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

KEY = base64.b64encode(b"marker-of-a-webhook-secret-0001").decode()
WORDS = "marker words of the document"


def test_each_step_is_one_line_with_ids_and_without_secrets_or_text(service: Service) -> None:
    # Given a document with known words, one that is damaged, and a receiver with a secret in its path
    service.put("a.txt", f"Dear reader, {WORDS}. ".encode() * 20)
    service.put("b.pdf", f"%PDF-1.7 {WORDS}".encode())
    with receiver(answer(204)) as server, on_behalf_of(Origin(request_id="r-1")):
        url = f"{server.url}/marker-of-a-path"
        good = service.submit("a.txt", callback_url=url, document_id="doc-1", metadata={"note": "marker-of-metadata"})
        bad = service.submit("b.pdf", document_id="doc-2")
        # When
        worker = service.worker(
            LOG_FORMAT="json", LOG_LEVEL="DEBUG", WEBHOOK_SECRET=f"whsec_{KEY}", WEBHOOK_ALLOW_PRIVATE="true"
        )
        service.wait(good, bad)
        wait_until(lambda: Job.objects.filter(parent_id=good).exists(), what="the webhook")
        webhook = service.one(Job.objects.get(parent_id=good).pk).pk
        assert worker.stop(25) == 0
        # Then the receiver got the id of the request
        assert {got.headers["x-request-id"] for got in server.received} == {"r-1"}
    output = worker.output()
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    # And the steps of the task are told in order, each with all ids
    steps = [
        line for line in lines
        if line.get("job_id") == str(good) and line["level"] == "info" and "sandbox" not in line["event"]
    ]  # fmt: skip
    assert [step["event"] for step in steps] == [
        "job started", "downloading from storage", "downloaded", "extracting", "extracted", "stored", "job completed",
    ]  # fmt: skip
    (name,) = {line["worker"] for line in lines if line["event"] == "worker started"}
    # The worker said once what its extraction was granted
    (sandbox,) = [line for line in lines if line["event"] == "extraction sandbox"]
    assert "memory" in sandbox["granted"]
    for step in steps:
        assert ids_of(step) == {
            "task_id": str(good), "document_id": "doc-1", "attempt": 1, "worker": name, "request_id": "r-1",
        }  # fmt: skip
    assert steps[2]["bytes"] == 20 * (len(WORDS) + 15)
    assert steps[4]["characters"] > 20 * len(WORDS)
    assert steps[4]["engine"]
    # And so are the end of the damaged one, and the webhook
    (failure,) = [line for line in lines if line["event"] == "job failed"]
    assert (failure["task_id"], failure["error_code"], failure["document_id"]) == (str(bad), "damaged", "doc-2")
    hooks = [line for line in lines if line.get("job_id") == str(webhook) and line["level"] != "debug"]
    assert [line["event"] for line in hooks] == ["callback delivered"]
    assert ids_of(hooks[0]) == ids_of(steps[0])
    # And nothing of it is a secret, or text
    assert "marker" not in output
    assert KEY not in output
    assert "test-password" not in output


def ids_of(line: dict[str, Any]) -> dict[str, Any]:
    return {name: line.get(name) for name in ("task_id", "document_id", "attempt", "worker", "request_id")}
