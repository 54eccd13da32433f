"""The examples of the OpenAPI document are accepted as they stand."""

import pytest

from documents.api import schema
from tests.documents.api.client import PROCESS, Api

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("path", "example"),
    [(PROCESS, schema.PROCESS_EXAMPLE), ("/api/documents/batch", schema.BATCH_EXAMPLE)],
    ids=["process", "batch"],
)
def test_an_example_can_be_sent_as_it_stands(api: Api, path: str, example: object) -> None:
    response = api.post(path, example.value)  # type: ignore[attr-defined]  # an OpenApiExample
    assert response.status_code == 202, response.content
    assert response.json().get("refused", 0) == 0
