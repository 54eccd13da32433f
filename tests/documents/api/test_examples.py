"""The examples of the OpenAPI document, as they stand there, are requests that the API takes."""

import json
from functools import cache
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from drf_spectacular.generators import SchemaGenerator

from tests.documents.api.client import Api

pytestmark = pytest.mark.django_db


@cache
def document() -> dict[str, Any]:
    generated: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]  # spectacular's own
    return generated


def bodies() -> list[tuple[str, str, str, dict[str, Any]]]:
    """(method, path, content type, its part of the document) of every request that has a body."""
    return [
        (method, path, content_type, described)
        for path, operations in document()["paths"].items()
        for method, operation in operations.items()
        for content_type, described in operation.get("requestBody", {}).get("content", {}).items()
    ]


BODIES = bodies()


def encoded(content_type: str, value: dict[str, Any]) -> tuple[bytes, str]:
    """The example as a client sends it: in a form, objects are JSON and the file is a file."""
    if content_type == "application/json":
        return json.dumps(value).encode(), content_type
    assert content_type == "multipart/form-data"
    fields = {name: json.dumps(field) if isinstance(field, dict) else field for name, field in value.items()}
    fields["file"] = SimpleUploadedFile("hello.txt", value["file"].encode(), content_type="text/plain")
    return encode_multipart(BOUNDARY, fields), MULTIPART_CONTENT


@pytest.mark.parametrize(
    ("method", "path", "content_type", "described"), BODIES, ids=[f"{method} {path}" for method, path, _, _ in BODIES]
)
def test_every_body_has_an_example_and_every_example_is_taken(
    make_api: Any, method: str, path: str, content_type: str, described: dict[str, Any]
) -> None:
    # Given
    api: Api = make_api()
    examples = described.get("examples", {})
    assert examples, "a request body without an example"
    for example in examples.values():
        # When
        body, sent_as = encoded(content_type, example["value"])
        response = api.post(path.format(queue=settings.QUEUE_NAME), body, content_type=sent_as, method=method.upper())
        # Then
        assert response.status_code in (200, 201, 202), response.content
        assert not response.json().get("refused") or "ids" in example["value"], "ids are always unknown ones"


def test_operation_ids_are_one_word_each_and_given_once() -> None:
    ids = [operation["operationId"] for operations in document()["paths"].values() for operation in operations.values()]
    assert len(ids) == len(set(ids)) > 20
    assert all(name.isidentifier() and name == name.lower() for name in ids)


def test_every_operation_wants_the_key_that_the_document_describes() -> None:
    (name,) = document()["components"]["securitySchemes"]
    for operations in document()["paths"].values():
        for operation in operations.values():
            assert operation["security"] == [{name: []}]


def test_the_document_is_served_and_shown_without_a_key(client: Client) -> None:
    assert client.get("/api/schema/").status_code == 200
    assert client.get("/api/docs/").status_code == 200
