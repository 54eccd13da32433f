"""The samples' client behaves as a good client of the API: it waits when told to, and says what went wrong."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingestion_site.embedded import samples
from ingestion_site.embedded.samples import Sample, SamplesFailed

DONE = {
    "status": "completed",
    "created_at": "2026-01-01T00:00:00Z",
    "finished_at": "2026-01-01T00:00:01.250Z",
    "result": {"engine": "text", "characters": 12, "pages": 1},
    "error": None,
}
ACCEPTED = (202, {"status_url": "/status"}, {})
Answer = tuple[int, dict[str, Any], dict[str, str]]


@contextmanager
def service(posts: list[Answer], gets: list[Answer]) -> Iterator[httpx.Client]:
    """A server that gives these answers in turn, the last one for ever."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self, answers: list[Answer]) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body, headers = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def do_POST(self) -> None:
            self.answer(posts)

        def do_GET(self) -> None:
            self.answer(gets)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as client:
            yield client
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


SAMPLE = Sample(file_name="a.txt", key="samples/a.txt", content_type="text/plain", size=12)


def test_a_sample_runs_from_submission_to_result() -> None:
    with service([ACCEPTED], [(200, {"status": "processing"}, {}), (200, DONE, {})]) as client:
        results = list(samples.ingest(client, [SAMPLE], timeout_seconds=10))
    assert results == [
        samples.Result(file_name="a.txt", status="completed", engine="text", characters=12, pages=1, milliseconds=1250)
    ]


def test_a_full_queue_is_waited_for() -> None:
    full = (503, {"title": "The queue is full"}, {"Retry-After": "0"})
    with service([full, full, ACCEPTED], [(200, DONE, {})]) as client:
        assert [result.completed for result in samples.ingest(client, [SAMPLE], timeout_seconds=10)] == [True]


def test_a_failure_carries_its_reason() -> None:
    failed = {**DONE, "status": "failed", "result": None, "error": {"code": "damaged", "message": "It is broken."}}
    with service([ACCEPTED], [(200, failed, {})]) as client:
        [result] = samples.ingest(client, [SAMPLE], timeout_seconds=10)
    assert (result.completed, result.error) == (False, "damaged: It is broken.")


@pytest.mark.parametrize(
    ("posts", "gets", "said"),
    [
        ([(401, {"detail": "A valid key is needed."}, {})], [], "a.txt was refused: HTTP 401, A valid key is needed."),
        ([ACCEPTED], [(404, {"title": "No such task"}, {})], "HTTP 404, No such task"),
        ([ACCEPTED], [(200, {"status": "pending"}, {})], "No result after 0.2 s for: a.txt"),
    ],
)
def test_what_goes_wrong_is_said(posts: list[Answer], gets: list[Answer], said: str) -> None:
    with service(posts, gets) as client, pytest.raises(SamplesFailed) as caught:
        list(samples.ingest(client, [SAMPLE], timeout_seconds=0.2))
    assert said in str(caught.value)


def test_documents_are_copied_and_described(tmp_path: Path) -> None:
    # Given samples with the script and the page that belong to them
    source = tmp_path / "source"
    source.mkdir()
    for name in ("b.eml", "a.docx", "make_samples.py", "README.md", ".hidden"):
        (source / name).write_text(name)
    # When
    found = samples.copy_into_store(source, tmp_path / "documents")
    # Then
    assert [(sample.file_name, sample.key, sample.content_type) for sample in found] == [
        ("a.docx", "samples/a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("b.eml", "samples/b.eml", "message/rfc822"),
    ]
    assert {path.name for path in (tmp_path / "documents" / "samples").iterdir()} == {"a.docx", "b.eml"}


def test_no_samples_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SamplesFailed, match="make samples"):
        samples.copy_into_store(tmp_path / "missing", tmp_path / "documents")
