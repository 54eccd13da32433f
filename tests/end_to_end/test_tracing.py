"""One trace from the POST, through a worker process, to the receiver of the webhook, as a collector sees it."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from queueadmin import tracing
from queueadmin.models import Job
from tests.end_to_end.service import Service
from tests.receivers import Receiver, answer, receiver
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def own_spans() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.start(provider)
    yield exporter
    tracing.stop()


def collected(collector: Receiver) -> dict[str, Any]:
    """Spans by name, as they came over the wire."""
    found: dict[str, Any] = {}
    for got in list(collector.received):
        request = ExportTraceServiceRequest.FromString(got.body)
        found |= {
            span.name: span for item in request.resource_spans for scope in item.scope_spans for span in scope.spans
        }
    return found


def test_the_trace_of_a_request_leads_to_its_webhook(service: Service, own_spans: InMemorySpanExporter) -> None:
    from documents import api_keys  # models can be imported only now
    from tests.documents.api.client import PROCESS, Api, submission

    # Given a collector, a receiver, and a client that traces
    service.put("a.txt", b"hello")
    api = Api(api_keys.issue("test", scopes=("submit",)).key)
    with receiver(*[answer(200)] * 50) as collector, receiver(answer(204)) as hook:
        body = submission(r2_key="a.txt", callback_url=hook.url)
        task = UUID(api.post(PROCESS, body, traceparent=PARENT).json()["task_id"])
        # When a worker, which sends its spans to the collector, has done the task
        worker = service.worker(WEBHOOK_ALLOW_PRIVATE="true", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        service.one(task)
        wait_until(lambda: Job.objects.filter(parent_id=task).exists(), what="the webhook")
        service.one(Job.objects.get(parent_id=task).pk)
        assert worker.stop(25) == 0
        spans = collected(collector)
        headers = hook.received[0].headers
    # Then both sides are one trace, which is the client's
    trace_id = PARENT.split("-")[1]
    own = {span.name: span for span in own_spans.get_finished_spans()}
    assert {format(span.context.trace_id, "032x") for span in own.values() if span.context} == {trace_id}
    stages = {"fetch", "identify", "extract", "store"}
    ingest = {"claim ingest_document", "process ingest_document", *stages}
    ours = {name: span for name, span in spans.items() if span.trace_id.hex() == trace_id}
    assert set(ours) == ingest | {"claim deliver_webhook", "process deliver_webhook", "POST callback"}
    # And each is where it belongs
    request = own["POST /api/documents/process"]
    assert request.parent is not None
    assert format(request.parent.span_id, "016x") == PARENT.split("-")[2]
    sent = own["send ingest_document"].context
    assert sent is not None
    process = ours["process ingest_document"]
    assert process.parent_span_id.hex() == format(sent.span_id, "016x")
    assert {ours[stage].parent_span_id for stage in stages} == {process.span_id}
    assert ours["POST callback"].parent_span_id == ours["process deliver_webhook"].span_id
    # And the receiver may go on with it
    assert headers["traceparent"].split("-")[1:3] == [trace_id, ours["POST callback"].span_id.hex()]
