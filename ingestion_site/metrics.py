"""`/metrics` in Prometheus' text format, for whoever holds the token.

It shows how much is going on, and for whom it fails: so it is never open, on whatever address the service listens.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import dramatiq
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from documents import metrics as documents_metrics
from ingestion_site import http_metrics
from queueadmin.broker import get_ledger_broker
from queueadmin.metrics.collector import QueueCollector

PATH = "/metrics"
_SCHEME = "Bearer "
_REFUSED = (
    "Metrics need a token: Authorization: Bearer TOKEN. It is METRICS_TOKEN of the environment or, if that is unset, "
    "the contents of metrics_token in the service's data directory.\n"
)

GetResponse = Callable[[HttpRequest], HttpResponse]


def answer_metrics(get_response: GetResponse) -> GetResponse:
    """Middleware, the first of all: a scraper knows the service by an address that is none of ALLOWED_HOSTS, and its
    requests are not those that the HTTP metrics are about."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return view(request) if request.path == PATH else get_response(request)

    return middleware


def view(request: HttpRequest) -> HttpResponse:
    """All metrics, or 401 with the way to the token."""
    if request.method not in ("GET", "HEAD"):
        return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
    given = request.headers.get("Authorization", "")
    if not constant_time_compare(given, _SCHEME + settings.METRICS_TOKEN):
        return HttpResponse(
            _REFUSED, status=401, content_type="text/plain; charset=utf-8", headers={"WWW-Authenticate": "Bearer"}
        )
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry()), content_type=content_type, headers={"Cache-Control": "no-store"})


@lru_cache(maxsize=1)
def registry() -> CollectorRegistry:
    """The collectors of this process, made at the first scrape."""
    made = CollectorRegistry(auto_describe=False)
    made.register(queue_collector())
    made.register(DiskCollector({"data": Path(settings.DATA_DIR)}))
    made.register(HttpCollector())
    return made


def queue_collector() -> QueueCollector:
    """The ledger's metrics and the domain's."""
    declared = {(actor.queue_name, actor.actor_name) for actor in dramatiq.get_broker().actors.values()}
    return QueueCollector(get_ledger_broker().ready_sets, declared=declared, sources=(documents_metrics.SOURCE,))


class DiskCollector(Collector):
    """Room on the disk of this host's directories: documents, results and SQLite may all lie in the data directory."""

    def __init__(self, directories: dict[str, Path]) -> None:
        self._directories = directories

    def collect(self) -> Iterator[Metric]:
        free = GaugeMetricFamily("ingestion_disk_free_bytes", "Bytes free for the service.", labels=["directory"])
        size = GaugeMetricFamily("ingestion_disk_size_bytes", "Size of the file system.", labels=["directory"])
        for name, path in self._directories.items():
            usage = shutil.disk_usage(path)
            free.add_metric([name], usage.free)
            size.add_metric([name], usage.total)
        yield free
        yield size


class HttpCollector(Collector):
    """django-prometheus' metrics of all processes of this web server, without those of Python and of one process."""

    def collect(self) -> Iterator[Metric]:
        directory = http_metrics.directory()
        shared = MultiProcessCollector(None, directory) if directory else None  # type: ignore[no-untyped-call]  # theirs
        for metric in (shared or REGISTRY).collect():
            if metric.name.startswith("django_http"):
                yield metric
