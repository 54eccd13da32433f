"""System checks: what would make the ledger lie is refused before the first job.

| id | level | what |
|---|---|---|
| queueadmin.E001 | error | the broker is not LedgerRedisBroker |
| queueadmin.E002 | error | a middleware is loaded that acts behind the ledger's back |
| queueadmin.E003 | error | DeadLetterMiddleware stands behind RetryMiddleware |
| queueadmin.E004 | error | the database is neither PostgreSQL nor the package's own SQLite engine |
| queueadmin.E005 | error | the QUEUEADMIN setting is wrong |
| queueadmin.W001 | warning | RetryMiddleware or DeadLetterMiddleware is missing |
"""

from __future__ import annotations

from typing import Any

import dramatiq
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from dramatiq.broker import Broker

from queueadmin.broker import LedgerRedisBroker
from queueadmin.conf import parse
from queueadmin.exceptions import ConfigurationError
from queueadmin.middleware import DeadLetterMiddleware, RetryMiddleware

REFUSED = {
    "dramatiq.middleware.retries.Retries": "it enqueues a failed job again by itself, beside the ledger's own retry",
    "dramatiq.middleware.age_limit.AgeLimit": "it drops jobs that waited for long, and the ledger would lose them",
    "dramatiq.middleware.time_limit.TimeLimit": "it raises into code at any point, so that an outcome can be half done",
    "dramatiq.middleware.shutdown.ShutdownNotifications": (
        "it raises into code at any point; the ledger drains workers itself"
    ),
    "dramatiq.middleware.callbacks.Callbacks": "it enqueues jobs from a hook whose errors are lost; use follow_up",
    "dramatiq.middleware.pipelines.Pipelines": "it enqueues jobs from a hook whose errors are lost; use follow_up",
    "dramatiq.middleware.group_callbacks.GroupCallbacks": (
        "it enqueues jobs from a hook whose errors are lost; use follow_up"
    ),
    "dramatiq.results.middleware.Results": "it keeps results in a second place; a job's result is a column here",
    "django_dramatiq.middleware.AdminMiddleware": "it keeps a second, weaker ledger of the same jobs",
}
"""Middleware that may not be loaded, and why."""


@register("queueadmin")
def check_configuration(**kwargs: Any) -> list[CheckMessage]:
    """Every check of this package."""
    return [
        *check_settings(getattr(settings, "QUEUEADMIN", {})),
        *_check_current_broker(),
        *check_database(connections[DEFAULT_DB_ALIAS]),
    ]


def check_settings(raw: dict[str, Any]) -> list[CheckMessage]:
    """E005."""
    try:
        parse(raw)
    except ConfigurationError as error:
        return [Error(str(error), id="queueadmin.E005")]
    return []


def _check_current_broker() -> list[CheckMessage]:
    try:
        broker = dramatiq.get_broker()
    except ImportError:  # nobody set one, and Dramatiq's own default needs a library that is not there
        return [Error("No Dramatiq broker is set.", hint=_USE_OURS, id="queueadmin.E001")]
    return check_broker(broker)


_USE_OURS = "Set DRAMATIQ_BROKER['BROKER'] to 'queueadmin.broker.LedgerRedisBroker'."


def check_broker(broker: Broker) -> list[CheckMessage]:
    """E001 to E003 and W001."""
    if not isinstance(broker, LedgerRedisBroker):
        found = f"The broker is {type(broker).__name__}; jobs sent through it never reach the ledger."
        return [Error(found, hint=_USE_OURS, id="queueadmin.E001")]
    return [*_refused(broker), *_order(broker), *_missing(broker)]


def _refused(broker: Broker) -> list[CheckMessage]:
    return [
        Error(
            f"The middleware {type(middleware).__name__} may not be loaded: {REFUSED[name]}.",
            hint="Remove it from DRAMATIQ_BROKER['MIDDLEWARE'].",
            id="queueadmin.E002",
        )
        for middleware in broker.middleware
        for name in _class_names(middleware)
        if name in REFUSED
    ]


def _class_names(middleware: object) -> list[str]:
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in type(middleware).__mro__]


def _order(broker: Broker) -> list[CheckMessage]:
    kinds = [type(middleware) for middleware in broker.middleware]
    if DeadLetterMiddleware not in kinds or RetryMiddleware not in kinds:
        return []
    if kinds.index(DeadLetterMiddleware) < kinds.index(RetryMiddleware):
        return []
    return [
        Error(
            "DeadLetterMiddleware stands behind RetryMiddleware and would decide before it.",
            hint="Put it first in DRAMATIQ_BROKER['MIDDLEWARE']: Dramatiq calls after-hooks in reverse order.",
            id="queueadmin.E003",
        )
    ]


def _missing(broker: Broker) -> list[CheckMessage]:
    kinds = {type(middleware) for middleware in broker.middleware}
    return [
        Warning(
            f"{kind.__name__} is not loaded: {consequence}.",
            hint=f"Add 'queueadmin.middleware.{kind.__name__}' to DRAMATIQ_BROKER['MIDDLEWARE'].",
            id="queueadmin.W001",
        )
        for kind, consequence in (
            (DeadLetterMiddleware, "no job ever becomes a dead letter"),
            (RetryMiddleware, "every error ends a job as failed"),
        )
        if kind not in kinds
    ]


def check_database(database: BaseDatabaseWrapper) -> list[CheckMessage]:
    """E004. Looks at the engine only; connects to nothing."""
    from queueadmin.sqlite.base import DatabaseWrapper as OurSQLite

    if database.vendor == "postgresql" or isinstance(database, OurSQLite):
        return []
    return [
        Error(
            f"The ledger cannot live in {database.settings_dict['ENGINE']}.",
            hint="Use PostgreSQL, or for one machine the engine 'queueadmin.sqlite', which queues its writers fairly.",
            id="queueadmin.E004",
        )
    ]
