"""Bodies that are too deep, too long or hold what no database keeps: a 4xx from every endpoint that takes one."""

import json
import time
from typing import Any

import pytest
from django.conf import settings

from documents.api import body
from tests.documents.api.client import Api, assert_problem
from tests.documents.api.test_examples import BODIES
from tests.documents.api.test_upload import upload

pytestmark = pytest.mark.django_db

JSON_BODIES = [item for item in BODIES if item[2] == "application/json"]
IDS = [f"{method} {path}" for method, path, _, _ in JSON_BODIES]
QUICK_SECONDS = 2.0
each_body = pytest.mark.parametrize(("method", "path", "content_type", "described"), JSON_BODIES, ids=IDS)


def nested(levels: int, inside: str = "1") -> str:
    """A JSON text of so many arrays and objects inside each other."""
    return '[{"a":' * (levels // 2) + inside + "}]" * (levels // 2)


def with_field(value: dict[str, Any], field: str, text: str) -> str:
    """The JSON text of `value` with the raw `text` as one of its fields."""
    return json.dumps(value | {field: "MARK"}).replace('"MARK"', text)


def send(api: Api, method: str, path: str, text: str) -> Any:
    began = time.monotonic()
    response = api.post(path.format(queue=settings.QUEUE_NAME), text, method=method.upper())
    assert time.monotonic() - began < QUICK_SECONDS
    return response


@each_body
@pytest.mark.parametrize("levels", [body.MAX_DEPTH + 2, 900, 200_000])
def test_no_field_of_any_body_may_be_nested_deeply(
    make_api: Any, method: str, path: str, content_type: str, described: dict[str, Any], levels: int
) -> None:
    api: Api = make_api()
    (example,) = described["examples"].values()
    for field in (*example["value"], "unknown"):
        response = send(api, method, path, with_field(example["value"], field, nested(levels)))
        assert "deep" in assert_problem(response, 400, "malformed_body")["detail"], field


@pytest.mark.parametrize("field", ["options", "metadata"])
def test_no_json_in_a_form_may_be_nested_deeply(api: Api, field: str) -> None:
    for text in (nested(900), '{"ocr": ' + nested(900) + "}", nested(200_000)):
        problem = assert_problem(upload(api, b"x", **{field: text}), 400, "invalid_request")
        assert field in problem["errors"]


def test_a_batch_may_be_as_deep_as_its_documents_metadata(api: Api) -> None:
    deep: Any = "x"
    for _ in range(16):
        deep = {"a": deep}
    document = {
        "document_id": 1, "user_id": 1, "file_name": "a", "r2_key": "a", "content_type": "a", "metadata": deep,
    }  # fmt: skip
    assert api.post("/api/documents/batch", {"documents": [document] * 40}).json()["accepted"] == 40


@each_body
@pytest.mark.parametrize("text", ['"\\u0000"', '"a\\ud800"', "18446744073709551616", "1e999", f'"{"x" * 20_000}"'])
def test_what_cannot_be_kept_is_refused_wherever_it_stands(
    make_api: Any, method: str, path: str, content_type: str, described: dict[str, Any], text: str
) -> None:
    api: Api = make_api()
    (example,) = described["examples"].values()
    for field in example["value"]:
        response = send(api, method, path, with_field(example["value"], field, text))
        assert_problem(response, 400, response.json()["code"])


@each_body
def test_no_body_may_be_longer_than_its_endpoint_reads(
    make_api: Any, method: str, path: str, content_type: str, described: dict[str, Any]
) -> None:
    longest = body.MAX_BATCH_BYTES if path.endswith("batch") else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    assert_problem(send(make_api(), method, path, '"' + "x" * longest + '"'), 413, "body_too_large")
