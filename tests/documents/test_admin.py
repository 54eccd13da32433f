"""Tasks, keys and webhook attempts in the admin."""

import html
import re
import uuid
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from documents import api_keys
from documents.callbacks import endpoints
from documents.models import ApiKey, DisabledEndpoint, IngestionTask, Tenant, TenantMember, WebhookAttempt
from queueadmin.ids import uuid7
from queueadmin.models import Job, OperationLog
from tests.documents import factories

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]

TASKS, KEYS, ATTEMPTS = (
    "/admin/documents/ingestiontask/",
    "/admin/documents/apikey/",
    "/admin/documents/webhookattempt/",
)
EVIL = "<script>alert(1)</script>\u202egnp.exe"


def text_of(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, (url, answer.status_code)
    return answer.content.decode()


def staff(*permissions: str) -> Client:
    made = get_user_model().objects.create_user(f"user-{uuid.uuid4().hex[:8]}", is_staff=True)
    made.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(made)
    return client


def tried(task_id: uuid.UUID, **fields: Any) -> WebhookAttempt:
    given = {"job_id": uuid7(), "event": "task.completed", "attempt": 1, "url": "https://example.com/hook"}
    return WebhookAttempt.objects.create(task_id=task_id, **(given | fields))


# -- tasks ---------------------------------------------------------------------------------------


def test_the_list_shows_what_was_asked_for_and_where_it_stands(admin_client: Client) -> None:
    done, broken = factories.task(file_name="report.pdf"), factories.task(user_id="ada", document_id="inv-7")
    factories.end(done, "completed")
    factories.end(broken, "failed")
    page = text_of(admin_client, TASKS)
    for text in ("report.pdf", "Completed", "Failed", "ada", "inv-7", "damaged", "1 of 3"):
        assert text in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=inv-1", {"one"}), ("q=ada", {"two"}), ("q=file~REPORT", {"three"}),
        ("q=document:inv-1", {"one"}), ("q=user:ada+state:failed", {"two"}), ("q=age<1h", {"one", "two", "three"}),
        ("q=nothing", set()),
        ("state=failed", {"two"}), ("state=pending", {"one", "three"}), ("tenant=acme", {"three"}),
        ("created=hour", {"one", "two", "three"}), ("tenant=acme&state=failed", set()),
    ],
)  # fmt: skip
def test_search_and_filters(admin_client: Client, query: str, found: set[str]) -> None:
    Tenant.objects.get_or_create(slug="acme", defaults={"key_prefix": "acme/"})
    tasks = {
        "one": factories.task(document_id="inv-1"),
        "two": factories.task(user_id="ada"),
        "three": factories.task(tenant="acme", file_name="my report.pdf"),
    }
    factories.end(tasks["two"], "failed")
    page = text_of(admin_client, f"{TASKS}?{query}")
    assert {name for name, task_id in tasks.items() if f"{TASKS}{task_id}/change/" in page} == found


def test_a_task_is_found_by_its_id(admin_client: Client) -> None:
    task_id, other = factories.task(), factories.task()
    page = text_of(admin_client, f"{TASKS}?q={task_id}")
    assert str(task_id) in page
    assert str(other) not in page


def test_the_number_of_queries_does_not_grow_with_the_tasks(admin_client: Client) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            text_of(admin_client, TASKS)
        return len(queries)

    factories.end(factories.task(), "failed")
    before = cost()
    for _ in range(20):
        factories.end(factories.task(), "completed")
    assert cost() == before


def test_the_page_of_a_task_shows_the_request_the_timeline_and_the_webhook_attempts(admin_client: Client) -> None:
    task_id = factories.task(callback_url="https://example.com/hook", follow_up=True)
    factories.end(task_id, "completed")
    tried(task_id, status_code=503, error="the receiver answered 503")
    page = text_of(admin_client, f"{TASKS}{task_id}/change/")
    for text in (
        "a.txt",
        "doc-1",
        "user-1",
        "complete",
        "&quot;characters&quot;: 12",
        "the receiver answered 503",
        "503",
    ):
        assert text in page
    follow_up = Job.objects.get(parent_id=task_id)
    assert f"/admin/queueadmin/job/{follow_up.pk}/change/" in page
    assert str(task_id) in text_of(admin_client, f"/admin/queueadmin/job/{follow_up.pk}/change/")


