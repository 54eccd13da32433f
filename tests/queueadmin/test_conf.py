"""Settings that are wrong stop the start and say what is allowed."""

import pytest

from queueadmin.conf import QueueSettings, parse
from queueadmin.exceptions import ConfigurationError


def test_defaults_hold_together() -> None:
    assert parse({}) == QueueSettings()


def test_values_are_taken_and_lists_become_tuples() -> None:
    assert parse({"QUEUES": ["a"], "MAX_ATTEMPTS": 9}).queues == ("a",)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"MAX_ATEMPTS": 3}, "unknown keys: MAX_ATEMPTS"),
        ({"MAX_ATTEMPTS": 0}, "MAX_ATTEMPTS.*at least 1"),
        ({"MAX_ATTEMPTS": "3"}, "MAX_ATTEMPTS.*must be int, not str"),
        ({"MAX_ATTEMPTS": True}, "must be int, not bool"),
        ({"MEASURES": 1}, "must be bool, not int"),
        ({"MIN_BACKOFF_SECONDS": 60, "MAX_BACKOFF_SECONDS": 5}, "MAX_BACKOFF_SECONDS.*at least MIN_BACKOFF_SECONDS"),
        ({"SILENT_SECONDS": 2.0, "BEAT_SECONDS": 1.0}, "SILENT_SECONDS.*three times"),
        ({"NAMESPACE": "a:b"}, "NAMESPACE.*plain word"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(raw: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse(raw)
