"""Whatever a client sends, the service answers with a documented status and never with a 5xx."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from documents.api import body
from tests.documents.api.client import PROCESS, Api, of_task, submission

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

bounded = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
texts = st.text(st.characters(), max_size=40) | st.sampled_from(
    ["\x00", "\ud800", "../..", "a" * 3000, "http://[", "😀"]
)
numbers = st.integers() | st.sampled_from([2**63, -(2**63) - 1, 10**400]) | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@bounded
@given(
    changes=st.dictionaries(st.sampled_from([*submission(), "file_size", "priority", "metadata"]), values, max_size=4)
)
def test_any_values_of_any_fields(api: Api, changes: dict[str, Any]) -> None:
    response = api.post(PROCESS, json.dumps(submission(**changes)))
    assert response.status_code in (202, 400), response.content
    if response.status_code == 202:  # what is accepted can be read back
        assert api.get(response.json()["status_url"]).status_code == 200


@bounded
@given(
    raw=st.binary(max_size=200),
    content_type=st.sampled_from(["application/json", "text/plain", "", "application/json; x"]),
)
def test_any_bytes(api: Api, raw: bytes, content_type: str) -> None:
    response = api.post(PROCESS, raw, content_type=content_type)
    assert response.status_code in (400, 415), response.content
    assert response.headers["Content-Type"] == "application/problem+json"


@bounded
@given(
    task_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50),
    what=st.sampled_from(["status", "result"]),
)
def test_any_task_id(api: Api, task_id: str, what: str) -> None:
    from urllib.parse import quote

    response = api.get(of_task(quote(task_id, safe=""), what))
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"


@bounded
@given(header=st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=60))
def test_any_authorization(header: str) -> None:
    caller = Api(None)
    caller.headers["Authorization"] = header
    assert caller.get(PROCESS).status_code == 401


@bounded
@given(accept=st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=60))
def test_any_accept_header(api: Api, accept: str) -> None:
    unknown = "01890000-0000-7000-8000-000000000000"
    assert api.get(of_task(unknown, "result"), Accept=accept).status_code in (404, 406)


@given(value=values)
def test_what_the_metadata_check_lets_through_is_json_for_every_reader(value: Any) -> None:
    if not body.unstorable(value, max_depth=16):
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        assert json.loads(text.encode().decode()) == value
        assert "\x00" not in text
