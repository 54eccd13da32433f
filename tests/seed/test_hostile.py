"""Hostile text in every place that text comes from outside: each page shows it for what it is, and obeys none of it."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils.html import escape

from documents.models import (
    ApiKey,
    Batch,
    DisabledEndpoint,
    IngestionTask,
    Tenant,
    TenantMember,
    WebhookAttempt,
)
from queueadmin import lifecycle, operations, presence
from queueadmin.display import visible
from queueadmin.ids import new_token, uuid7
from queueadmin.jobs import Claim, ClaimedJob, NewJob
from queueadmin.models import (
    BulkOperation,
    Job,
    JobProgress,
    OperationLog,
    PartitionLimit,
    QueueControl,
    WorkerProcess,
)
from queueadmin.states import State
from tests.seed import pages

pytestmark = [
    pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey"), pytest.mark.timeout(600),
]  # fmt: skip

WORKER = 4242
RAW = "\x1b\x07\x08\x7f\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u2028"
"""What no page may hold as it is: escape sequences, bells, marks that turn text around."""


HARMFUL = ("<script>hacked", "<img src=x", "'><script", "49<img")
"""Markup of strangers, and what a template would make of theirs."""


def evil(name: str, *, limit: int = 200) -> str:
    """Markup that breaks out of text, attributes and scripts, behind a word that finds it again on a page.

    What is too long for its column loses its end, not the beginning of its markup.
    """
    markup = "</pre>\"'><script>hacked()</script>\x1b[2J\u202efdp.exe{{7*7}}<img src=x onerror=hacked()>"
    return (name + markup)[:limit]


def claim(job: NewJob) -> ClaimedJob:
    lifecycle.submit([job])
    (claimed,) = lifecycle.claim([Claim(id=job.id, token=new_token())], actors=[job.actor], worker_id=WORKER)
    return claimed


def a_job(actor: str = "", **fields: object) -> NewJob:
    given = {
        "id": uuid7(), "queue": evil("queue", limit=64), "actor": actor or evil("actor"), "max_attempts": 3,
        "payload": {"args": [evil("argument")], "kwargs": {evil("keyword"): evil("value")}, "options": {}},
        "partition_key": evil("tenant", limit=64),
    }  # fmt: skip
    return NewJob(**(given | fields))


def a_worker(number: int = WORKER) -> None:
    me = presence.Identity(
        id=number, name=evil("worker"), host=evil("host"), pid=1, pid_started=evil("start", limit=40)
    )
    presence.register(
        me, queues=[evil("served", limit=64)], actors=[evil("actor")], threads=4, version=evil("version", limit=64)
    )


def a_request(job: NewJob) -> None:
    IngestionTask.objects.create(
        job_id=job.id, tenant=evil("tenant", limit=64), document_id=evil("document"), user_id=evil("user"),
        file_name=evil("file") + ".pdf", r2_key=evil("object"), content_type=evil("type"),
        callback_url="https://example.com/" + evil("callback"),
        metadata={evil("metakey"): evil("metavalue"), "nested": [evil("metanested")]},
    )  # fmt: skip


def fill() -> None:
    """One row of everything, as hostile as its columns let it be."""
    a_worker()
    failing = a_job("ingest_document", unique_key=evil("unique"))
    held = claim(failing)
    a_request(failing)
    detail = {
        "code": evil("detailcode"), "message": evil("detailmessage"), "traceback": evil("traceback", limit=4000),
        "stages": {evil("stagename"): 0.1}, evil("detailkey"): evil("detailvalue"),
    }  # fmt: skip
    lifecycle.finish(
        [
            lifecycle.bury(
                held, code=evil("code", limit=64), message=evil("message"), fingerprint=evil("print", limit=64),
                detail=detail,
            )
        ],
        worker_id=WORKER,
    )  # fmt: skip
    finished = a_job("ingest_document")
    held = claim(finished)
    a_request(finished)
    result = {"engine": evil("engine"), "warnings": [evil("warning")], "content_type": evil("resulttype")}
    lifecycle.finish([lifecycle.complete(held, result=result)], worker_id=WORKER)
    running = a_job()
    claim(running)
    JobProgress.objects.create(job_id=running.id, attempt=1, stage=evil("stage", limit=32), at=datetime.now(UTC))
    delivery = a_job("deliver_webhook", parent_id=failing.id)
    lifecycle.submit([delivery, a_job()])
    _fill_the_rest(failing, delivery)


def _fill_the_rest(failing: NewJob, delivery: NewJob) -> None:
    now = datetime.now(UTC)
    QueueControl.objects.create(
        queue=evil("queue", limit=64), paused_at=now, paused_by=evil("pauser", limit=150), reason=evil("pausereason"),
        concurrency_limit=2,
    )  # fmt: skip
    PartitionLimit.objects.create(partition_key=evil("limited", limit=64), queue="", concurrency_limit=1)
    who = {"by": evil("operator"), "source": "cli", "reason": evil("opreason")}
    operations.retry([failing.id, uuid7()], **who)
    BulkOperation.objects.create(
        id=uuid7(), operation="retry", search=evil("search"), as_of=now, by=evil("bulkoperator"), source="admin",
        reason=evil("bulkreason"), log_id=OperationLog.objects.latest("at").pk, created_at=now, state="done",
        refused={evil("refusal"): 3},
    )  # fmt: skip
    WebhookAttempt.objects.create(
        task_id=failing.id, job_id=delivery.id, event="task.completed", attempt=1, at=now,
        url="https://example.com/" + evil("url"), status_code=500, duration_ms=1, error=evil("webhookerror"),
        detail=evil("webhookdetail"), response_excerpt=evil("response"),
    )  # fmt: skip
    user = get_user_model().objects.create_superuser("root", password="a-long-password")
    tenant = Tenant.objects.create(slug="acme", key_prefix="acme/")  # a slug, which Django checks
    TenantMember.objects.create(tenant=tenant, user=user)
    DisabledEndpoint.objects.create(tenant="acme", url_hash="ab" * 32, origin="https://example.com", disabled_at=now)
    ApiKey.objects.create(tenant=tenant, name=evil("keyname", limit=100), prefix="abc", hash="cd" * 32, scopes=["read"])
    Batch.objects.create(id=uuid7(), tenant="acme", accepted=0, created_at=now)


def every_page() -> Iterator[str]:
    """Those of the URL table, and one for each row that has a page."""
    yield from pages.urls()
    for job in Job.objects.all():
        yield f"/admin/queueadmin/job/{job.pk}/change/"
        yield f"/admin/queueadmin/job/operate/cancel/?ids={job.pk.hex}"
        yield f"/admin/queueadmin/job/?q=id:{job.pk}"
    for task in IngestionTask.objects.all():
        yield f"/admin/documents/ingestiontask/{task.pk}/change/"
    for model in (OperationLog, WebhookAttempt, Tenant, ApiKey, TenantMember, DisabledEndpoint):
        for row in model.objects.all():
            # The admin writes what is no letter as _5F.
            name = f"{model._meta.app_label}/{model._meta.model_name}"
            key = re.sub(r"[^A-Za-z0-9-]", lambda found: f"_{ord(found[0]):02X}", str(row.pk))
            yield f"/admin/{name}/{key}/change/"
    for bulk in BulkOperation.objects.all():
        yield f"/admin/control/bulk/{bulk.pk}/"
    for worker in WorkerProcess.objects.all():
        yield f"/admin/control/workers/{worker.pk}/drain/"


SHOWN = (
    "queue", "actor", "tenant", "worker", "host", "version", "served", "argument", "keyword", "value", "file",
    "document", "user", "type", "callback", "metakey", "metavalue", "metanested", "code", "message", "traceback",
    "detailkey", "detailvalue", "unique", "engine", "stage", "pauser", "pausereason", "operator", "opreason", "search",
    "bulkoperator", "bulkreason", "url", "webhookerror", "response", "keyname",
)  # fmt: skip
"""What some page must show, so that finding nothing harmful does not mean that nothing was shown."""


def harm_in(page: str) -> list[str]:
    """What a page should not hold, with what stands before it."""
    places = [page.find(harmful) for harmful in (*HARMFUL, *RAW)]
    return [page[max(0, place - 80) : place + 20] for place in places if place >= 0]


def test_no_page_obeys_what_comes_from_outside_and_each_text_is_shown_somewhere() -> None:
    # Given
    fill()
    client = Client()
    client.force_login(get_user_model().objects.get())
    # When every page is looked at
    texts = {url: client.get(url, follow=True) for url in every_page()}
    # Then it opens, and none holds markup, control characters or direction marks of strangers
    assert {url: answer.status_code for url, answer in texts.items() if answer.status_code != 200} == {}
    assert {url: found for url, answer in texts.items() if (found := harm_in(answer.text))} == {}
    # And nothing was simply left out
    everything = "\n".join(answer.text for answer in texts.values())
    missing = [
        name for name in SHOWN if f"{name}{escape('</pre>')}" not in everything and f"{name}</pre>" not in everything
    ]
    assert missing == []


def test_no_command_sends_what_comes_from_outside_to_the_terminal() -> None:
    fill()
    job = Job.objects.filter(state=State.PENDING).first()
    assert job is not None
    for command in (
        ["queue", "stats"], ["queue", "list"], ["queue", "status", str(job.pk)], ["queue", "workers", "--all"],
        ["queue", "dead-letters"], ["queue", "limit"], ["queue", "repair", "--dry-run"],
    ):  # fmt: skip
        out, err = StringIO(), StringIO()
        call_command(*command, stdout=out, stderr=err)
        assert not set(out.getvalue() + err.getvalue()) & set(RAW), command
    with pytest.raises(CommandError) as refused:
        call_command("queue", "drain-worker", evil("nobody"))
    assert not set(str(refused.value)) & set(RAW)


def test_json_answers_escape_what_a_terminal_would_obey() -> None:
    fill()
    out = StringIO()
    call_command("queue", "list", "--json", stdout=out)
    assert not set(out.getvalue()) & set(RAW)
    assert any(visible(row["queue"]) == visible(evil("queue", limit=64)) for row in json.loads(out.getvalue()))
