"""Every request has an id: checked, given back, and in the line that the log has about it."""

import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings

from ingestion_site.logs import formatter
from ingestion_site.requests import RequestLog, request_id_of

NEW_ID = re.compile(r"[0-9a-f]{32}")


@pytest.mark.parametrize("given", ["a", "7b44b4f2-5a", "Root=1-67891233-abcdef012345678912345678", "x" * 128])
def test_a_plain_id_is_kept(given: str) -> None:
    assert request_id_of(given) == given


@pytest.mark.parametrize("given", ["", " ", "x" * 129, "a b", 'a"', "a\nb", "ä", "<script>", "-x", "a,b", "\x00"])
def test_any_other_id_is_replaced(given: str) -> None:
    assert NEW_ID.fullmatch(request_id_of(given))


@pytest.mark.django_db
def test_the_id_comes_back_with_every_answer(client: Client) -> None:
    for path in ("/health/live", "/api/schema/", "/nothing-here"):
        assert client.get(path, headers={"X-Request-ID": "from-a-proxy"}).headers["X-Request-ID"] == "from-a-proxy"
    assert NEW_ID.fullmatch(client.get("/health/live").headers["X-Request-ID"])


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """`told()`: the lines so far, as JSON, made when they were logged."""
    caplog.set_level(logging.INFO)
    caplog.handler.setFormatter(formatter(style="json", colours=False))
    return lambda: [json.loads(line) for line in caplog.text.splitlines()]


Told = Callable[[], list[dict[str, Any]]]


def test_a_request_is_one_line_with_its_id_and_without_its_query(told: Told) -> None:
    # Given / When
    request = RequestFactory().get("/api/documents/tasks?token=hunter2", headers={"X-Request-ID": "r-1"})
    RequestLog(lambda _: HttpResponse(status=404))(request)
    # Then
    (found,) = told()
    assert (found["event"], found["code"], found["request_id"]) == ("request_finished", 404, "r-1")
    assert found["request"] == "GET /api/documents/tasks"
    assert found["ms"] >= 0
    assert "hunter2" not in json.dumps(found)


@pytest.mark.parametrize("path", ["/health/ready", "/metrics"])
def test_what_machines_ask_for_all_the_time_is_not_told(path: str, told: Told) -> None:
    RequestLog(lambda _: HttpResponse())(RequestFactory().get(path))
    assert told() == []


@pytest.mark.django_db
@override_settings(ROOT_URLCONF="tests.ingestion_site.test_requests")
def test_a_failure_is_told_once_with_its_traceback(client: Client, told: Told) -> None:
    # Given a view that fails
    client.raise_request_exception = False
    # When
    client.get("/fails", headers={"X-Request-ID": "r-2"})
    # Then
    (found,) = told()
    assert (found["event"], found["request_id"]) == ("request_failed", "r-2")
    assert "ZeroDivisionError" in found["exception"]


def fails(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError


def _urls() -> list[object]:
    from django.urls import path

    return [path("fails", fails)]


urlpatterns = _urls()
handler500 = "django.views.defaults.server_error"
