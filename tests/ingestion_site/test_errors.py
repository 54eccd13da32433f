"""Requests that no view took are answered in the shape that their senders understand."""

import logging

import pytest
from django.test import Client


@pytest.mark.parametrize(
    ("path", "host", "status"), [("/api/nothing", "localhost", 404), ("/api/documents/process", "evil.example", 400)]
)
def test_the_api_answers_with_problem_documents(client: Client, path: str, host: str, status: int) -> None:
    response = client.get(path, headers={"host": host})
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert (body["status"], body["instance"]) == (status, path)
    assert body["type"]
    assert body["code"]


def test_other_pages_answer_people(client: Client) -> None:
    response = client.get("/nothing")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


def test_the_bare_address_leads_to_the_admin(client: Client) -> None:
    assert client.get("/")["Location"] == "/admin/"


def test_a_browser_that_asks_for_an_icon_leaves_no_warning(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    assert client.get("/favicon.ico").status_code == 204
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
