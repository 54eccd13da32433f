"""One trace leads from whoever sends a job to whoever runs it; without OpenTelemetry nothing changes."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import dramatiq
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from queueadmin import tracing
from queueadmin.broker import LedgerRedisBroker
from queueadmin.exceptions import PermanentJobError
from queueadmin.models import Job
from tests.servers import PROJECT_DIR, wait_until

RunWorker = Callable[..., dramatiq.Worker]


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What has been recorded, in the order in which it ended."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.start(provider)
    yield exporter
    tracing.stop()


def named(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = [span for span in exporter.get_finished_spans() if span.name == name]
    return found


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


@pytest.mark.django_db(transaction=True)
def test_a_trace_leads_through_a_job_and_those_it_sends(
    broker: LedgerRedisBroker, run_worker: RunWorker, spans: InMemorySpanExporter
) -> None:
    # Given an actor that sends another one's job, in a stage of its own
    second = dramatiq.actor(lambda: None, broker=broker, queue_name="q", actor_name="second")

    def first() -> None:
        with tracing.span("stage"):
            second.send()

    # When it is sent inside a span
    with tracing.span("request", kind="server"):
        sent = dramatiq.actor(first, broker=broker, queue_name="q").send()
    run_worker(threads=1)
    wait_until(lambda: len(spans.get_finished_spans()) >= 9, what="nine spans")
    # Then all is one trace
    assert len({span.context.trace_id for span in spans.get_finished_spans() if span.context}) == 1
    # And each span is where it belongs
    send, process, stage = named(spans, "send first"), named(spans, "process first"), named(spans, "stage")
    assert parent_of(send) == named(spans, "request").context.span_id  # type: ignore[union-attr]  # it has ended
    assert parent_of(named(spans, "claim first")) == parent_of(process) == send.context.span_id  # type: ignore[union-attr]  # as above
    assert parent_of(stage) == process.context.span_id  # type: ignore[union-attr]  # as above
    assert parent_of(named(spans, "send second")) == stage.context.span_id  # type: ignore[union-attr]  # as above
    assert parent_of(named(spans, "process second")) == named(spans, "send second").context.span_id  # type: ignore[union-attr]  # as above
    # And the attempt says which job it was
    attributes = dict(process.attributes or {})
    assert attributes["messaging.message.id"] == sent.message_id
    assert (attributes["messaging.destination.name"], attributes["attempt"]) == ("q", 1)
    claim = named(spans, "claim first")
    assert claim.start_time is not None
    assert claim.end_time is not None
    assert process.start_time is not None
    assert claim.start_time <= claim.end_time <= process.start_time


@pytest.mark.django_db(transaction=True)
def test_a_failure_is_told_by_its_code_and_not_by_its_words(
    broker: LedgerRedisBroker, run_worker: RunWorker, spans: InMemorySpanExporter
) -> None:
    # Given
    class Broken(PermanentJobError):
        code = "broken"

    def fail() -> None:
        with tracing.span("stage"):
            raise Broken("the password is hunter2")

    dramatiq.actor(fail, broker=broker, queue_name="q").send()
    # When
    run_worker(threads=1)
    wait_until(lambda: any(span.name == "process fail" for span in spans.get_finished_spans()), what="the span")
    # Then
    for name in ("stage", "process fail"):
        failed = named(spans, name)
        assert (failed.status.is_ok, failed.status.description) == (False, "broken")
        assert "hunter2" not in failed.to_json()


@pytest.mark.django_db(transaction=True)
def test_where_nobody_traces_jobs_carry_nothing(broker: LedgerRedisBroker) -> None:
    job_id = dramatiq.actor(lambda: None, broker=broker, queue_name="q", actor_name="act").send().message_id
    assert Job.objects.get(pk=job_id).payload["options"] == {}
    assert (tracing.is_on(), tracing.current(), tracing.trace_id()) == (False, "", "")


@pytest.mark.parametrize("given", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-" + "g" * 32, "\x00"])
def test_a_parent_that_is_none_begins_a_new_trace(spans: InMemorySpanExporter, given: str) -> None:
    with tracing.span("request", parent=given):
        assert len(tracing.trace_id()) == 32
    assert named(spans, "request").parent is None


def test_it_works_without_opentelemetry() -> None:
    # Given a Python that cannot import it
    script = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from queueadmin import tracing\n"
        "assert not tracing.start_exporting()\n"
        "with tracing.span('x', parent='y') as span: assert span is None\n"
        "assert tracing.attempt('x', parent='', waited=0, claimed=0, attributes={}) is None\n"
        "tracing.stop()\n"
    )
    # When / Then
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT_DIR, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
