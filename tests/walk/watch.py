"""A real Prometheus with the very rules of docker/prometheus: no expression is written here a second time."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.servers import PROJECT_DIR, Server, free_port

CONFIGURATION = PROJECT_DIR / "docker" / "prometheus"
HOW_TO_GET_IT = (
    "The walk wants Prometheus: apt-get install prometheus. Or its program alone, without a server that starts:\n"
    "  apt-get download prometheus && dpkg --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/prometheus\n"
    "  PATH=$PWD/usr/bin:$PATH make walk"
)


def program() -> str | None:
    """Where Prometheus is."""
    return shutil.which("prometheus")


class Prometheus(Server):
    """`docker/prometheus`, with this machine's web servers and token in place of the composed ones."""

    name = "prometheus"

    def __init__(self, targets: Sequence[str], token: str) -> None:
        super().__init__()
        self.port = free_port()
        configuration = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())
        configuration["scrape_configs"][0]["static_configs"] = [{"targets": list(targets)}]
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        (self.directory / "metrics_token").write_text(token)
        shutil.copy(CONFIGURATION / "alerts.yml", self.directory)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        return [
            program() or "prometheus", f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.directory)}

    def answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/-/ready", timeout=2).status_code == 200
        return False

    def scraped(self) -> int:
        """Targets whose last scrape went well."""
        return sum(1 for target in self._api("targets")["activeTargets"] if target["health"] == "up")

    def alerts(self) -> dict[str, str]:
        """Alert -> pending or firing."""
        return {alert["labels"]["alertname"]: alert["state"] for alert in self._api("alerts")["alerts"]}

    def value(self, expression: str) -> str:
        """What an expression yields now: labels and value, one line each."""
        found = self._api("query", query=expression)["result"]
        return "\n".join(f"{item['metric']} {float(item['value'][1]):g}" for item in found) or "nothing"

    def _api(self, path: str, **parameters: str) -> dict[str, Any]:
        response = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10).raise_for_status()
        data: dict[str, Any] = response.json()["data"]
        return data


def rule(alert: str, file: Path = CONFIGURATION / "alerts.yml") -> str:
    """The expression of an alert, as the file has it."""
    (group,) = yaml.safe_load(file.read_text())["groups"]
    (expression,) = (rule["expr"] for rule in group["rules"] if rule["alert"] == alert)
    return str(expression)
