"""Every admin address x every role x every method, from the URL table: a new page cannot be forgotten."""

from collections.abc import Callable
from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import get_resolver

from documents.models import IngestionTask
from queueadmin.models import AuditEntry, BulkOperation, Job, JobEvent, QueueControl
from queueadmin.states import State
from tests.seed import pages
from tests.seed.test_seed import seed  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db(transaction=True)

ROLES = ("anonymous", "outsider", "Tenant viewer", "Viewer", "Operator", "Administrator")
REFUSED = {302, 403, 404, 405}
"""To the login, not allowed, not found for this person, not a method of this page."""


@pytest.fixture
def clients(seed: Callable[[int], None]) -> dict[str, Client]:  # noqa: F811  (the fixture above)
    import_module("documents.migrations.0005_groups").make_groups(apps, None)
    seed(80)
    return {role: client_of(role) for role in ROLES}


def client_of(role: str) -> Client:
    client = Client()
    if role != "anonymous":
        user = get_user_model().objects.create_user(role, password="a-long-password", is_staff=True)
        if role != "outsider":
            user.groups.add(Group.objects.get(name=role))
        client.force_login(user)
    return client


def addresses() -> list[str]:
    """Every page, and every address that acts, with rows where rows are wanted."""
    job = Job.objects.filter(state=State.DEAD_LETTER).first()
    task = IngestionTask.objects.first()
    assert job is not None
    assert task is not None
    acting = [
        f"/admin/{owner}/operate/{operation}/{question}"
        for owner, question, operations in (
            ("queueadmin/job", f"?ids={job.pk.hex}", ("retry", "cancel", "discard")),
            ("documents/ingestiontask", f"?ids={task.pk.hex}", ("retry", "cancel", "discard")),
            ("queueadmin/queuecontrol", "?queue=webhooks", ("pause", "resume", "purge")),
        )
        for operation in operations
    ]
    return [*(url for url in pages.urls() if "?q=" not in url), *acting]


def ledger() -> tuple[object, ...]:
    """What an operation would change."""
    return (
        sorted(Job.objects.values_list("pk", "state", "priority", "cancel_requested_at")),
        JobEvent.objects.count(), AuditEntry.objects.count(), BulkOperation.objects.count(),
        sorted(QueueControl.objects.values_list("queue", "paused_at")),
    )  # fmt: skip


def test_no_get_changes_anything_and_nobody_sees_what_is_not_theirs(clients: dict[str, Client]) -> None:
    before = ledger()
    answers = {role: {url: client.get(url).status_code for url in addresses()} for role, client in clients.items()}

    # Nothing breaks, nothing changes, whoever asks
    assert {(role, url): code for role in answers for url, code in answers[role].items() if code >= 500} == {}
    assert ledger() == before

    # The outsider and the anonymous see no page of ours; a tenant's viewer sees the list of its tasks and no other
    for role in ("anonymous", "outsider", "Tenant viewer"):
        seen = {url.split("?")[0] for url, code in answers[role].items() if code == 200} - {"/admin/"}
        assert seen <= ({"/admin/documents/ingestiontask/"} if role == "Tenant viewer" else set()), role

    # Each role sees what the one before it sees
    for less, more in (("Viewer", "Operator"), ("Operator", "Administrator")):
        seen = {url for url, code in answers[less].items() if code == 200}
        assert seen <= {url for url, code in answers[more].items() if code == 200}, more
    assert all("/operate/" not in url for url, code in answers["Viewer"].items() if code == 200)


@pytest.mark.parametrize("method", ["post", "delete"])
def test_who_only_looks_changes_nothing_by_any_method(clients: dict[str, Client], method: str) -> None:
    before = ledger()
    for role in ("anonymous", "outsider", "Tenant viewer", "Viewer"):
        for url in addresses():
            path, _, query = url.partition("?")
            data = dict(part.split("=", 1) for part in query.split("&") if part)
            answer = getattr(clients[role], method)(path, {"eligible": "9", "reason": "x", **data})
            assert answer.status_code in {200, 400, *REFUSED}, (role, method, url)
    assert ledger() == before


def test_every_address_of_the_admin_wants_a_login(clients: dict[str, Client]) -> None:
    names = {name for _, name in pages._patterns(get_resolver().url_patterns, "")}
    assert {"control_overview", "control_failures", "control_truth", "queueadmin_job_changelist"} <= names
    for url in addresses():
        answer = clients["anonymous"].get(url)
        assert answer.status_code == 302, url
        assert "/admin/login/" in answer.headers["Location"], url
