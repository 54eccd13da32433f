"""Documents go in and their text comes out, through real worker processes."""

import json

import pytest

from documents import rendering
from documents.storage import DirectoryResultStore
from queueadmin.models import Job, JobProgress
from queueadmin.states import TERMINAL
from tests.end_to_end.service import Service
from tests.receivers import answer, receiver
from tests.servers import wait_until
from tests.slow_documents import long_pdf

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
    # And it is stored under the task and the attempt
    assert job.result["key"] == f"{task}/1"
    stored = rendering.StoredResult(DirectoryResultStore(service.data_dir / "results"), job.result["key"])
    assert b"".join(stored.text.chunks).decode() == "Grüße aus Mai"
    assert json.loads(b"".join(stored.document.chunks))["text"] == "Grüße aus Mai"
    # And the history tells each step once
    assert service.edges(task) == ["submit", "claim", "complete"]
    # And the dispatcher has started the hourly clean-up, once
    wait_until(lambda: Job.objects.filter(actor="cleanup", state="completed").exists(), seconds=10, what="the clean-up")
    assert Job.objects.filter(actor="cleanup").count() == 1


def test_documents_of_a_bucket_become_text_and_faults_end_as_what_they_are(s3_service: Service) -> None:
    # Given good and bad documents in a bucket
    s3_service.put("good.html", b"<html><body><p>Hello</p></body></html>")
    s3_service.put("empty.txt", b"")
    s3_service.put("broken.docx", b"PK\x03\x04 not a zip file at all")
    s3_service.put("program.bin", b"\x7fELF\x02\x01\x01" + bytes(500))
    s3_service.put("big.txt", b"x" * 2000)
    names = ("good.html", "empty.txt", "broken.docx", "program.bin", "big.txt", "nowhere.txt")
    tasks = {name: s3_service.submit(name) for name in names}
    # When a worker with a small limit reads them
    s3_service.worker(MAX_DOCUMENT_BYTES="1000")
    ended = s3_service.wait(*tasks.values())
    found = {name: (ended[task].state, ended[task].error_code) for name, task in tasks.items()}
    # Then the good one is done, and each bad one failed at once with its code
    assert found == {
        "good.html": ("completed", ""),
        "empty.txt": ("failed", "empty"),
        "broken.docx": ("failed", "damaged"),
        "program.bin": ("failed", "unsupported_type"),
        "big.txt": ("failed", "too_large"),
        "nowhere.txt": ("failed", "not_found"),
    }
    assert {ended[task].attempt for task in tasks.values()} == {1}


def test_a_long_document_shows_how_far_it_is_while_it_is_read(service: Service) -> None:
    # Given a document of many pages
    service.put("long.pdf", long_pdf(1500))
    task = service.submit("long.pdf")
    # When a worker reads it
    service.worker()
    seen: list[tuple[str, int | None, int | None]] = []

    def watched() -> bool:
        progress = JobProgress.objects.filter(job_id=task).first()
        if progress is not None and (progress.stage, progress.done, progress.total) not in seen:
            seen.append((progress.stage, progress.done, progress.total))
        return Job.objects.get(id=task).state in TERMINAL

    wait_until(watched, seconds=60, what="the end of the document")
    # Then its row said page n of m on the way, never backwards
    assert service.one(task).result["pages"] == 1500
    pages = [done for stage, done, total in seen if stage == "extract" and total == 1500]
    assert any(done is not None and 0 < done < 1500 for done in pages), seen
    assert pages == sorted(pages)


def test_a_passing_fault_is_tried_again_becomes_a_dead_letter_and_is_announced(
    service: Service, free_port: int
) -> None:
    # Given an object store that nobody answers for, and somebody who wants to know
    with receiver(answer(204)) as server:
        task = service.submit("a.txt", max_attempts=2, callback_url=server.url)
        # When a worker tries
        service.worker(
            S3_ENDPOINT_URL=f"http://127.0.0.1:{free_port}", S3_BUCKET="b", S3_ACCESS_KEY_ID="k",
            S3_SECRET_ACCESS_KEY="s", WEBHOOK_ALLOW_PRIVATE="true",
        )  # fmt: skip
        job = service.one(task, seconds=40)
        # Then it was tried as often as allowed, and waits for a person
        assert (job.state, job.error_code, job.failures) == ("dead_letter", "storage_unavailable", 2)
        assert service.edges(task) == ["submit", "claim", "retry_later", "promote", "claim", "bury"]
        # And its end was told once
        assert service.one(Job.objects.get(parent_id=task).pk).state == "completed"
    (event,) = [json.loads(received.body) for received in server.received]
    assert (event["type"], event["data"]["status"]) == ("task.dead_letter", "dead_letter")
    assert (event["data"]["error"]["code"], event["data"]["result"]) == ("storage_unavailable", None)
