"""Who may do what: walked from the table of paths, so that a new endpoint cannot be forgotten."""

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern
from django.utils import timezone

from documents import api_keys, batches, webhooks
from documents.api import base, queue_urls, urls
from documents.batches import BatchRequest
from documents.models import ApiKey, Scope
from queueadmin.models import Job, OperationLog
from queueadmin.states import State
from tests.documents.api.client import PROCESS, STATS, Api, assert_problem, submission
from tests.documents.api.tasks import request, task_in, walk

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

TABLES = {"/api/documents/": urls.urlpatterns, "/api/queues/": queue_urls.urlpatterns}
UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"


def endpoints() -> list[tuple[str, str, Any]]:
    """(method, route, view class) of every endpoint in the tables."""
    found = []
    for prefix, pattern in [(prefix, pattern) for prefix, table in TABLES.items() for pattern in table]:
        assert isinstance(pattern, URLPattern)
        view = pattern.callback.cls  # type: ignore[attr-defined]  # what as_view() leaves on the function
        if pattern.name:
            route = prefix + str(pattern.pattern)
            found += [(name, route, view) for name in ("get", "post", "put", "delete") if hasattr(view, name)]
    return found


def a_batch(state: State) -> uuid.UUID:
    """A batch of the default tenant with one task in `state`."""
    batch = batches.submit(BatchRequest(tenant="default", documents=[(0, request())]))
    walk(batch.tasks[0], state)
    return batch.batch_id


PARAMETER = re.compile(r"<str:(\w+)>")


def a_delivery(state: State) -> uuid.UUID:
    """A delivery of the default tenant; its own state does not matter."""
    return webhooks.send_test("default", f"https://example.org/{state}")


KINDS: dict[str, tuple[Callable[[State], uuid.UUID], str]] = {
    "task_id": (task_in, "task_not_found"),
    "batch_id": (a_batch, "batch_not_found"),
    "delivery_id": (a_delivery, "delivery_not_found"),
}
"""What a path may name: how to make one that belongs to the default tenant, and the code of the 404 for a stranger."""

ENDPOINTS = endpoints()
SHARED = {"queue"}
"""What belongs to all tenants; tests/documents/api/test_queues.py says what whose key may do with it."""
OF_SOMETHING = [item for item in ENDPOINTS if set(PARAMETER.findall(item[1])) - SHARED]
IDS = [f"{method} {route}" for method, route, _ in ENDPOINTS]
OWNED_IDS = [f"{method} {route}" for method, route, _ in OF_SOMETHING]


def call(api: Api, method: str, route: str, named: str = UNKNOWN_ID) -> Any:
    path = PARAMETER.sub(lambda _: named, route)
    if method in ("get", "delete"):
        return api.request(method.upper(), path)
    return api.post(path, submission(), method=method.upper())


def kind_of(route: str) -> tuple[Callable[[State], uuid.UUID], str]:
    """A path with another parameter needs an entry above, and then takes part in everything below."""
    (parameter,) = PARAMETER.findall(route)
    return KINDS[parameter]


def test_the_table_has_the_endpoints_of_the_contract() -> None:
    assert {(method, route) for method, route, _ in ENDPOINTS} >= {
        ("post", "/api/documents/process"),
        ("get", "/api/documents/queue/stats"),
        ("get", "/api/documents/task/<str:task_id>/status"),
        ("get", "/api/documents/task/<str:task_id>/result"),
        ("post", "/api/documents/task/<str:task_id>/retry"),
    }


@pytest.mark.parametrize(("method", "route", "view"), ENDPOINTS, ids=IDS)
def test_without_a_valid_key_everything_is_a_401_with_a_challenge(
    make_key: Callable[..., Any], method: str, route: str, view: Any
) -> None:
    # Given keys that are none, unknown, of another scheme, expired, revoked
    expired = make_key(expires_at=timezone.now() - timedelta(seconds=1)).key
    revoked = make_key()
    api_keys.revoke(str(revoked.record.pk))
    callers = [Api(None), Api("ing_unknown"), Api("x" * 5000), Api("ü"), Api(expired), Api(revoked.key)]
    for value in ("Basic dTpw", "Bearer", "Bearer ", revoked.key):
        caller = Api(None)
        caller.headers["Authorization"] = value
        callers.append(caller)
    for caller in callers:
        # When
        response = call(caller, method, route)
        # Then
        assert_problem(response, 401, "unauthenticated")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "route", "view"), ENDPOINTS, ids=IDS)
