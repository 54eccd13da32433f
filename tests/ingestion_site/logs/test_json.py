"""A line for programs: one JSON object, with nothing in it that is called a secret."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.utils.module_loading import import_string
from hypothesis import given
from hypothesis import strategies as st

from ingestion_site import logs
from ingestion_site.embedded.web import web_command

_FORMATTER = logs.formatter(style="json", colours=False)


def line(message: str, **extra: object) -> dict[str, Any]:
    record = logging.LogRecord("documents.pipeline", logging.WARNING, __file__, 1, message, None, None)
    record.created = 1_767_225_600.25
    vars(record).update(extra)
    text = _FORMATTER.format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_an_event_with_its_data_and_where_it_came_from() -> None:
    assert line("extracted", characters=3) == {
        "event": "extracted", "characters": 3, "level": "warning", "logger": "documents.pipeline",
        "timestamp": "2026-01-01T00:00:00.250Z",
    }  # fmt: skip


def test_a_traceback_is_a_field() -> None:
    try:
        raise ValueError("wrong")
    except ValueError as error:
        found = line("failed", exc_info=(ValueError, error, error.__traceback__))
    assert found["exception"].endswith("ValueError: wrong")


def test_what_is_called_a_secret_is_hidden_wherever_it_stands() -> None:
    # Given / When
    found = line(
        "redis://:hunter2@broker:6379 does not answer", api_key="hunter2", webhook_secret=b"hunter2",
        detail={"password": "hunter2", "urls": ["https://me:hunter2@example.org/"]}, code="x",
    )  # fmt: skip
    # Then
    assert "hunter2" not in json.dumps(found)
    assert found["event"] == "redis://[hidden]@broker:6379 does not answer"
    assert found["code"] == "x"


@given(st.dictionaries(st.sampled_from(["a", "b"]), st.text() | st.binary() | st.floats() | st.none()))
def test_any_value_gives_one_line_of_ascii(values: dict[str, object]) -> None:
    assert line("anything", **values)["event"] == "anything"


def test_lines_of_structlogs_own_loggers_look_the_same() -> None:
    # Given a handler with our formatter
    records: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(self.format(record))

    handler, target = Kept(), logging.getLogger("test.structlog")
    handler.setFormatter(_FORMATTER)
    target.addHandler(handler)
    try:
        # When
        structlog.get_logger("test.structlog").warning("request_finished", code=202, request="POST /x")
    finally:
        target.removeHandler(handler)
    # Then
    found = json.loads(records[0])
    assert (found["event"], found["code"], found["request"]) == ("request_finished", 202, "POST /x")
    assert found["timestamp"].endswith("Z")


def test_the_web_servers_own_lines_are_json_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given granian's configuration, as the web server is started with it
    (path,) = [part for part in web_command("127.0.0.1", 8000) if part.endswith(".json")]
    config = json.loads(Path(path).read_text())
    monkeypatch.setenv("LOG_FORMAT", "json")
    # When
    formatter = import_string(config["formatters"]["line"]["()"])()
    shown = formatter.format(logging.LogRecord("_granian", logging.INFO, "", 1, "Listening at: %s", ("x",), None))
    # Then
    assert (json.loads(shown)["event"], json.loads(shown)["logger"]) == ("Listening at: x", "_granian")
    assert config["loggers"]["_granian"]["handlers"] == ["stderr"]
