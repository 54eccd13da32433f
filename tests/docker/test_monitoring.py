"""Alerts and the dashboard speak of metrics and labels that exist; every alert is tested and says what to do."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from queueadmin.management.commands.queue import Command
from tests.ingestion_site import test_metrics as site
from tests.queueadmin import test_metrics as queue
from tests.servers import PROJECT_DIR

DOCKER = PROJECT_DIR / "docker"
ALERTS = DOCKER / "prometheus" / "alerts.yml"
ALERTS_TEST = DOCKER / "prometheus" / "alerts_test.yml"
DASHBOARD = DOCKER / "grafana" / "dashboards" / "document-ingestion.json"

TARGET_LABELS = {"instance", "pod", "job"}
"""What Prometheus adds to each sample of a target."""

NAME = re.compile(r"\b(?:queueadmin|documents|ingestion|django_http)_\w+")


def known() -> dict[str, set[str]]:
    """Name of a sample -> its labels, as frozen."""
    found: dict[str, set[str]] = {}
    for name, (kind, labels) in {**queue.FROZEN, **site.FROZEN}.items():
        suffixes = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        found |= {name + suffix: {*labels.split(), *({"le"} if suffix == "_bucket" else ())} for suffix in suffixes}
    found |= {name: {"directory"} for name in site.SITE}
    for name in site.HTTP:
        labels = {"status", "view", "method", "transport", "le"}
        found |= {name: labels, f"{name}_bucket": labels, f"{name}_count": labels, f"{name}_sum": labels}
    return found


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return list(group["rules"])


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def expressions() -> Iterator[str]:
    for rule in rules():
        yield rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def test_every_metric_of_the_alerts_and_the_dashboard_exists_with_those_labels() -> None:
    labels_of = known()
    for expression in expressions():
        used = set(NAME.findall(expression))
        assert used, expression
        assert used <= set(labels_of), expression
        labels = set.union(*(labels_of[name] for name in used)) | TARGET_LABELS
        matched = set(re.findall(r'(\w+)(?:=~|!=|!~|=)"', expression))
        grouped = re.findall(r"\b(?:by|without) \(([\w, ]+)\)", expression)
        assert matched | {name.strip() for group in grouped for name in group.split(",")} <= labels, expression


def test_every_metric_of_ours_that_shows_trouble_is_on_the_dashboard() -> None:
    shown = {name for expression in expressions() for name in NAME.findall(expression)}
    plain = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    assert set(queue.FROZEN) | set(site.FROZEN) | site.SITE <= plain


def test_what_is_the_same_from_every_web_server_is_not_added_up() -> None:
    shared = re.compile(r"\b(?:queueadmin|documents)_\w+")
    each = ("queueadmin_database", "queueadmin_broker")  # as each web server reaches them
    for expression in expressions():
        if any(not name.startswith(each) for name in shared.findall(expression)) and "absent(" not in expression:
            assert "max without (instance, pod)" in expression, expression


def test_panels_do_not_overlap_and_have_unique_ids() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_alerts_say_what_happens_how_bad_it_is_and_where_to_read_on() -> None:
    text = (PROJECT_DIR / "docs" / "operations.md").read_text()
    anchors = {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-")
               for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}  # fmt: skip
    for rule in rules():
        assert rule["labels"]["severity"] in ("info", "warning", "critical"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, rule["alert"]
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page == "docs/operations.md"
        assert anchor in anchors, rule["alert"]


def runbook() -> dict[str, str]:
    """Alert -> its section in docs/operations.md."""
    text = (PROJECT_DIR / "docs" / "operations.md").read_text()
    sections = re.split(r"^#+ ", text, flags=re.MULTILINE)
    return {title: body for title, _, body in (section.partition("\n") for section in sections) if title in named()}


def named() -> set[str]:
    return {rule["alert"] for rule in rules()}


def test_every_alert_has_a_cause_and_a_command_that_exists() -> None:
    pages = runbook()
    assert set(pages) == named()
    parser = Command().create_parser("manage.py", "queue")
    for alert, page in pages.items():
        assert "**Cause" in page, alert
        assert "```" in page, alert
        for line in re.findall(r"manage\.py queue ([^`\n]+)", page):
            words = line.replace("...", "").split()
            parser.parse_args([word.replace("ID", "0" * 32) if word == "ID" else word for word in words])


def test_every_alert_is_tested() -> None:
    tested = ALERTS_TEST.read_text()
    assert not [alert for alert in named() if alert not in tested]


def test_the_alerts_fire_when_they_should_and_only_then(needs: Callable[[str, str], None], tmp_path: Path) -> None:
    needs("prometheus", "promtool")
    for arguments in (["check", "rules", ALERTS.name], ["test", "rules", ALERTS_TEST.name]):
        done = subprocess.run(
            ["promtool", *arguments], cwd=ALERTS.parent, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted(DOCKER.glob("grafana/provisioning/*/*.yml")), ids=lambda path: path.name)
def test_grafana_is_given_the_data_source_and_the_dashboards(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["apiVersion"] == 1
