"""Every admin address x every role x every method, from the URL table: what is not written down here fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from documents.models import ApiKey, DisabledEndpoint, IngestionTask, Tenant, TenantMember
from queueadmin import bulk, operations
from queueadmin.models import AuditEntry, BulkOperation, Job, JobEvent, QueueControl, WorkerProcess
from queueadmin.states import State
from queueadmin.views import JOB_OPERATIONS, QUEUE_OPERATIONS
from tests.groups import make_groups
from tests.seed.test_seed import seed  # noqa: F401  (a fixture)

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]

ROLES = ("anonymous", "outsider", "Tenant viewer", "Viewer", "Operator", "Administrator", "superuser")
"""The tenant's viewer apart, each may do what the one before it may."""
LADDER = ("anonymous", "outsider", "Viewer", "Operator", "Administrator", "superuser", "nobody")

SEE, DO, ALL, ROOT, NOBODY = "Viewer", "Operator", "Administrator", "superuser", "nobody"
"""The least role that may."""


def read_only(model: str, **others: tuple[str, str]) -> dict[str, tuple[str, str]]:
    """The pages of a model whose rows nobody edits. Posting to a list or a history does nothing."""
    usual = {
        "changelist": (SEE, SEE), "history": (SEE, SEE), "change": (SEE, NOBODY), "add": (NOBODY, NOBODY),
        "delete": (NOBODY, NOBODY),
    }  # fmt: skip
    return {f"{model}_{page}": access for page, access in (usual | others).items()}


def operating_on(model: str, **who: str) -> dict[str, tuple[str, str]]:
    return {f"{model}_operate:{operation}": (role, role) for operation, role in who.items()}


ACCESS: dict[str, tuple[str, str]] = {
    # The control plane
    "control_overview": (SEE, NOBODY), "control_failures": (SEE, NOBODY), "control_dead_letters": (SEE, NOBODY),
    "control_dead_letters_export": (SEE, NOBODY), "control_audit": (SEE, NOBODY),
    "control_workers": (SEE, NOBODY), "control_drain_worker": (SEE, DO), "control_truth": (SEE, ALL),
    "control_periodic": (SEE, DO),
    "control_bulk_list": (SEE, NOBODY), "control_bulk_new": (DO, DO), "control_bulk": (SEE, DO),
    # The ledger
    **read_only("queueadmin_job", change=(SEE, SEE)),
    **operating_on("queueadmin_job", retry=DO, cancel=DO, priority=DO, discard=DO),
    **read_only("queueadmin_queuecontrol"),
    **operating_on("queueadmin_queuecontrol", pause=DO, drain=DO, resume=DO, limit=DO, purge=ALL),
    **read_only("queueadmin_operationlog", export=(SEE, NOBODY)),
    # Documents
    **read_only("documents_ingestiontask", change=(SEE, SEE)),
    **{f"documents_ingestiontask_{page}": (SEE, NOBODY) for page in ("document", "result", "result_file")},
    **operating_on("documents_ingestiontask", retry=DO, cancel=DO, priority=DO, discard=DO),
    **read_only("documents_webhookattempt"), **read_only("documents_tenant"), **read_only("documents_disabledendpoint"),
    **read_only("documents_tenantmember", add=(ALL, ALL), delete=(ALL, ALL)),
    **read_only("documents_apikey", add=(ALL, ALL)),
    # Django's own
    **{
        f"auth_{model}_{page}": (ROOT, ROOT)
        for model in ("user", "group") for page in ("changelist", "history", "change", "add", "delete")
    },
    "auth_user_password_change": (ROOT, ROOT), "autocomplete": (NOBODY, NOBODY),
    "index": ("outsider", "outsider"), "app_list": ("outsider", "outsider"), "view_on_site": ("outsider", "outsider"),
    "password_change": ("outsider", "outsider"), "password_change_done": ("outsider", NOBODY),
    "jsi18n": ("outsider", NOBODY),
}  # fmt: skip
"""Name of a page -> who may see it, and who may post to it."""

