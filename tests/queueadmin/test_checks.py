"""System checks: each refuses what it should, and nothing else."""

from typing import Any

import dramatiq
import pytest
from django.core.checks import run_checks
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper as PlainSQLite
from django.utils.module_loading import import_string
from dramatiq.brokers.stub import StubBroker

from queueadmin import checks
from queueadmin.broker import LedgerRedisBroker
from queueadmin.middleware import DeadLetterMiddleware, RetryMiddleware

pytestmark = pytest.mark.both_databases


def ids(found: list[Any]) -> list[str]:
    return [message.id for message in found]


def a_broker(*middleware: dramatiq.Middleware) -> LedgerRedisBroker:
    return LedgerRedisBroker(middleware=middleware)


def test_the_service_itself_is_in_order() -> None:
    assert run_checks(tags=["queueadmin"]) == []


def test_another_broker_is_refused() -> None:
    assert ids(checks.check_broker(StubBroker())) == ["queueadmin.E001"]


@pytest.mark.parametrize("path", sorted(checks.REFUSED))
def test_middleware_that_acts_behind_the_ledgers_back_is_refused_with_its_reason(path: str) -> None:
    # Given an instance of the class that Dramatiq would load
    module, _, name = path.rpartition(".")
    made = type(name, (dramatiq.Middleware,), {"__module__": module, "__qualname__": name})()
    # When
    found = checks.check_broker(a_broker(DeadLetterMiddleware(), RetryMiddleware(), made))
    # Then
    assert ids(found) == ["queueadmin.E002"]
    assert checks.REFUSED[path] in found[0].msg


def test_the_refused_classes_of_dramatiq_exist_under_these_names() -> None:
    for path in checks.REFUSED:
        if path.startswith("dramatiq."):
            assert issubclass(import_string(path), dramatiq.Middleware)


def test_all_of_dramatiqs_default_middleware_is_refused_or_known_to_be_harmless() -> None:
    refused = checks.check_broker(a_broker(*(kind() for kind in dramatiq.middleware.default_middleware)))
    names = {kind.__name__ for kind in dramatiq.middleware.default_middleware}
    assert {name for name in names if not any(name in message.msg for message in refused)} <= {"Prometheus"}


def test_the_order_of_the_two_deciders_matters() -> None:
    assert ids(checks.check_broker(a_broker(RetryMiddleware(), DeadLetterMiddleware()))) == ["queueadmin.E003"]


def test_each_missing_decider_is_warned_of() -> None:
    assert ids(checks.check_broker(a_broker())) == ["queueadmin.W001", "queueadmin.W001"]
    assert ids(checks.check_broker(a_broker(RetryMiddleware()))) == ["queueadmin.W001"]


def test_a_wrong_setting_is_named() -> None:
    assert ids(checks.check_settings({"QUEUE": 1})) == ["queueadmin.E005"]


def test_the_database_must_be_one_the_ledger_knows() -> None:
    plain = PlainSQLite({**connections["default"].settings_dict, "ENGINE": "django.db.backends.sqlite3"})
    assert ids(checks.check_database(plain)) == ["queueadmin.E004"]
    assert checks.check_database(connections["default"]) == []
