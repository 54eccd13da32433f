"""GET /api/documents/tasks: filters, and pages that lose and repeat nothing."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from documents import batches, listing, selectors
from documents.batches import BatchRequest
from documents.listing import Effort, Position, Wanted
from documents.models import IngestionTask
from queueadmin.states import State
from tests.documents.api.client import Api, assert_problem
from tests.documents.api.tasks import request, submitted, task_in

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

TASKS = "/api/documents/tasks"


def listed(api: Api, **query: Any) -> list[str]:
    """The ids on the first page."""
    response = api.get(f"{TASKS}?{urlencode(query, doseq=True)}")
    assert response.status_code == 200, response.content
    return [task["task_id"] for task in response.json()["tasks"]]


def test_each_filter_finds_what_it_names(api: Api) -> None:
    # Given one task of each kind, newest last
    failed = str(task_in(State.FAILED, user_id="u-1"))
    retrying = str(task_in(State.RETRYING, document_id="d-2"))
    batch = batches.submit(BatchRequest(tenant="default", documents=[(0, request()), (1, request())]))
    in_batch = [str(task_id) for task_id in reversed(batch.tasks.values())]
    completed = str(task_in(State.COMPLETED))
    middle = IngestionTask.objects.get(pk=batch.tasks[0]).created_at.isoformat()
    # When / Then
    assert listed(api) == [completed, *in_batch, retrying, failed]
    assert listed(api, state="failed") == [failed]
    assert listed(api, state="failed,completed") == listed(api, state=["failed", "completed"]) == [completed, failed]
    assert listed(api, state="pending", limit=1) == in_batch[:1]
    assert listed(api, user_id="u-1") == [failed]
    assert listed(api, document_id="d-2", state="retrying") == [retrying]
    assert listed(api, batch_id=str(batch.batch_id)) == in_batch
    assert listed(api, error_code="damaged") == [failed]
    assert listed(api, error_code="damaged", state="retrying") == []
    assert listed(api, error_code="storage_unavailable") == [retrying]
    assert listed(api, created_from=middle) == [completed, *in_batch]
    assert listed(api, created_to=middle) == [retrying, failed]
    assert listed(api, user_id="nobody") == []


def test_an_entry_is_the_status_of_its_task(api: Api) -> None:
    task_id = task_in(State.COMPLETED, callback_url="https://example.org/hook")
    (entry,) = api.get(TASKS).json()["tasks"]
    assert entry == api.get(f"/api/documents/task/{task_id}/status").json()


def test_a_page_costs_the_same_number_of_queries_however_many_tasks_are_on_it(api: Api) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            listed(api, state="processing,completed")
        return len(captured)

    for _ in range(2):
        task_in(State.PROCESSING)
        task_in(State.COMPLETED, callback_url="https://example.org/hook")
    listed(api)  # which notes the first use of the key
    few = queries()
    for _ in range(8):
        task_in(State.PROCESSING)
        task_in(State.COMPLETED, callback_url="https://example.org/hook")
    assert queries() == few


@pytest.mark.parametrize("state", ["", "pending", "pending,completed"])
def test_pages_lose_and_repeat_nothing_while_tasks_arrive(api: Api, state: str) -> None:
    # Given tasks, some of which were stored at the very same time
    batch = batches.submit(BatchRequest(tenant="default", documents=[(number, request()) for number in range(7)]))
    expected = [str(task_id) for task_id in reversed(batch.tasks.values())]
    query = {"limit": 3} | ({"state": state} if state else {})
    # When they are read page by page, and new ones arrive meanwhile
    seen, url = [], f"{TASKS}?{urlencode(query)}"
    while url:
        body = api.get(url).json()
        seen += [task["task_id"] for task in body["tasks"]]
        url = body["next"]
        submitted()
    # Then
    assert seen == expected


@pytest.mark.parametrize(("state", "few"), [(State.CANCELLED, 1), (State.FAILED, 0), (State.FAILED, 1)])
def test_what_is_rare_among_many_tasks_is_found_without_looking_at_all_of_them(state: State, few: int) -> None:
    # Given one task behind more completed ones than a page may look at
    rare = task_in(state)
    for _ in range(7):
        task_in(State.COMPLETED)
    # When all pages are read
    wanted, effort = Wanted(tenant="default", states=[state]), Effort(few=few, scan=2, rounds=2)
    page = listing.page(wanted, effort)
    found = [page.ids]
    while page.next:
        page = listing.page(replace(wanted, after=page.next), effort)
        found.append(page.ids)
    # Then it is found: at once where an index leads to it, behind an empty page elsewhere
    assert found[0] == ((rare,) if state == State.FAILED and few else ())
    assert [task_id for ids in found for task_id in ids] == [rare]


FILTERS: list[dict[str, Any]] = [
    {}, {"states": ("completed",)}, {"states": ("cancelled", "pending")}, {"states": ("pending",)},
    {"states": ("processing",)}, {"states": ("scheduled", "retrying")}, {"states": ("failed", "dead_letter")},
    {"error_code": "damaged"}, {"user_id": "user-1"}, {"document_id": "doc-1"}, {"batch_id": uuid.UUID(int=1)},
    {"created_from": datetime(2026, 1, 1, tzinfo=UTC), "created_to": datetime(2099, 1, 1, tzinfo=UTC)},
    {"user_id": "user-1", "states": ("cancelled",), "created_to": datetime(2099, 1, 1, tzinfo=UTC)},
]  # fmt: skip


@pytest.mark.parametrize("filters", FILTERS, ids=lambda filters: "+".join(filters) or "none")
@pytest.mark.parametrize("few", [0, 5_000], ids=["many", "few"])
def test_no_filter_reads_a_whole_table(filters: dict[str, Any], few: int) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("asks PostgreSQL's planner")
    # Given a task for each filter, and a planner that reads a whole table only where no index helps
    for state in (State.PENDING, State.COMPLETED, State.FAILED):
        task_in(state)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        # When a first page and a later one are read
        with CaptureQueriesContext(connection) as captured:
            for after in (None, Position(at=datetime(2099, 1, 1, tzinfo=UTC), id=uuid.UUID(int=1))):
                page = listing.page(Wanted(tenant="default", after=after, **filters), Effort(few=few))
                selectors.webhook_jobs(selectors.views(page.ids))
        # Then an index leads every statement to its rows
        assert len(captured) >= 2
        for query in captured.captured_queries:
            cursor.execute("EXPLAIN " + query["sql"])
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert "Seq Scan" not in plan, f"{query['sql']}\n{plan}"


def test_another_tenant_sees_none_of_it(make_api: Callable[..., Api]) -> None:
    # Given
    batch = batches.submit(BatchRequest(tenant="default", documents=[(0, request())]))
    task_in(State.FAILED)
    stranger = make_api(tenant="acme")
    # When / Then
    for query in ({}, {"state": "pending"}, {"state": "failed"}, {"state": "completed"}, {"error_code": "damaged"},
                  {"batch_id": str(batch.batch_id)}, {"user_id": "user-1"}, {"document_id": "doc-1"}):  # fmt: skip
        assert listed(stranger, **query) == [], query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=done", "state"), ("state=", "state"), ("state=pending,", "state"), ("limit=0", "limit"),
        ("limit=201", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor"), ("cursor=" + "!" * 32, "cursor"),
        ("batch_id=x", "batch_id"), ("created_from=yesterday", "created_from"), ("created_to=2026-01-01", "created_to"),
        ("status=failed", "status"), ("user_id=%00", "user_id"), ("user_id=" + "x" * 256, "user_id"),
        ("error_code=%ED%A0%80x%07", "error_code"), ("created_from=0001-01-01T00:00:00%2B14:00", "created_from"),
    ],
)  # fmt: skip
def test_what_is_no_filter_is_refused_by_its_name(api: Api, query: str, field: str) -> None:
    problem = assert_problem(api.get(f"{TASKS}?{query}"), 400, "invalid_request")
    assert list(problem["errors"]) == [field]


@pytest.mark.parametrize("cursor", ["A" * 32, "_" * 32, "f" * 32, "gAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])
def test_any_cursor_of_the_right_form_is_some_position(api: Api, cursor: str) -> None:
    assert api.get(f"{TASKS}?cursor={cursor}&state=pending").status_code == 200


def test_a_position_survives_its_journey() -> None:
    for at in (datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC), datetime(1999, 1, 1, tzinfo=UTC)):
        position = Position(at=at, id=uuid.uuid4())
        assert Position.decode(position.encode()) == position