OPEN = {"login", "logout"}
"""For those who are not logged in, or are; they see nothing."""

OF_TENANT_VIEWERS = {
    f"documents_ingestiontask_{page}"
    for page in ("changelist", "change", "history", "document", "result", "result_file")
}
"""What they see beside what everybody sees: of their own tenants."""


@pytest.fixture
def clients(seed: Callable[[int], None]) -> dict[str, Client]:  # noqa: F811  (the fixture above)
    make_groups()
    seed(40)
    clients = {role: client_of(role) for role in ROLES}
    add_a_row_of_everything()
    return clients


def client_of(role: str) -> Client:
    client = Client()
    if role == "anonymous":
        return client
    user = get_user_model().objects.create_user(
        role, password="a-long-password", is_staff=True, is_superuser=role == "superuser"
    )
    if role not in ("outsider", "superuser"):
        user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    return client


def add_a_row_of_everything() -> None:
    """For the pages of single rows that the seed has none of."""
    tenant = Tenant.objects.get(slug="acme")
    ApiKey.objects.create(tenant=tenant, name="key", prefix="abc", hash="cd" * 32, scopes=["read"])
    TenantMember.objects.create(tenant=tenant, user=get_user_model().objects.get(username="Tenant viewer"))
    DisabledEndpoint.objects.create(
        tenant="acme", url_hash="ab" * 32, origin="https://e.org", disabled_at=timezone.now()
    )
    who = {"by": "root", "source": "cli"}
    operations.pause("webhooks", **who)
    bulk.start(bulk.plan("retry", "state:failed", now=timezone.now()), **who)


# -- addresses -----------------------------------------------------------------------------------


def patterns(found: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(route, name) of the whole admin."""
    for pattern in found:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from patterns(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern) and route.startswith("admin/") and pattern.name:
            yield route, pattern.name


def addresses() -> dict[str, str]:
    """Name of a page, with the operation where it has one -> an address of it."""
    found: dict[str, str] = {}
    for route, name in patterns(get_resolver().url_patterns):
        if name.endswith("_operate"):
            found |= {f"{name}:{operation}": url for operation, url in operating(name, route)}
        else:
            found[name] = "/" + filled(name, route)
    return found


def filled(name: str, route: str) -> str:
    route = re.sub(r"\^\(\?P<app_label>[^)]*\)/\$", "queueadmin/", route)
    return re.sub(r"<[^>]+>", lambda part: argument(name, part[0]), route)


def argument(name: str, part: str) -> str:
    """What stands in the place of a part of a route."""
    rows: dict[str, Any] = {
        "<int:worker_id>": WorkerProcess, "<uuid:bulk_id>": BulkOperation, "<id>": get_user_model(),
        "<path:content_type_id>": None,
    }  # fmt: skip
    if part == "<str:form>":
        return "json" if "result" in name else "csv"
    if part in rows:
        return "1" if rows[part] is None else str(rows[part].objects.order_by("pk").first().pk)
    model = apps.get_model(*name.split("_")[:2]) if name != "view_on_site" else Job
    row = model.objects.filter(tenant="acme").first() if model is IngestionTask else model.objects.first()
    assert row is not None, f"No row of {model.__name__} for {name}"
    return str(row.pk)


def operating(name: str, route: str) -> Iterator[tuple[str, str]]:
    operations = QUEUE_OPERATIONS if "queuecontrol" in name else JOB_OPERATIONS
    job = Job.objects.filter(state=State.DEAD_LETTER, actor="ingest_document").first()
    assert job is not None
    question = "queue=webhooks" if "queuecontrol" in name else f"ids={job.pk.hex}"
    for operation in operations:
        yield operation, f"/{route.replace('<str:operation>', operation)}?{question}"


QUESTIONS = {"control_bulk_new": {"operation": "retry", "q": "state:failed"}}
"""What some pages must be asked."""


# -- what is allowed -----------------------------------------------------------------------------


def ask(client: Client, method: str, name: str, url: str, before: object) -> HttpResponse:
    """One request, of which nothing stays; whether it changed the ledger from what it was `before`."""
    path, _, query = url.partition("?")
    data = {**dict(part.split("=", 1) for part in query.split("&") if part), **QUESTIONS.get(name, {})}
    if method == "post":
        data |= {"eligible": "9", "reason": "x"}
    with transaction.atomic():
        answer = getattr(client, method)(path, data if method in ("get", "head", "post") else None)
        answer.has_changed = ledger() != before
        if answer.streaming:
            list(answer)  # to its end, which closes what it reads
        transaction.set_rollback(True)
    return answer


def is_refused(answer: HttpResponse) -> bool:
    """To the login, forbidden, no method of this page; or back to the index, as if there were no such row."""
    target = answer.headers["Location"].partition("?")[0] if answer.status_code == 302 else ""
    away = target == "/admin/login/" or (target == "/admin/" and not answer.has_changed)
    return away or answer.status_code in (403, 405)


LOOKED_AT: dict[Any, tuple[str, ...]] = {
    Job: ("state", "priority", "cancel_requested_at", "run_at"), BulkOperation: ("abort_requested_at",),
    QueueControl: tuple(field.column for field in QueueControl._meta.concrete_fields),
    WorkerProcess: ("drain_requested_at",),
    JobEvent: (), AuditEntry: (), ApiKey: (), TenantMember: (), Tenant: (), get_user_model(): (),
}  # fmt: skip
"""What an operation would change: columns of a table's rows, or how many there are."""


def ledger() -> tuple[object, ...]:
    """All of it by one statement, since it is asked for before and after a thousand requests."""
    parts = []
    for model, columns in LOOKED_AT.items():
        table, key = model._meta.db_table, model._meta.pk.column
        rows = f"string_agg(ROW({', '.join((key, *columns))})::text, ' ' ORDER BY {key})" if columns else "count(*)"
        parts.append(f"(SELECT {rows} FROM {table})")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}")
        found: tuple[object, ...] = cursor.fetchone()
        return found


