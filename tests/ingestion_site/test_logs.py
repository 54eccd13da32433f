"""A log line is one line, with its data, whatever the data is."""

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_site.logs import LineFormatter


def line(message: str, **extra: object) -> str:
    record = logging.LogRecord("queueadmin.broker", logging.INFO, __file__, 1, message, None, None)
    record.created, record.msecs = 1_767_225_600.25, 250.0
    vars(record).update(extra)
    return LineFormatter().format(record)


def test_the_message_stays_constant_and_the_data_follows() -> None:
    assert line("jobs claimed", queue="ingest", jobs=3) == (
        "2026-01-01T00:00:00.250Z INFO queueadmin.broker: jobs claimed queue=ingest jobs=3"
    )


@given(st.text())
def test_no_value_can_forge_a_line_or_a_field(value: str) -> None:
    shown = line("document refused", file_name=value)
    assert len(shown.splitlines()) == 1
    field = shown.split("document refused file_name=")[1]
    assert field == value or json.loads(field) == value


@pytest.mark.parametrize("name", ["request", "response"])
def test_objects_of_the_framework_stay_out(name: str) -> None:
    assert "secret" not in line("Not Found", **{name: "GET /?token=secret"})


def test_a_traceback_keeps_its_lines() -> None:
    try:
        raise ValueError("wrong")
    except ValueError as error:
        record = logging.LogRecord(
            "a", logging.ERROR, __file__, 1, "failed", None, (ValueError, error, error.__traceback__)
        )
    assert LineFormatter().format(record).splitlines()[-1] == "ValueError: wrong"
