"""The data of a line: who it is about is looked up when there is a line, so that a job without lines costs nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from structlog.typing import EventDict, WrappedLogger

from queueadmin import context, tracing
from queueadmin.sanitize import without_secrets

_FRAMEWORK_OBJECTS = frozenset({"request", "response", "server_time", "color_message"})
"""What Django, DRF and servers attach to records: their repr says nothing, and may hold a query string."""


def add_origin(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Job, task, attempt, worker and request. What the line itself says wins.

    `task_id` is the job of the document: the job itself, or the one that it follows up (a webhook's).
    """
    for name, value in context.describe().items():
        event.setdefault(name, value)
    if tracing.is_on() and (trace_id := tracing.trace_id()):
        event.setdefault("trace_id", trace_id)
    if "job_id" in event:
        event.setdefault("task_id", event.pop("parent_id", None) or event["job_id"])
    return event


def add_time(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """When the line was logged, not when it was rendered: `2026-01-31T12:00:00.123Z`."""
    moment = datetime.fromtimestamp(event["_record"].created, UTC)
    event["timestamp"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def drop_objects(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Leave out what is no data. django-structlog's `request` is text, "GET /path", and stays."""
    for name in _FRAMEWORK_OBJECTS & event.keys():
        if name != "request" or not isinstance(event[name], str):
            del event[name]
    return event


def hide_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Whatever is called a password or a token, and logins in URLs. The second line of defence: nobody logs them."""
    event.update(without_secrets({name: value for name, value in event.items() if not name.startswith("_")}))
    return event
