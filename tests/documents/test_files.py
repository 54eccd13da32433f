"""The document and the result of a task in the admin: an escaped preview; files for those who may see the task."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from documents import conf, files, rendering
from documents.extraction.base import Extraction, Page
from documents.models import Tenant, TenantMember, WebhookAttempt
from queueadmin import lifecycle
from queueadmin.models import Job
from tests.documents import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]

TASKS = "/admin/documents/ingestiontask/"
EVIL = "<script>alert(1)</script>\u202egnp"


@pytest.fixture
def completed() -> Callable[..., uuid.UUID]:
    """A task with `text` as its result, its document in the store."""

    def make(text: str = "hello", **fields: Any) -> uuid.UUID:
        task_id = factories.task(**fields)
        job = factories.claimed(task_id)
        found = Extraction(text=text, pages=(Page(number=1, text=text),), engine="text", content_type="text/plain")
        key = conf.result_store().write(task_id, 1, rendering.stored_chunks(found))
        lifecycle.finish([lifecycle.complete(job, result=factories.SUMMARY | {"key": key})], worker_id=1)
        return task_id

    return make


def staff(*permissions: str, tenant: str = "") -> Client:
    made = get_user_model().objects.create_user(f"user-{uuid.uuid4().hex[:8]}", is_staff=True)
    made.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    if tenant:
        owner, _ = Tenant.objects.get_or_create(slug=tenant, defaults={"key_prefix": f"{tenant}/"})
        TenantMember.objects.create(user=made, tenant=owner)
    client = Client()
    client.force_login(made)
    return client


def body(answer: Any) -> bytes:
    content = b"".join(answer.streaming_content)
    answer.close()
    return content


def status(client: Client, url: str) -> int:
    answer = client.get(url)
    answer.close()
    return answer.status_code


def test_the_page_of_a_task_leads_to_its_document_and_result(admin_client: Client, completed: Any) -> None:
    task_id = completed()
    page = admin_client.get(f"{TASKS}{task_id}/change/").text
    for part in ("document/", "result/", "result/text/", "result/markdown/", "result/json/"):
        assert f'href="{TASKS}{task_id}/{part}"' in page
        assert status(admin_client, f"{TASKS}{task_id}/{part}") == (302 if part == "document/" else 200)  # it is gone


def test_the_preview_is_escaped_and_bounded(admin_client: Client, completed: Any) -> None:
    page = admin_client.get(f"{TASKS}{completed(EVIL + 'x' * 100_000)}/result/").text
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202egnp" in page
    assert "This is the beginning." in page
    assert len(page) < files.PREVIEW_CHARACTERS + 20_000
    short = admin_client.get(f"{TASKS}{completed('äöü')}/result/").text
    assert "äöü" in short
    assert "This is the beginning." not in short
    assert "No text was found" in admin_client.get(f"{TASKS}{completed('')}/result/").text


def test_files_are_sent_whole_and_never_shown_by_the_browser(admin_client: Client, completed: Any) -> None:
    (conf.document_directory() / "a.html").write_bytes(b"<script>alert(1)</script>")
    task_id = completed("text of it", r2_key="a.html", file_name="a.html")
    document = admin_client.get(f"{TASKS}{task_id}/document/")
    assert body(document) == b"<script>alert(1)</script>"
    assert document["Content-Type"] == "application/octet-stream"
    assert document["Content-Disposition"] == 'attachment; filename="a.html"'
    assert document["X-Content-Type-Options"] == "nosniff"
    text = admin_client.get(f"{TASKS}{task_id}/result/text/")
    assert (body(text), text["Content-Disposition"]) == (b"text of it", f'attachment; filename="{task_id}.txt"')
    assert b'"text of it"' in body(admin_client.get(f"{TASKS}{task_id}/result/json/"))


@pytest.mark.parametrize("part", ["document/", "result/", "result/text/"])
def test_files_are_for_those_who_may_see_the_task(completed: Any, part: str) -> None:
    (conf.document_directory() / "a.txt").write_bytes(b"x")
    url = f"{TASKS}{completed(tenant='acme')}/{part}"
    assert status(Client(), url) == 302
    assert status(staff("view_job"), url) == 403
    assert status(staff("view_own_ingestiontask", tenant="other"), url) == 404
    assert status(staff("view_own_ingestiontask", tenant="acme"), url) == 200
    assert status(staff("view_ingestiontask"), url) == 200


def test_what_staff_alone_may_know_of_a_webhook_is_not_told_to_people_of_the_tenant() -> None:
    task_id = factories.task(tenant="acme", callback_url="https://hooks.example/a")
    WebhookAttempt.objects.create(
        task_id=task_id, job_id=uuid.uuid4(), event="task.completed", attempt=1, url="https://hooks.example/a",
        error="It cannot be resolved.", detail="It resolves to 10.0.0.7.",
    )  # fmt: skip
    url = f"{TASKS}{task_id}/change/"
    own = staff("view_own_ingestiontask", tenant="acme").get(url).text
    assert "It cannot be resolved." in own
    assert "10.0.0.7" not in own
    assert "10.0.0.7" in staff("view_ingestiontask", "view_webhookattempt").get(url).text


def test_what_is_not_there_is_explained_on_the_page_of_the_task(admin_client: Client) -> None:
    task_id = factories.task(r2_key="gone.pdf")
    for part in ("document/", "result/", "result/json/"):
        page = admin_client.get(f"{TASKS}{task_id}/{part}", follow=True)
        assert page.redirect_chain == [(f"{TASKS}{task_id}/change/", 302)]
        assert 'class="error"' in page.text
    assert admin_client.get(f"{TASKS}{task_id}/result/docx/").status_code == 404
    assert admin_client.get(f"{TASKS}{uuid.uuid4()}/document/").status_code == 404


# -- retry with changes ----------------------------------------------------------------------------


def test_a_document_is_read_again_in_another_way(admin_client: Client) -> None:
    # Given
    task_id = factories.task()
    factories.end(task_id, "failed")
    url = f"{TASKS}operate/retry_changed/"
    assert "As the service does it" in admin_client.get(url, {"ids": str(task_id)}).text
    fields = {"ids": task_id.hex, "priority": 0, "max_attempts": 3, "run_at": ""}
    # When
    admin_client.post(url, fields | {"own-languages": "deu, eng", "own-ocr": "force"})
    # Then
    job = Job.objects.get(pk=task_id)
    assert (job.state, job.run) == ("pending", 2)
    assert job.payload["kwargs"] == {"r2_key": "a.txt", "options": {"languages": ["deu", "eng"], "ocr": "force"}}
    # And what it was read with is what the form shows next time
    factories.end(task_id, "failed")
    page = admin_client.get(url, {"ids": str(task_id)}).text
    assert 'value="deu eng"' in page
    assert '<option value="force" selected>' in page


@pytest.mark.parametrize("wrong", [{"own-languages": "../etc"}, {"own-languages": "a b c d e f g h i"},
                                   {"own-ocr": "twice"}])  # fmt: skip
def test_options_that_cannot_be_are_explained(admin_client: Client, wrong: dict[str, str]) -> None:
    task_id = factories.task()
    factories.end(task_id, "failed")
    fields = {"ids": task_id.hex, "priority": 0, "max_attempts": 3, "run_at": "", "own-languages": "", "own-ocr": ""}
    answer = admin_client.post(f"{TASKS}operate/retry_changed/", fields | wrong)
    assert 'class="errorlist' in answer.text
    assert Job.objects.get(pk=task_id).state == "failed"


def test_jobs_of_other_tenants_are_not_there_for_an_operator_of_one() -> None:
    own, foreign = factories.task(tenant="acme"), factories.task(tenant="other")
    operator = staff("view_own_ingestiontask", "cancel_job", tenant="acme")
    url = f"{TASKS}operate/cancel/"
    assert operator.post(url, {"ids": foreign.hex}).status_code == 404
    assert operator.post(url, {"ids": f"{own.hex},{foreign.hex}"}).status_code == 302
    assert [Job.objects.get(pk=task_id).state for task_id in (own, foreign)] == ["cancelled", "pending"]
