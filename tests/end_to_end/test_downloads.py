"""Large results on a bucket: the bucket itself gives them, to who may read the task and asks for that."""

from typing import TYPE_CHECKING

import httpx
import pytest

from documents import api_keys
from tests.documents.api.client import of_task
from tests.documents.api.web import WebServer

if TYPE_CHECKING:
    from tests.end_to_end.service import Service

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]

TEXT = "Grüße\n" * 5_000


def test_a_large_text_is_redirected_to_the_bucket_for_its_tenant_alone(
    s3_service: "Service", service_environment: dict[str, str]
) -> None:
    # Given a large and a small result in a bucket, and keys of two tenants
    s3_service.put("large.txt", TEXT.encode())
    s3_service.put("small.txt", b"Hello")
    mine = api_keys.issue("mine", scopes=["read"]).key
    stranger = api_keys.issue("stranger", scopes=["read"], tenant="acme").key
    s3_service.worker()
    large, small = s3_service.submit("large.txt"), s3_service.submit("small.txt")
    s3_service.wait(large, small, seconds=60)
    variables = {**service_environment, **s3_service.variables, "RESULT_REDIRECT_BYTES": "10000"}
    with WebServer(variables) as web, httpx.Client(base_url=web.url, timeout=60) as client:

        def get(task: object, key: str, query: str = "?download=true", accept: str = "text/plain") -> httpx.Response:
            headers = {"Authorization": f"Bearer {key}", "Accept": accept}
            return client.get(of_task(task, "result") + query, headers=headers)

        # When
        redirect = get(large, mine)
        # Then the bucket gives the same bytes, without a key, and the log has no word of where
        assert redirect.status_code == 307
        assert redirect.headers["cache-control"] == "no-store"
        assert httpx.get(redirect.headers["location"]).content == get(large, mine, "").content
        assert "ignature" not in web.output()
        assert get(large, mine, accept="text/markdown").status_code == 307
        # Then everything else is sent as ever
        for response in (
            get(small, mine), get(large, mine, ""), get(large, mine, "?download=false"),
            get(large, mine, accept="application/json"), get(large, mine, "?download=true&pages=1"),
        ):  # fmt: skip
            assert response.status_code == 200
        assert get(large, mine, "?download=maybe").status_code == 400
        # And nobody else learns the URL
        assert get(large, stranger).status_code == 404