def least(answers: dict[str, HttpResponse]) -> str:
    """The first role of the ladder that is not refused; those above it must not be either."""
    allowed = [role for role in LADDER[:-1] if not is_refused(answers[role])]
    if not allowed:
        return "nobody"
    assert allowed == list(LADDER[LADDER.index(allowed[0]) : -1]), allowed
    return allowed[0]


def test_each_address_is_for_whom_it_is_written_down_and_no_reading_changes_anything(
    clients: dict[str, Client],
) -> None:
    found: dict[str, tuple[str, str]] = {}
    tenants: set[str] = set()
    acts: set[str] = set()
    before = ledger()
    for name, url in addresses().items():
        if name in OPEN:
            continue
        seen = {role: ask(client, "get", name, url, before) for role, client in clients.items()}
        acted = {role: ask(client, "post", name, url, before) for role, client in clients.items()}
        found[name] = (least(seen), least(acted))
        if least(seen) not in ("anonymous", "outsider") and not is_refused(seen["Tenant viewer"]):
            tenants.add(name)
        for role, answer in seen.items():
            assert answer.status_code < 500, (role, url)
            assert not answer.has_changed, (role, url)
        for role, answer in acted.items():
            assert answer.status_code < 500, (role, url)
            assert not (is_refused(answer) and answer.has_changed), (role, url)
            acts |= {name} if answer.has_changed else set()
    assert {name: got for name, got in found.items() if ACCESS.get(name) != got} == {}
    assert ACCESS.keys() <= found.keys()
    assert tenants == OF_TENANT_VIEWERS
    assert acts >= {"queueadmin_queuecontrol_operate:pause", "queueadmin_job_operate:retry"}, "nothing was noticed"


def test_other_methods_change_nothing_even_for_whom_everything_is_allowed(clients: dict[str, Client]) -> None:
    before = ledger()
    for name, url in addresses().items():
        for method in ("put", "patch", "delete"):
            answer = ask(clients["superuser"], method, name, url, before)
            assert answer.status_code < 500, (method, url)
            assert not answer.has_changed, (method, url)
