"""Query strings: whole numbers written as such, and every parameter once."""

from collections.abc import Callable

import pytest

from queueadmin.states import State
from tests.documents.api.client import Api, assert_problem
from tests.documents.api.tasks import task_in

pytestmark = pytest.mark.django_db

TASKS = "/api/documents/tasks"
DEAD_LETTERS = "/api/queues/dead-letters"


@pytest.fixture
def status(db: None) -> str:
    return f"/api/documents/task/{task_in(State.COMPLETED)}/status"


def refused(api: Api, path: str) -> list[str]:
    """The parameters that a 400 names."""
    return list(assert_problem(api.get(path), 400, "invalid_request")["errors"])


@pytest.mark.parametrize("number", ["5.0", "0.0", "1_0", "%205", "%2B5", "5%0A", "%D9%A3", "0x5", "5e0", "true"])
def test_what_only_python_reads_as_an_integer_is_none(make_api: Callable[..., Api], status: str, number: str) -> None:
    api = make_api()
    assert refused(api, f"{status}?wait={number}") == ["wait"]
    for path in (TASKS, DEAD_LETTERS):
        assert refused(api, f"{path}?limit={number}") == ["limit"]


def test_whole_numbers_are_taken(make_api: Callable[..., Api], status: str) -> None:
    api = make_api()
    for path in (f"{status}?wait=60", f"{status}?wait=0", f"{TASKS}?limit=200", f"{DEAD_LETTERS}?limit=1"):
        assert api.get(path).status_code == 200, path


def test_a_parameter_that_is_given_twice_is_refused(make_api: Callable[..., Api], status: str) -> None:
    api = make_api()
    result = status.replace("/status", "/result")
    for path, name in (
        (f"{status}?wait=0&wait=0", "wait"), (f"{result}?pages=1&pages=2", "pages"),
        (f"{result}?download=true&download=false", "download"), (f"{TASKS}?user_id=a&limit=5&user_id=b", "user_id"),
        (f"{DEAD_LETTERS}?limit=5&limit=6", "limit"),
    ):  # fmt: skip
        assert refused(api, path) == [name], path


def test_states_may_be_repeated_and_what_a_status_does_not_know_it_ignores(
    make_api: Callable[..., Api], status: str
) -> None:
    api = make_api()
    found = api.get(f"{TASKS}?state=completed&state=failed&limit=5")
    assert [task["status"] for task in found.json()["tasks"]] == ["completed"]
    assert api.get(f"{status}?_=1&_=2").status_code == 200
