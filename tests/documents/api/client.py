"""A client of the API, the body that any client would send, and what every error looks like."""

import json
from typing import Any

from django.test import Client


class Api:
    """A client that sends one API key, or none."""

    def __init__(self, key: str | None) -> None:
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = Client(raise_request_exception=False)

    def get(self, path: str, **headers: str) -> Any:
        return self._client.get(path, headers={**self.headers, **headers})

    def post(
        self,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        method: str = "POST",
        **headers: str,
    ) -> Any:
        data = body if isinstance(body, (bytes, str)) else json.dumps(body)
        # generic(): post() would encode the body by the charset that the content type names.
        return self._client.generic(
            method, path, data=data, content_type=content_type, headers={**self.headers, **headers}
        )

    def request(self, method: str, path: str, **headers: str) -> Any:
        return self._client.generic(method, path, headers={**self.headers, **headers})


def submission(**fields: Any) -> dict[str, Any]:
    """The body that any client would send, with `fields` put over it."""
    body = {
        "document_id": "doc-1",
        "user_id": "user-1",
        "file_name": "report.txt",
        "r2_key": "reports/report.txt",
        "content_type": "text/plain",
        "callback_url": "https://example.org/hook",
    }
    return body | fields


PROCESS = "/api/documents/process"
STATS = "/api/documents/queue/stats"


def of_task(task_id: Any, what: str) -> str:
    return f"/api/documents/task/{task_id}/{what}"


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """The response is a complete problem document of this kind."""
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["code"] == code
    assert body["type"] == f"/problems/{code}"
    assert body["title"]
    assert body["detail"]
    assert body["instance"].startswith("/api/")
    return body
