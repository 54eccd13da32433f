"""Spans of OpenTelemetry, where it is installed and switched on; without it everything here does nothing.

The only module that imports it: it is an optional extra (requirements/tracing.in). One trace leads from a request
through the jobs that it sends, on whichever worker, to their follow-ups; what ties them together is the W3C
`traceparent`, which a job keeps in its payload beside the id of the request.

Names and attributes follow https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/. Errors are recorded
by their code: messages and tracebacks may hold what no third party should see.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

try:
    from opentelemetry import context as otel_context
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as Span
    from opentelemetry.trace import Tracer

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int | float | bool]

TRACEPARENT = "traceparent"

_provider: TracerProvider | None = None
_tracer: Tracer | None = None


def start(provider: TracerProvider) -> None:
    """Record spans from now on, with `provider`."""
    global _provider, _tracer
    _provider, _tracer = provider, provider.get_tracer("queueadmin")


def start_exporting() -> bool:
    """Record spans from now on, and send them as the variables OTEL_* say. False when OpenTelemetry is not installed.

    Call it in each process that serves, after it was forked: a thread sends the spans.
    See https://opentelemetry.io/docs/specs/otel/protocol/exporter/
    """
    if not AVAILABLE:
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        return False
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)  # for whatever else of the application makes spans
    start(provider)
    return True


def stop() -> None:
    """Send what is left, and record no more."""
    global _provider, _tracer
    if _provider is not None:
        _provider.shutdown()
    _provider = _tracer = None


def is_on() -> bool:
    """Whether spans are recorded: asked before every job, so that those of an untraced service cost nothing."""
    return _tracer is not None


def current() -> str:
    """The current span as a `traceparent`; "" outside of any, or where tracing is off."""
    if _tracer is None:
        return ""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(TRACEPARENT, "")


def trace_id() -> str:
    """The id of the current trace, 32 hex digits, for log lines; "" without one."""
    return current().partition("-")[2].partition("-")[0]


@contextmanager
def span(
    name: str, *, kind: Kind = "internal", parent: str = "", attributes: Attributes | None = None
) -> Iterator[Span | None]:
    """Record what happens inside as a span, below `parent` (a traceparent) or below the current span.

    Yields the span, or None where tracing is off.
    """
    if _tracer is None:
        yield None
        return
    with _tracer.start_as_current_span(
        name, context=_context(parent), kind=_kind(kind), attributes=dict(attributes or {}),
        record_exception=False, set_status_on_exception=False,
    ) as made:  # fmt: skip
        try:
            yield made
        except Exception as error:
            _mark(made, str(getattr(error, "code", "")) or type(error).__name__)
            raise


def attempt(name: str, *, parent: str, waited: float, claimed: float, attributes: Attributes) -> Attempt | None:
    """Begin the spans of an attempt of a job; None where tracing is off. Below `parent`, a traceparent.

    `waited` is the seconds until it was claimed, `claimed` the moment of that by the monotonic clock.
    """
    if _tracer is None:
        return None
    context, common = _context(parent), dict(attributes)
    moment = time.time_ns() - int((time.monotonic() - claimed) * 1e9)
    claim = _tracer.start_span(
        f"claim {name}", context=context, start_time=moment - int(waited * 1e9), attributes=common
    )
    claim.end(moment)
    return Attempt(_tracer.start_span(f"process {name}", context=context, kind=_kind("consumer"), attributes=common))


class Attempt:
    """The span of an attempt that runs: the current one until it is ended, by the same thread."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._token = otel_context.attach(trace.set_span_in_context(span))

    def end(self, error_code: str) -> None:
        """The attempt is over; `error_code` is "" when it went well."""
        otel_context.detach(self._token)
        if error_code:
            _mark(self._span, error_code)
        self._span.end()


def _mark(failed: Span, code: str) -> None:
    failed.set_attribute("error.type", code)
    failed.set_status(trace.StatusCode.ERROR, code)


def _context(parent: str) -> Context | None:
    return TraceContextTextMapPropagator().extract({TRACEPARENT: parent}) if parent else None


def _kind(kind: Kind) -> Any:
    return trace.SpanKind[kind.upper()]
