"""Switches tracing on in the processes that serve, where OTEL_EXPORTER_OTLP_ENDPOINT says where traces go."""

import logging
import os
import threading

import dramatiq
from dramatiq.middleware import Middleware

from queueadmin import tracing

logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_STOP_SECONDS = 2.0
"""How long the end of a process may wait for a collector that does not answer."""


def start() -> None:
    """Record and send spans, if an endpoint is named. Call it once in each process, after it was forked."""
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return
    os.environ.setdefault("OTEL_SERVICE_NAME", "document-ingestion")
    if not tracing.start_exporting():
        logger.warning(
            "traces are asked for, but OpenTelemetry is not installed",
            extra={"install": "pip install --require-hashes -r requirements/tracing.txt"},
        )


class Traces(Middleware):
    """Switches tracing on when a worker process boots, and sends what is left when it ends."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        start()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        # Dramatiq's processes run no atexit handlers.
        if tracing.is_on():
            sender = threading.Thread(target=tracing.stop, name="traces-stop", daemon=True)
            sender.start()
            sender.join(_STOP_SECONDS)