def test_hostile_requests_are_escaped_everywhere(admin_client: Client) -> None:
    task_id = factories.task(
        document_id=EVIL, user_id=EVIL, file_name=EVIL, r2_key=EVIL, content_type=EVIL, metadata={EVIL: EVIL},
        callback_url=f"https://example.com/{EVIL}",
    )  # fmt: skip
    attempt = tried(task_id, url=EVIL, error=EVIL, response_excerpt=EVIL)
    for url in (TASKS, f"{TASKS}{task_id}/change/", ATTEMPTS, f"{ATTEMPTS}{attempt.pk}/change/"):
        page = text_of(admin_client, url)
        assert "<script>alert" not in page, url
        assert "\u202e" not in page, url


def test_operations_on_tasks_are_operations_on_their_jobs(admin_client: Client) -> None:
    task_id = factories.task()
    factories.end(task_id, "failed")
    answer = admin_client.post(TASKS, {"action": "retry_jobs", "_selected_action": [str(task_id)]})
    assert b"<strong>1</strong> of 1 selected" in answer.content
    answer = admin_client.post(answer.context["action"], answer.context["hidden"])
    assert answer["Location"] == f"{TASKS}{task_id}/change/"
    assert Job.objects.get(pk=task_id).state == "pending"


def test_who_may_see_tasks_may_not_thereby_operate_them() -> None:
    task_id = factories.task()
    viewer = staff("view_ingestiontask")
    assert viewer.post(f"{TASKS}operate/cancel/", {"ids": str(task_id)}).status_code == 403
    assert "operate/" not in text_of(viewer, f"{TASKS}{task_id}/change/")
    operator = staff("view_ingestiontask", "cancel_job")
    assert operator.post(f"{TASKS}operate/cancel/", {"ids": str(task_id)}).status_code == 302


def test_requests_are_never_edited_added_or_deleted(admin_client: Client) -> None:
    task_id = factories.task()
    assert admin_client.post(f"{TASKS}add/", {}).status_code == 403
    assert admin_client.post(f"{TASKS}{task_id}/delete/", {"post": "yes"}).status_code == 403
    admin_client.post(f"{TASKS}{task_id}/change/", {"file_name": "other.txt"})
    assert IngestionTask.objects.get().file_name == "a.txt"


# -- keys ----------------------------------------------------------------------------------------


def test_a_new_key_is_shown_once_and_works(admin_client: Client) -> None:
    Tenant.objects.get_or_create(slug="default", defaults={"key_prefix": ""})
    form = {
        "name": "backend",
        "tenant": "default",
        "scopes": ["submit", "read"],
        "expires_at_0": "",
        "expires_at_1": "",
    }
    assert "backend" not in text_of(admin_client, KEYS)
    text_of(admin_client, f"{KEYS}add/")
    answer = admin_client.post(f"{KEYS}add/", form)
    # Then the answer itself holds the key, and no cache, cookie or session keeps it
    key = answer.context["key"]
    assert key in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert api_keys.recognise(key).scopes == {"submit", "read"}
    assert key not in str(answer.cookies) + str(dict(admin_client.session))
    record = ApiKey.objects.get()
    for url in (KEYS, f"{KEYS}{record.pk}/change/", "/admin/"):
        page = text_of(admin_client, url)
        assert key not in page
        assert record.hash not in page
    assert LogEntry.objects.get().object_id == str(record.pk)