def test_a_key_without_the_scope_is_a_403_that_names_it(
    make_api: Callable[..., Api], method: str, route: str, view: Any
) -> None:
    lacking = set(Scope) - view.scopes
    assert lacking, "every endpoint needs some scope"
    for scope in lacking:
        problem = assert_problem(call(make_api(scope), method, route), 403, "missing_scope")
        assert all(wanted in problem["detail"] for wanted in view.scopes)


@pytest.mark.parametrize(("method", "route", "view"), OF_SOMETHING, ids=OWNED_IDS)
@pytest.mark.parametrize("state", [State.PENDING, State.COMPLETED, State.FAILED])
def test_what_belongs_to_another_tenant_is_a_404_like_what_does_not_exist(
    make_api: Callable[..., Api], method: str, route: str, view: Any, state: State
) -> None:
    # Given something of one tenant, and a key of another that may do everything
    make, code = kind_of(route)
    theirs = str(make(state))
    before = Job.objects.order_by("pk").values_list("state", "cancel_requested_at", "cleaned_at")[::1]
    stranger = make_api(tenant="acme")
    # When
    foreign, unknown = call(stranger, method, route, theirs), call(stranger, method, route)
    # Then
    problems = [assert_problem(response, 404, code) for response in (foreign, unknown)]
    assert problems[0]["detail"] == problems[1]["detail"]
    assert Job.objects.order_by("pk").values_list("state", "cancel_requested_at", "cleaned_at")[::1] == before


READING = [item for item in ENDPOINTS if item[0] == "get" and item not in OF_SOMETHING and item[1] != STATS]
"""What names nothing of one tenant's. The stats count the tasks of all tenants for the scope `operate`, by contract."""


@pytest.mark.parametrize(("method", "route", "view"), READING, ids=[route for _, route, _ in READING])
def test_whatever_another_tenant_does_changes_nothing_in_what_a_key_reads(
    make_api: Callable[..., Api], method: str, route: str, view: Any
) -> None:
    # Given a key that may do everything for its tenant, of several
    theirs, mine = make_api(), make_api(tenant="acme")
    before = call(mine, method, route, "document_ingestion")
    # When another tenant has tasks in every state, a batch, an endpoint, and a delivery
    for state in State:
        if state != State.SCHEDULED:
            task_in(state, callback_url="https://example.org/theirs")
    a_batch(State.PENDING)
    a_delivery(State.PENDING)
    theirs.post("/api/documents/webhook", {"url": "https://example.org/theirs"}, method="PUT")
    # Then
    after = call(mine, method, route, "document_ingestion")
    assert (after.status_code, after.json()) == (before.status_code, before.json())


NAMING_IN_THE_BODY = [item for item in ENDPOINTS if item[0] == "post" and item not in OF_SOMETHING]


@pytest.mark.parametrize(
    ("method", "route", "view"), NAMING_IN_THE_BODY, ids=[route for _, route, _ in NAMING_IN_THE_BODY]
)
def test_naming_anothers_jobs_in_a_body_changes_none_of_them(
    make_api: Callable[..., Api], method: str, route: str, view: Any
) -> None:
    # Given jobs of one tenant of two, and all a body could say of them
    make_api()
    theirs = [task_in(state) for state in State if state != State.SCHEDULED]
    body = {**submission(), "documents": [submission()], "ids": [str(task) for task in theirs], "depth": 1}
    before = {job.pk: job.state for job in Job.objects.all()}
    # When a key of another may do everything for its own
    answered = make_api(tenant="acme").post(PARAMETER.sub("document_ingestion", route), body)
    # Then they stand as they stood, and no state of theirs is told
    assert answered.status_code < 500
    assert {pk: state for pk, state in Job.objects.values_list("pk", "state") if pk in before} == before
    assert set(answered.json().get("refused", {}).values() if route.startswith("/api/queues/") else ()) <= {"not_found"}


