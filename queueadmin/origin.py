"""On whose behalf something happens: it travels from a request to every job that is sent for it, and on to theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Origin:
    """The request behind a job; a job keeps it in its payload, under "options".

    `request_id` is "" where there was no request. `labels` say what it is about (a document's id), for log lines:
    short, and no secrets. `traceparent` is the span that sent the job, as W3C Trace Context writes it; "" without one.
    """

    request_id: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    traceparent: str = ""

    @staticmethod
    def of(payload: Mapping[str, Any]) -> Origin:
        """The origin of a job with this payload."""
        options = payload.get("options") or {}
        return Origin(
            request_id=options.get("request_id", ""),
            labels=dict(options.get("labels") or {}),
            traceparent=options.get("traceparent", ""),
        )

    def as_options(self) -> dict[str, Any]:
        """As a payload holds it; what is empty is left out."""
        found: dict[str, Any] = {
            "request_id": self.request_id, "labels": self.labels, "traceparent": self.traceparent,
        }  # fmt: skip
        return {name: value for name, value in found.items() if value}

    def describe(self) -> dict[str, str]:
        """As log lines carry it."""
        return {**self.labels, "request_id": self.request_id} if self.request_id else dict(self.labels)


_request: ContextVar[Origin | None] = ContextVar("queueadmin_request", default=None)


@contextmanager
def on_behalf_of(origin: Origin) -> Iterator[Origin]:
    """Let every job that is sent meanwhile carry `origin`: for whatever answers requests."""
    token = _request.set(origin)
    try:
        yield origin
    finally:
        _request.reset(token)


def of_request() -> Origin:
    """The origin of the request that is being answered; an empty one outside of any."""
    return _request.get() or Origin()
