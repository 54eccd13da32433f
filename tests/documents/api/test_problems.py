"""Problem documents: their catalogue, their pages, and what happens when something really breaks."""

import json
import logging
import re
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404
from django.test import Client, RequestFactory
from rest_framework import exceptions as rest

from documents.api import problem
from documents.api.catalogue import CATALOGUE
from documents.api.negotiation import choose
from documents.exceptions import StorageDenied, StorageUnavailable

TEXT, JSON = "text/plain", "application/json"
SECRET = "postgresql://user:secret@host/db"


def answer(error: Exception) -> tuple[Any, dict[str, Any]]:
    response = problem.exception_handler(error, {"request": RequestFactory().get("/api/documents/x")})
    assert response.headers["Content-Type"] == "application/problem+json"
    return response, json.loads(response.content)


def test_every_type_has_a_page_of_its_own() -> None:
    client = Client()
    for kind in CATALOGUE:
        page = client.get(kind.uri)
        assert page.status_code == 200
        assert kind.title in page.text.replace("&#x27;", "'")
        described = client.get(kind.uri, headers={"Accept": "application/json"}).json()
        assert (described["code"], described["status"]) == (kind.code, kind.status)
    assert client.get("/problems/").status_code == 200
    assert len(client.get("/problems/", headers={"Accept": "application/json"}).json()["problems"]) == len(CATALOGUE)
    assert client.get("/problems/no_such").status_code == 404


def test_codes_are_unique_and_errors_only() -> None:
    assert len({kind.code for kind in CATALOGUE}) == len(CATALOGUE)
    assert all(400 <= kind.status < 600 for kind in CATALOGUE)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (rest.ValidationError({"a": ["b"]}), 400, "invalid_request"), (rest.ParseError(), 400, "malformed_body"),
        (rest.NotAuthenticated(), 401, "unauthenticated"), (rest.PermissionDenied(), 403, "forbidden"),
        (PermissionDenied(), 403, "forbidden"), (Http404(), 404, "not_found"), (rest.NotFound(), 404, "not_found"),
        (rest.MethodNotAllowed("PUT"), 405, "method_not_allowed"), (rest.NotAcceptable(), 406, "not_acceptable"),
        (RequestDataTooBig(), 413, "body_too_large"), (SuspiciousOperation(), 400, "malformed_body"),
        (rest.UnsupportedMediaType("x"), 415, "unsupported_media_type"), (rest.Throttled(7), 429, "rate_limited"),
        (OperationalError(SECRET), 503, "unavailable"), (InterfaceError(SECRET), 503, "unavailable"),
        (StorageUnavailable(), 503, "unavailable"), (StorageDenied(), 503, "unavailable"),
        (ZeroDivisionError(SECRET), 500, "internal_error"), (rest.APIException(), 500, "internal_error"),
    ],
)  # fmt: skip
def test_every_error_becomes_a_problem_without_internals(error: Exception, status: int, code: str) -> None:
    response, body = answer(error)
    assert (response.status_code, body["code"], body["status"]) == (status, code, status)
    assert "secret" not in response.text
    if status in (429, 503):
        assert int(response.headers["Retry-After"]) >= 1


def test_an_unexpected_error_is_logged_under_the_id_that_the_client_sees(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        _, body = answer(ZeroDivisionError("inside"))
    assert body["id"] == caplog.records[0].error_id  # type: ignore[attr-defined]  # from extra=
    assert caplog.records[0].exc_info is not None


def test_field_errors_are_lists_of_sentences_by_name() -> None:
    nested = {"a": ["x"], "b": {"c": ["y", "z"]}, "non_field_errors": ["w"]}
    assert problem.field_errors(rest.ValidationError(nested).detail) == {"a": ["x"], "b": ["y", "z"], "body": ["w"]}
    assert problem.field_errors(rest.ValidationError(["v"]).detail) == {"body": ["v"]}


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", TEXT), ("*/*", TEXT), ("text/plain", TEXT), ("application/json", JSON), ("APPLICATION/JSON", JSON),
        ("application/*", JSON), ("image/png", None), ("application/json, text/plain, */*", JSON),
        ("text/plain;q=0.1, application/json;q=0.2", JSON), ("text/plain;q=0", None), ("text/plain;q=0, */*", JSON),
        ("*/*;q=0.1, text/plain", TEXT), ("application/json;q=x", None), ("application/json;q=2", None),
        (",,;;", None), ("*/*;q=0", None), ("application/json; charset=utf-8", JSON), ("text/html, */*;q=0.8", TEXT),
    ],
)  # fmt: skip
def test_accept_is_read_as_rfc_9110_says(accept: str, chosen: str | None) -> None:
    assert choose(accept, (TEXT, JSON)) == chosen


def test_the_reference_lists_the_catalogue_exactly() -> None:
    text = (settings.BASE_DIR / "docs" / "api.md").read_text()
    listed = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", text, re.MULTILINE)
    assert listed == [(str(kind.status), kind.code) for kind in CATALOGUE]
