"""A line for people: one line, a sentence, then its data, whatever the data is."""

import json
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_site import logs
from ingestion_site.logs.console import SENTENCES
from tests.servers import PROJECT_DIR


def line(message: str, *, colours: bool = False, **extra: object) -> str:
    record = logging.LogRecord("queueadmin.broker", logging.INFO, __file__, 1, message, None, None)
    record.created = 1_767_225_600.25
    vars(record).update(extra)
    return logs.formatter(style="console", colours=colours).format(record)


def test_the_message_stays_constant_and_the_data_follows() -> None:
    assert line("jobs claimed", queue="ingest", jobs=3) == (
        "2026-01-01T00:00:00.250Z INFO    jobs claimed queue=ingest jobs=3 (queueadmin.broker)"
    )


def test_a_step_reads_as_a_sentence_and_says_first_whom_it_is_about() -> None:
    # Given / When
    shown = line("extracted", engine="pypdfium2", characters=12345, ms=1087, pages=7, worker="w1", document_id="doc-1")
    # Then
    sentence = "extracted 12,345 characters in 1,087 ms with pypdfium2"
    assert shown.endswith(f"INFO    {sentence} document_id=doc-1 worker=w1 pages=7 (queueadmin.broker)")


def test_a_sentence_without_its_data_is_said_in_short() -> None:
    assert "INFO    extracted engine=x (" in line("extracted", engine="x")
    assert "INFO    extracted engine=x characters=many ms=1 (" in line("extracted", engine="x", characters="many", ms=1)


@given(st.text())
def test_no_value_can_forge_a_line_or_a_field(value: str) -> None:
    shown = line("document refused", file_name=value)
    assert len(shown.splitlines()) == 1
    field = shown.removesuffix(" (queueadmin.broker)").split("document refused file_name=")[1]
    assert field == value or json.loads(field) == value


@given(st.text())
def test_no_value_in_a_sentence_can_forge_a_line(value: str) -> None:
    assert len(line("job failed", error_code="x", error=value).splitlines()) == 1
    assert len(line(value).splitlines()) == 1


def test_colours_only_where_they_are_wanted() -> None:
    assert "\x1b[" not in line("stored", ms=1)
    coloured = line("stored", ms=1, colours=True)
    assert "\x1b[32mINFO" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == line("stored", ms=1)


@pytest.mark.parametrize("name", ["request", "response"])
def test_objects_of_the_framework_stay_out(name: str) -> None:
    assert "secret" not in line("Not Found", **{name: ValueError("GET /?token=secret")})


def test_a_traceback_keeps_its_lines() -> None:
    try:
        raise ValueError("wrong")
    except ValueError as error:
        shown = line("failed", exc_info=(ValueError, error, error.__traceback__))
    assert shown.splitlines()[0].endswith("failed (queueadmin.broker)")
    assert shown.splitlines()[-1] == "ValueError: wrong"


def test_every_sentence_is_of_an_event_that_exists() -> None:
    """A message that was changed in the code would silently lose its sentence."""
    code = "".join(
        path.read_text() for app in ("queueadmin", "documents") for path in (PROJECT_DIR / app).rglob("*.py")
    )
    ours = [event for event in SENTENCES if not event.startswith("request_")]
    assert [event for event in ours if f'"{event}"' not in code] == []