CHANGING_QUEUES = [item for item in ENDPOINTS if item[0] != "get" and SHARED & set(PARAMETER.findall(item[1]))]


@pytest.mark.parametrize(
    ("method", "route", "view"), CHANGING_QUEUES, ids=[f"{method} {route}" for method, route, _ in CHANGING_QUEUES]
)
def test_what_changes_a_queue_of_several_tenants_takes_a_key_for_all_of_them(
    make_api: Callable[..., Api], method: str, route: str, view: Any
) -> None:
    task_in(State.PENDING)
    make_api(tenant="other")
    response = call(make_api(tenant="acme"), method, route, "document_ingestion")
    assert_problem(response, 403, "needs_all_tenants")
    assert not OperationLog.objects.exists()


@pytest.mark.parametrize(("method", "route", "view"), OF_SOMETHING, ids=OWNED_IDS)
def test_what_is_no_uuid_names_nothing(make_api: Callable[..., Api], method: str, route: str, view: Any) -> None:
    api, (_, code) = make_api(), kind_of(route)
    for named in ("x", "1", "0" * 36, "-" * 36, "..", "%00", "%FF", "None", UNKNOWN_ID + "0"):
        response = call(api, method, route, named)
        assert assert_problem(response, 404, response.json()["code"])["code"] in (code, "not_found"), named


def test_a_task_id_in_capitals_is_the_same_task(make_api: Callable[..., Api]) -> None:
    task_id = str(task_in(State.PENDING)).upper()
    assert make_api().get(f"/api/documents/task/{task_id}/status").status_code == 200


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
WRONG = [
    (method, route, other)
    for method, route, view in ENDPOINTS
    for other in METHODS
    if other == "OPTIONS" or not hasattr(view, other.lower())
]


@pytest.mark.parametrize(("method", "route", "other"), WRONG, ids=[f"{other} {route}" for _, route, other in WRONG])
def test_other_methods_are_a_405_that_names_the_right_one(
    make_api: Callable[..., Api], method: str, route: str, other: str
) -> None:
    response = make_api().request(other, PARAMETER.sub(UNKNOWN_ID, route))
    assert_problem(response, 405, "method_not_allowed")
    assert method.upper() in response.headers["Allow"]


@pytest.mark.parametrize(
    "path", ["/api/", "/api/nothing", "/api/queues/x/y/z", "/api/documents", "/api/documents/x/y", "/api/documents/%00"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_path_is_a_404_problem(path: str, method: str) -> None:
    assert_problem(Client(raise_request_exception=False).generic(method, path), 404, "not_found")


def test_a_scheme_in_any_case_and_spaces_around_the_key_are_taken(make_key: Callable[..., Any]) -> None:
    caller = Api(None)
    caller.headers["Authorization"] = f"bEARER  {make_key('read').key} "
    assert caller.get(STATS).status_code == 200


def test_the_keys_last_use_is_noted_at_most_once_a_minute(make_key: Callable[..., Any]) -> None:
    # Given
    issued = make_key("read")
    # When
    Api(issued.key).get(STATS)
    # Then
    first = ApiKey.objects.get(pk=issued.record.pk).last_used_at
    assert first is not None
    assert abs((first - timezone.now()).total_seconds()) < 30
    # When it is used again at once
    Api(issued.key).get(STATS)
    assert ApiKey.objects.get(pk=issued.record.pk).last_used_at == first


def test_no_answer_holds_the_key(make_key: Callable[..., Any]) -> None:
    issued = make_key("read")
    caller = Api(issued.key)
    for response in (caller.get(STATS), caller.post(PROCESS, b"{"), caller.get("/api/documents/x")):
        assert issued.key.encode() not in response.content


def test_every_view_of_the_api_is_in_the_table() -> None:
    declared = {view for _, _, view in ENDPOINTS} | {base.Nothing}
    waiting, views = [base.ApiView], set()
    while waiting:
        view = waiting.pop()
        waiting += view.__subclasses__()
        if not view.__subclasses__():
            views.add(view)
    assert views <= declared
