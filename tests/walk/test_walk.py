"""The walk takes minutes and is not part of the suite; what it is made of is there, at least."""

import subprocess
from collections.abc import Callable

from tests.walk.__main__ import ALERT
from tests.walk.clients import SAMPLES
from tests.walk.stage import unit_command
from tests.walk.watch import Prometheus, rule


def test_hosts_are_started_by_the_lines_of_systemd_under_their_own_names_and_ports() -> None:
    worker = unit_command("document-ingestion-worker@.service", {"%H-%i": "west-1"})
    assert worker[1:5] == ["manage.py", "rundramatiq", "--worker-id", "west-1"]
    web = unit_command("document-ingestion-web.service", {"8000": "8123"})
    assert web[web.index("--port") + 1] == "8123"
    assert not [word for word in (*worker, *web) if "%" in word or "/opt/" in word]


def test_the_alert_that_it_waits_for_is_one_of_ours_and_samples_are_documents() -> None:
    assert "queueadmin_jobs_rescued_total" in rule(ALERT)
    assert "two-pages.pdf" in SAMPLES
    assert not [name for name in SAMPLES if name.endswith((".py", ".md"))]


def test_prometheus_takes_the_configuration(needs: Callable[[str, str], None]) -> None:
    needs("prometheus", "promtool")
    prometheus = Prometheus(["127.0.0.1:1", "127.0.0.1:2"], token="t")
    try:
        done = subprocess.run(
            ["promtool", "check", "config", str(prometheus.directory / "prometheus.yml")],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "rules found" in done.stdout
    finally:
        prometheus.close()
