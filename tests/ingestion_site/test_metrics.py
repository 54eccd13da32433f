"""`/metrics` is for whoever holds the token, at whatever address, and shows the site's and Django's own metrics too."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.test import Client
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from documents.metrics import SOURCE
from ingestion_site.http_metrics import prepare
from ingestion_site.metrics import DiskCollector, queue_collector
from tests.servers import PROJECT_DIR

pytestmark = [pytest.mark.django_db(transaction=True)]

FROZEN = {
    "documents_engine_seconds": ("histogram", "engine format"),
    "documents_engine_runs_total": ("counter", "engine format result"),
    "documents_sandbox_kills_total": ("counter", "reason"),
    "documents_webhook_deliveries_total": ("counter", "result"),
}
SITE = {"ingestion_disk_free_bytes", "ingestion_disk_size_bytes"}
HTTP = {
    "django_http_requests_before_middlewares_total",
    "django_http_responses_before_middlewares_total",
    "django_http_requests_latency_including_middlewares_seconds",
    "django_http_requests_unknown_latency_including_middlewares_total",
    "django_http_requests_latency_seconds_by_view_method",
    "django_http_requests_unknown_latency_total",
    "django_http_ajax_requests_total",
    "django_http_requests_total_by_method_total",
    "django_http_requests_total_by_transport_total",
    "django_http_requests_total_by_view_transport_method_total",
    "django_http_requests_body_total_bytes",
    "django_http_responses_total_by_templatename_total",
    "django_http_responses_total_by_status_total",
    "django_http_responses_total_by_status_view_method_total",
    "django_http_responses_body_total_bytes",
    "django_http_responses_total_by_charset_total",
    "django_http_responses_streaming_total",
    "django_http_exceptions_total_by_type_total",
    "django_http_exceptions_total_by_view_total",
}


def authorized() -> dict[str, str]:
    return {"Authorization": f"Bearer {settings.METRICS_TOKEN}"}


def scrape(client: Client, **headers: str) -> dict[str, set[str]]:
    """Metric name -> names of its samples."""
    response = client.get("/metrics", headers={**authorized(), **headers})
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(response.content.decode())
    return {family.name: {sample.name for sample in family.samples} for family in families}


def test_names_kinds_and_labels_of_the_domain_are_frozen() -> None:
    assert {item.name: (item.kind, " ".join(item.labels)) for item in SOURCE.families} == FROZEN


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", "Basic abc", "Bearer \u00e9"])
def test_without_the_token_nothing_is_told_but_where_it_is(client: Client, given: str) -> None:
    response = client.get("/metrics", headers={"Authorization": given.encode().decode("latin-1")} if given else {})
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert b"metrics_token" in response.content
    assert settings.METRICS_TOKEN.encode() not in response.content


def test_the_token_is_a_private_file_unless_the_environment_gives_one(data_dir: Path) -> None:
    path = data_dir / "metrics_token"
    assert path.read_text().strip() == settings.METRICS_TOKEN
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_scraper_may_use_any_host_name_and_only_reads(client: Client, valkey: redis.Redis) -> None:
    assert scrape(client, Host="10.1.2.3:8000")
    assert client.post("/metrics", headers=authorized()).status_code == 405


def test_everything_is_there(client: Client, valkey: redis.Redis) -> None:
    client.get("/health/live")
    found = scrape(client)
    samples = set().union(*found.values())
    assert {"queueadmin_jobs", "queueadmin_broker_up", "documents_webhook_deliveries_total"} <= samples
    assert samples >= SITE
    assert "django_http_requests_before_middlewares_total" in samples
    assert 'django_http_requests_total_by_view_transport_method_total{method="GET"' in client.get(
        "/metrics", headers=authorized()
    ).content.decode().replace('transport="http",', "").replace('view="health-live",', "")
    # And nothing about the one process that happened to answer
    assert not [name for name in samples if name.startswith(("python_", "process_"))]


def test_openmetrics_is_spoken_with_who_asks_for_it(client: Client, valkey: redis.Redis) -> None:
    wanted = "application/openmetrics-text; version=1.0.0"
    response = client.get("/metrics", headers={**authorized(), "Accept": wanted})
    assert response["Content-Type"].startswith("application/openmetrics-text")
    assert response.content.endswith(b"# EOF\n")


def test_room_on_the_disk(tmp_path: Path) -> None:
    free, size = DiskCollector({"data": tmp_path}).collect()
    assert 0 < free.samples[0].value <= size.samples[0].value
    assert free.samples[0].labels == {"directory": "data"}


def documented() -> set[str]:
    """Names in the first column of the tables of "Metrics and alerts" in docs/operations.md."""
    text = (PROJECT_DIR / "docs" / "operations.md").read_text()
    section = re.split(r"^## ", text.partition("## Metrics and alerts")[2], flags=re.MULTILINE)[0]
    return set(re.findall(r"^\| `([a-z_]+)`", section, re.MULTILINE))


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    ours = {family.name for family in queue_collector().families()} | SITE | HTTP
    assert documented() == ours


def test_names_of_django_prometheus_are_what_is_documented(client: Client) -> None:
    client.get("/health/live")
    registered = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in REGISTRY.collect()
        if metric.name.startswith("django_http")
    }
    assert registered == HTTP


def test_the_directory_of_http_metrics_belongs_to_us_and_old_ones_go(tmp_path: Path) -> None:
    """In a process of its own: prometheus_client has been imported in this one."""
    gone = tmp_path / f"ingestion-http-metrics-{os.getuid()}-999999999-1"
    gone.mkdir()
    program = (
        "import os, sys; from pathlib import Path; from ingestion_site.http_metrics import prepare; "
        "prepare(Path(sys.argv[1])); print(os.environ['PROMETHEUS_MULTIPROC_DIR'])"
    )
    ran = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], cwd=PROJECT_DIR, capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    # Both have the same parent, this process, and so the same directory
    assert ran[0] == ran[1]
    assert [str(path) for path in tmp_path.iterdir()] == [ran[0]]
    assert Path(ran[0]).stat().st_mode & 0o777 == 0o700
    # And where prometheus_client already counts in memory, nothing changes
    before = dict(os.environ)
    prepare(tmp_path)
    assert dict(os.environ) == before
