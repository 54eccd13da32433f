"""Two versions at once: the previous release's own worker on the new schema, beside and after this one's.

Its code comes from the history, so this skips where there is none; the packages are those of this environment.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from queueadmin.models import JobEvent, WorkerProcess
from tests.end_to_end.service import Service
from tests.receivers import receiver
from tests.servers import PROJECT_DIR, ManageCommand, wait_until
from tests.slow_documents import long_pdf

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

PREVIOUS = json.loads(Path(__file__).with_name("previous.json").read_text())["commit"]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The previous release's code, as it was committed."""
    if shutil.which("git") is None:
        pytest.skip("needs git, and the history back to the previous release")
    archive = subprocess.run(
        ["git", "archive", PREVIOUS, "manage.py", "ingestion_site", "documents", "queueadmin"],
        cwd=PROJECT_DIR, capture_output=True,
    )  # fmt: skip
    if archive.returncode:
        pytest.skip(f"needs the history back to the previous release, {PREVIOUS[:12]}: git fetch --unshallow --tags")
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


class PreviousWorker(ManageCommand):
    """`manage.py rundramatiq` of the previous release."""

    def __init__(self, code: Path, variables: dict[str, str]) -> None:
        super().__init__(
            "rundramatiq", "--processes", "1", "--threads", "2", variables=variables,
            ready=lambda command: "Worker process is ready for action" in command.output(),
        )  # fmt: skip
        self.working_directory = code

    def command(self) -> list[str]:
        return [sys.executable, "manage.py", *self.arguments]


@pytest.fixture
def previous_worker(code: Path, service: Service, service_environment: dict[str, str]) -> Iterator[ManageCommand]:
    """A worker of the previous release, which has booted on the new schema."""
    with PreviousWorker(code, {**service_environment, **service.variables, "WEBHOOK_ALLOW_PRIVATE": "true"}) as worker:
        yield worker


def submitted_by_previous(code: Path, variables: dict[str, str], *keys: str, callback_url: str = "") -> list[UUID]:
    """Tasks that the previous release's code has accepted."""
    script = (
        "import django, sys; django.setup(); from documents.services import SubmitRequest, submit\n"
        "for key in sys.argv[2:]: print(submit(SubmitRequest(tenant='default', document_id='d', user_id='u', "
        "file_name=key, r2_key=key, content_type='text/plain', callback_url=sys.argv[1])).task_id)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, callback_url, *keys], cwd=code, capture_output=True, text=True, timeout=120,
        env={**os.environ, **variables, "DJANGO_SETTINGS_MODULE": "ingestion_site.settings"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [UUID(line) for line in done.stdout.split()]


def workers_of(task: UUID) -> list[str]:
    """The names of those who ran it, one for each attempt."""
    ids = JobEvent.objects.filter(job_id=task, edge="claim").order_by("id").values_list("worker_id", flat=True)
    return [WorkerProcess.objects.get(pk=worker).name for worker in ids]


def test_jobs_of_either_release_run_on_either_release_while_one_replaces_the_other(
    code: Path, service: Service, service_environment: dict[str, str], previous_worker: ManageCommand
) -> None:
    environment = {**service_environment, **service.variables}
    service.put("a.txt", b"hello from a text that is long enough")
    service.put("long.pdf", long_pdf(3_000))
    previous = WorkerProcess.objects.get(stopped_at=None).name
    with receiver() as inbox:
        # Given the new schema, and jobs of both releases, good and bad
        mine = [service.submit("a.txt", callback_url=inbox.url), service.submit("missing.txt")]
        theirs = submitted_by_previous(code, environment, "a.txt", "missing.txt", callback_url=inbox.url)
        # Then the previous release's worker ends them all, and delivers their webhooks
        jobs = service.wait(*mine, *theirs, seconds=60)
        assert [jobs[task].state for task in (*mine, *theirs)] == ["completed", "failed"] * 2
        assert {name for task in (*mine, *theirs) for name in workers_of(task)} == {previous}
        wait_until(lambda: len(inbox.received) == 3, seconds=30, what="the webhooks of both releases")
    # When this release's worker joins, and the previous one has to go in the middle of a document
    long_task = service.submit("long.pdf")
    service.until_running(long_task, "extract")
    service.worker("--worker-id", "new", WEBHOOK_ALLOW_PRIVATE="true")
    os.kill(previous_worker.pid, signal.SIGTERM)
    assert previous_worker.process is not None
    assert previous_worker.process.wait(40) == 0
    # Then what it had in hand is not lost, and this release runs what the previous one still accepts
    (last,) = submitted_by_previous(code, environment, "a.txt")
    ended = service.wait(long_task, last, seconds=60)
    assert {job.state for job in ended.values()} == {"completed"}
    assert workers_of(last) == ["new"]
