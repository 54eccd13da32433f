"""The pipeline in this process, with real stores and real extraction children."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from documents import pipeline, rendering
from documents.exceptions import DocumentNotFound, DocumentTooLarge
from documents.extraction.base import Limits
from documents.extraction.errors import Damaged, Empty, UnsupportedType
from documents.extraction.sandbox import Sandbox
from documents.pipeline import Document, Tools
from documents.storage import DirectoryResultStore, DirectoryStore
from documents.storage.base import Downloaded, Transfer
from documents.workspace import Workspace
from queueadmin.context import JobContext
from queueadmin.exceptions import JobCancelled
from tests.servers import wait_until
from tests.slow_documents import long_pdf

LIMITS = Limits(timeout_seconds=30)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox(LIMITS, size=1, temp_root=tmp_path_factory.mktemp("sandbox"))
    yield made
    made.close()


@pytest.fixture
def tools(tmp_path: Path, sandbox: Sandbox) -> Iterator[Tools]:
    (tmp_path / "documents").mkdir()
    made = Tools(
        store=DirectoryStore(tmp_path / "documents"),
        results=DirectoryResultStore(tmp_path / "results"),
        sandbox=sandbox,
        workspace=Workspace(tmp_path / "work"),
        max_bytes=10 * 1024 * 1024,
    )
    yield made
    made.workspace.close()


@pytest.fixture
def put(tmp_path: Path, tools: Tools) -> Callable[[str, bytes], Document]:
    def put(name: str, content: bytes) -> Document:
        (tmp_path / "documents" / name).write_bytes(content)
        return document(name)

    return put


def document(name: str, **fields: Any) -> Document:
    given: dict[str, Any] = {
        "tenant": "default", "key": name, "file_name": name, "content_type": "application/octet-stream",
    }  # fmt: skip
    return Document(**(given | fields))


def a_job(attempt: int = 1) -> JobContext:
    return JobContext(
        id=uuid.uuid4(), queue="q", actor="ingest_document", attempt=attempt, run=1, failures=0, max_attempts=4
    )


def leftovers(tmp_path: Path) -> list[Path]:
    """Files of documents at work."""
    return [path for path in (tmp_path / "work").rglob("*") if path.is_file()]


def test_text_and_json_are_stored_under_task_and_attempt(tools: Tools, put: Any, tmp_path: Path) -> None:
    # Given a document
    job = a_job(attempt=3)
    # When it is ingested
    result = pipeline.run(put("a.txt", "Grüße\n".encode()), job=job, tools=tools)
    # Then the summary tells what was found
    assert result["key"] == f"{job.id}/3"
    assert result["content_type"] == "text/plain"
    assert result["pages"] == 1
    assert result["engine"]
    assert len(result["sha256"]) == 64
    assert result["warnings"] == []
    # And the JSON agrees with the stored text
    found = rendering.StoredResult(tools.results, result["key"])
    plain, stored = b"".join(found.text.chunks).decode(), json.loads(b"".join(found.document.chunks))
    assert stored["text"] == plain
    assert plain.strip() == "Grüße"
    assert result["characters"] == stored["characters"] == len(plain)
    # And nothing is left of the download
    assert leftovers(tmp_path) == []


def test_the_attempts_notes_tell_sizes_engines_and_the_time_of_each_step(tools: Tools, put: Any) -> None:
    job = a_job()
    pipeline.run(put("a.txt", b"hello"), job=job, tools=tools)
    assert set(job.notes["ms"]) == {"fetch", "identify", "extract", "store"}
    assert job.notes["bytes"] == 5
    assert job.notes["tried"][0]["engine"] == job.notes["engine"]
    json.dumps(job.notes, allow_nan=False)


def test_a_size_that_was_declared_wrongly_is_a_warning_only(tools: Tools, put: Any) -> None:
    given = replace(put("a.txt", b"hello"), file_size=6)
    result = pipeline.run(given, job=a_job(), tools=tools)
    assert result["warnings"] == ["size_mismatch: declared 6 bytes, read 5"]


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", Empty), (b"\x7fELF\x02\x01\x01" + bytes(100), UnsupportedType), (b"PK\x03\x04 broken", Damaged)],
    ids=["empty", "unsupported", "damaged"],
)
def test_a_permanent_fault_says_that_trying_again_cannot_help(
    content: bytes, error: type[Exception], tools: Tools, put: Any, tmp_path: Path
) -> None:
    given = put("a.bin", content)
    with pytest.raises(error) as caught:
        pipeline.run(given, job=a_job(), tools=tools)
    assert caught.value.retryable is False
    assert leftovers(tmp_path) == []


def test_a_missing_document_and_one_above_the_limit_are_permanent_faults(tools: Tools, put: Any) -> None:
    with pytest.raises(DocumentNotFound):
        pipeline.run(document("nowhere.txt"), job=a_job(), tools=tools)
    given = put("big.txt", b"x" * 11)
    with pytest.raises(DocumentTooLarge):
        pipeline.run(given, job=a_job(), tools=replace(tools, max_bytes=10))


def test_notes_of_a_failed_attempt_name_the_engines_that_were_tried(tools: Tools, put: Any) -> None:
    job = a_job()
    given = put("a.pdf", b"%PDF-1.4\n" + b"not a page in sight\n" * 50)
    with pytest.raises(Damaged):
        pipeline.run(given, job=job, tools=tools)
    assert job.notes["tried"]
    assert "extract" in job.notes["ms"]


# -- being stopped ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["cancelled", "shutdown"])
def test_a_running_extraction_stops_within_two_seconds(reason: str, tools: Tools, put: Any, tmp_path: Path) -> None:
    # Given a document that takes ten seconds and more
    job, ends = a_job(), []
    given = put("long.pdf", long_pdf(5000))

    def work() -> None:
        try:
            pipeline.run(given, job=job, tools=tools)
        except JobCancelled as error:
            ends.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: job.progress and job.progress.stage == "extract" and job.progress.done, what="some pages")
    # When the job is asked to stop
    started = time.monotonic()
    job.cancel.set(reason)
    thread.join(5)
    # Then it has stopped as a cancelled job does, with nothing left behind or stored
    assert time.monotonic() - started < 2
    assert len(ends) == 1
    assert leftovers(tmp_path) == []
    assert list((tmp_path / "results").rglob("*.txt")) == []


def test_a_job_cancelled_before_it_starts_touches_nothing(tools: Tools, put: Any) -> None:
    job, given = a_job(), put("a.txt", b"hello")
    job.cancel.set("cancelled")
    with pytest.raises(JobCancelled):
        pipeline.run(given, job=job, tools=tools)
    assert job.notes == {}


class EndlessStore(DirectoryStore):
    """A store whose download goes on until it is cancelled."""

    def download(self, key: str, destination: Path, **options: Any) -> Downloaded:
        options.pop("max_bytes")
        transfer = Transfer(max_bytes=2**60, seconds=30, **options)
        return transfer.receive(lambda size: (time.sleep(0.01), b"x")[1], destination, expected=None)


def test_a_download_stops_when_the_job_does(tools: Tools, tmp_path: Path) -> None:
    job = a_job()
    threading.Timer(0.2, job.cancel.set, ["cancelled"]).start()
    with pytest.raises(JobCancelled):
        pipeline.run(document("a.txt"), job=job, tools=replace(tools, store=EndlessStore(tmp_path)))
    assert leftovers(tmp_path) == []


# -- workspace -------------------------------------------------------------------------------------


def test_directories_of_a_worker_that_died_are_removed_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    # Given a directory that a living worker holds, and one that nobody holds
    living = Workspace(tmp_path)
    with living.place() as held:
        held.write_bytes(b"mine")
        dead = tmp_path / "fetched-dead"
        (dead / "x").mkdir(parents=True)
        # When another worker begins
        other = Workspace(tmp_path)
        with other.place():
            # Then only the dead one's is gone
            assert not dead.exists()
            assert held.read_bytes() == b"mine"
        other.close()
    living.close()
    assert list(tmp_path.iterdir()) == []