def test_a_key_for_all_tenants_is_one_that_operates_and_says_so_in_list_and_audit(admin_client: Client) -> None:
    Tenant.objects.get_or_create(slug="default", defaults={"key_prefix": ""})
    form = {"name": "ops", "tenant": "default", "all_tenants": "on", "expires_at_0": "", "expires_at_1": ""}
    # When it is asked for without the scope that it is for
    admin_client.post(f"{KEYS}add/", {**form, "scopes": ["read"]})
    # Then there is none
    assert not ApiKey.objects.exists()
    # And with it, everybody sees how far it reaches
    key = admin_client.post(f"{KEYS}add/", {**form, "scopes": ["operate"]}).context["key"]
    assert api_keys.recognise(key).all_tenants
    assert "operate (all tenants)" in text_of(admin_client, KEYS)
    assert OperationLog.objects.get(operation="issue_api_key").detail["all_tenants"] is True


@pytest.mark.parametrize(
    "wrong",
    [{"scopes": []}, {"scopes": ["root"]}, {"tenant": "nobody"}, {"name": ""}, {"name": "a\x00b"},
     {"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, {"expires_at_0": "soon", "expires_at_1": ""}],
)  # fmt: skip
def test_a_wrong_form_makes_no_key(admin_client: Client, wrong: dict[str, Any]) -> None:
    Tenant.objects.get_or_create(slug="default", defaults={"key_prefix": ""})
    form: dict[str, Any] = {
        "name": "backend",
        "tenant": "default",
        "scopes": ["read"],
        "expires_at_0": "",
        "expires_at_1": "",
    }
    assert admin_client.post(f"{KEYS}add/", form | wrong).status_code == 200
    assert not ApiKey.objects.exists()


def test_a_key_is_revoked_after_a_question(admin_client: Client) -> None:
    issued = api_keys.issue("backend", scopes=["read"])
    form = {"action": "revoke", "_selected_action": [str(issued.record.pk)]}
    assert b"refused at once" in admin_client.post(KEYS, form).content
    assert api_keys.recognise(issued.key)
    admin_client.post(KEYS, form | {"confirmed": "yes"})
    with pytest.raises(api_keys.ApiKeyRevoked):
        api_keys.recognise(issued.key)
    assert "revoked" in text_of(admin_client, KEYS)
    assert LogEntry.objects.get().get_change_message() == "Revoked."
    log = OperationLog.objects.get()
    assert (log.operation, log.target, log.source, log.outcome) == (
        "revoke_api_key", f"{issued.record.tenant_id}: backend", "admin", "done",
    )  # fmt: skip


def test_keys_want_their_own_permissions() -> None:
    issued = api_keys.issue("backend", scopes=["read"])
    viewer = staff("view_apikey")
    assert "revoke" not in text_of(viewer, KEYS)
    assert viewer.get(f"{KEYS}add/").status_code == 403
    viewer.post(KEYS, {"action": "revoke", "_selected_action": [str(issued.record.pk)], "confirmed": "yes"})
    assert api_keys.recognise(issued.key)


@pytest.mark.parametrize(
    "path",
    [f"{TASKS}?tenant=%00", f"{KEYS}?name=%00", "/admin/documents/tenant/?slug=%00",
     "/admin/documents/tenant/_00/change/", "/admin/documents/tenant/%00/history/",
     "/admin/documents/tenantmember/?tenant=%00"],
)  # fmt: skip
def test_what_no_column_can_hold_is_not_there(admin_client: Client, path: str) -> None:
    Tenant.objects.get_or_create(slug="acme", defaults={"key_prefix": "acme/"})
    assert admin_client.get(path, follow=True).status_code in (200, 404)


def test_acting_on_all_that_is_found_is_about_the_documents_of_the_list_alone(admin_client: Client) -> None:
    # Given a failed document, and a failed webhook, which is a job as well but no row of this list
    task_id = factories.task(callback_url="https://example.org/hook", follow_up=True)
    factories.end(task_id, "failed")
    factories.end(Job.objects.get(parent_id=task_id).pk, "failed", actor="deliver_webhook")
    # When the list offers to act on all of a search, and that is followed
    (offered,) = re.findall(
        r'href="([^"]*operation=retry&amp;[^"]*)"', text_of(admin_client, f"{TASKS}?q=state:failed")
    )
    # Then it is about the document
    assert "<strong>1</strong> of 1 matching jobs" in text_of(admin_client, html.unescape(offered))
    # And what the filters beside the list leave out is not acted on unseen
    page = text_of(admin_client, f"{TASKS}?q=state:failed&created=day")
    assert "operation=retry" not in page
    assert "write the filters into the search" in page


def test_who_let_whom_see_a_tenants_tasks_is_audited(admin_client: Client) -> None:
    Tenant.objects.get_or_create(slug="acme", defaults={"key_prefix": "acme/"})
    ada, bob = (get_user_model().objects.create_user(name) for name in ("ada", "bob"))
    page = "/admin/documents/tenantmember/"
    for user in (ada, bob):
        admin_client.post(f"{page}add/", {"user": user.pk, "tenant": "acme"})
    one, other = TenantMember.objects.order_by("pk")
    admin_client.post(f"{page}{one.pk}/delete/", {"post": "yes"})
    admin_client.post(page, {"action": "delete_selected", "_selected_action": [str(other.pk)], "post": "yes"})
    assert not TenantMember.objects.exists()
    assert list(OperationLog.objects.order_by("at").values_list("operation", "target", "by", "outcome")) == [
        ("add_tenant_member", "ada of acme", "admin", "done"),
        ("add_tenant_member", "bob of acme", "admin", "done"),
        ("remove_tenant_member", "ada of acme", "admin", "done"),
        ("remove_tenant_member", "bob of acme", "admin", "done"),
    ]


def test_attempts_are_found_by_their_task(admin_client: Client) -> None:
    one, other = factories.task(), factories.task()
    tried(one)
    tried(other, event="task.failed")
    assert "task.failed" not in text_of(admin_client, f"{ATTEMPTS}?q={one}")
    assert "0 webhook attempts" in text_of(admin_client, f"{ATTEMPTS}?q=nonsense")


def test_nothing_inline_on_our_pages(admin_client: Client) -> None:
    api_keys.issue("backend", scopes=["read"])
    task_id = factories.task(callback_url="https://example.com/hook")
    key = ApiKey.objects.get()
    for url in (TASKS, f"{TASKS}{task_id}/change/", KEYS, f"{KEYS}add/", f"{KEYS}{key.pk}/change/", ATTEMPTS,
                "/admin/documents/tenant/"):  # fmt: skip
        page = text_of(admin_client, url)
        assert "style=" not in page, url
        assert "<style" not in page, url
        assert all("src=" in tag.split(">")[0] for tag in page.split("<script")[1:]), url


def test_an_event_is_delivered_again_from_its_attempt(admin_client: Client) -> None:
    # Given a task whose webhook has failed
    task_id = factories.task(callback_url="https://example.org/hook", follow_up=True)
    factories.end(task_id, "completed")
    webhook = Job.objects.get(parent_id=task_id)
    factories.end(webhook.pk, "failed", actor="deliver_webhook")
    attempt = tried(task_id, job_id=webhook.pk, error="receiver_gone", detail="It resolves to 10.0.0.7")
    assert "10.0.0.7" in text_of(admin_client, f"{ATTEMPTS}{attempt.pk}/change/")
    data = {"action": "deliver_again", "_selected_action": [str(attempt.pk)]}
    # When somebody may not
    staff("view_webhookattempt").post(ATTEMPTS, data)
    assert Job.objects.get(pk=webhook.pk).state == "failed"
    # When somebody may
    said = admin_client.post(ATTEMPTS, data, follow=True).content.decode()
    assert "1 event is delivered again" in said
    assert Job.objects.get(pk=webhook.pk).state == "pending"


def test_a_disabled_address_is_enabled_again(admin_client: Client) -> None:
    endpoints.disable("default", "https://example.org/hook?secret=7")
    page = "/admin/documents/disabledendpoint/"
    assert "https://example.org" in text_of(admin_client, page)
    assert "secret=7" not in text_of(admin_client, page)
    data = {"action": "enable", "_selected_action": [str(DisabledEndpoint.objects.get().pk)]}
    staff("view_disabledendpoint").post(page, data)
    assert DisabledEndpoint.objects.exists()
    admin_client.post(page, data)
    assert endpoints.find_disabled("default", "https://example.org/hook?secret=7") is None
