"""Dead letters: with evidence and age, requeued or discarded one by one or all, exported as a file; nothing expires."""

import csv
import io
import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from queueadmin import lifecycle, presence
from queueadmin.models import WorkerProcess
from queueadmin.pages.base import url
from queueadmin.states import State
from tests.queueadmin.factories import WORKER, claimed, job_in, submitted
from tests.queueadmin.people import staff, text_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]

EVIL = "=cmd|' /C calc'!A0 <script>alert(1)</script>"


def killed() -> str:
    """A job that killed its worker too often."""
    me = presence.Identity(id=WORKER, name="w1", host="h", pid=1, pid_started="1")
    presence.register(me, queues=["q"], actors=["act"], threads=1)
    job = claimed(submitted(partition_key="acme"))
    WorkerProcess.objects.filter(pk=WORKER).update(exit_signal=9)
    lifecycle.rescue([WORKER], worker_id=1, max_crashes=1)
    return str(job.id)


def buried(message: str = "m") -> str:
    job = claimed(submitted(payload={"args": [message], "kwargs": {"key": "a.pdf"}, "options": {}}))
    detail = {"code": "x", "message": message, "evidence": {"engine": "pdfium", "exit_code": 3}, "traceback": "T"}
    lifecycle.finish([lifecycle.bury(job, code="x", message=message, detail=detail)], worker_id=WORKER)
    return str(job.id)


def test_each_is_shown_with_what_it_died_of() -> None:
    killed()
    buried()
    page = text_of(staff("view_job"), url("dead_letters"))
    for text in (
        "<strong>2</strong> dead letters",
        "killed by SIGKILL",
        "signal=SIGKILL",
        "engine=pdfium exit_code=3",
        "acme",
    ):
        assert text in page
    assert "Requeue" not in page


def test_one_is_requeued_or_discarded_by_those_who_may() -> None:
    job_id = buried()
    page = text_of(staff("view_job", "retry_job", "discard_job"), url("dead_letters"))
    for operation in ("retry", "discard"):
        assert f"/admin/queueadmin/job/operate/{operation}/?ids={job_id}" in page
    assert "operate/discard/" not in text_of(staff("view_job", "retry_job"), url("dead_letters"))


def test_all_are_exported_with_evidence_and_arguments() -> None:
    jobs = {killed(), buried(EVIL)}
    job_in(State.FAILED)
    client = staff("view_job")
    rows = [json.loads(line) for line in b"".join(client.get(url("dead_letters_export", "jsonl"))).splitlines()]
    assert {row["id"] for row in rows} == jobs
    by_code = {row["error_code"]: row for row in rows}
    assert by_code["poison"]["evidence"]["signal"] == "SIGKILL"
    assert by_code["x"]["arguments"] == {"args": [EVIL], "kwargs": {"key": "a.pdf"}}
    # and as a table, in which no cell is a formula
    answer = client.get(url("dead_letters_export", "csv"))
    assert answer["Content-Disposition"] == 'attachment; filename="dead-letters.csv"'
    table = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert {row["id"] for row in table} == jobs
    assert {row["error_message"] for row in table if row["error_code"] == "x"} == {f"'{EVIL}"}


def test_an_export_is_for_those_who_may_see_the_jobs() -> None:
    assert staff("view_queuecontrol").get(url("dead_letters_export", "csv")).status_code == 403
    assert staff("view_job").get(url("dead_letters_export", "xlsx")).status_code == 404
    assert staff("view_job").post(url("dead_letters_export", "csv")).status_code == 405


def test_the_number_of_queries_does_not_grow_with_the_rows() -> None:
    client = staff("view_job")

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            text_of(client, url("dead_letters"))
        return len(queries)

    buried()
    before = cost()
    for _ in range(10):
        buried()
    assert cost() == before
