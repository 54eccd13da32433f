"""The compose files: valid, and all that they name is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
import redis

from queueadmin.redis_client import RedisOptions, connect
from tests.docker.files import (
    DOCKER,
    KNOWN_VARIABLES,
    assert_command_exists,
    dockerfile,
    load,
    option,
    schema,
    web_command,
)
from tests.servers import PROJECT_DIR, S3Server, Server, free_port, get_binary_path

FILES = sorted(DOCKER.glob("compose*.yml"))
OURS = "document-ingestion:local"


def services() -> list[tuple[str, str, dict[str, Any]]]:
    """File, name and service, of all files."""
    return [(file.name, name, service) for file in FILES for name, service in load(file)["services"].items()]


def ours() -> list[tuple[str, dict[str, Any]]]:
    """The services that run our image; those of compose.dev.yml are changes to the others."""
    others = {"postgres", "valkey", "s3", "prometheus", "grafana"}
    return [(f"{file} {name}", service) for file, name, service in services() if name not in others]


def test_the_three_files_are_there() -> None:
    assert [file.name for file in FILES] == ["compose.dev.yml", "compose.redis.yml", "compose.yml"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_is_what_the_specification_allows(file: Path) -> None:
    jsonschema.validate(load(file), schema("compose.json"))


def test_the_schema_refuses_what_it_should() -> None:
    broken = load(DOCKER / "compose.yml")
    broken["services"]["web"]["comand"] = ["python"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema("compose.json"))


def test_images_are_pinned() -> None:
    images = {service["image"] for _, _, service in services() if "image" in service} - {OURS}
    assert len(images) == 5
    for image in images:
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", image), image


def test_the_bucket_of_development_is_the_one_of_the_tests() -> None:
    (pinned,) = re.findall(r"^moto==(\S+)", (PROJECT_DIR / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    assert load(DOCKER / "compose.dev.yml")["services"]["s3"]["image"] == f"motoserver/moto:{pinned}"


def test_every_command_exists() -> None:
    commands = [service["command"] for _, service in ours() if "command" in service]
    commands += [check[1:] for _, service in ours() if (check := service.get("healthcheck", {}).get("test"))]
    assert len(commands) >= 4
    for command in commands:
        assert_command_exists(command)


def test_every_variable_is_one_the_service_reads() -> None:
    for name, service in ours():
        assert set(service.get("environment", {})) <= KNOWN_VARIABLES, name


def test_the_example_environment_has_every_variable_that_is_wanted_and_no_other() -> None:
    wanted = {name for file in FILES for name in re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", file.read_text())}
    given = set(re.findall(r"^([A-Z0-9_]+)=", (DOCKER / "env.example").read_text(), re.MULTILINE))
    assert wanted == given


def test_everything_is_published_to_this_machine_only() -> None:
    ports = [port for _, _, service in services() for port in service.get("ports", ())]
    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_check_that_ends_the_installation_asks_for_a_host_that_is_answered() -> None:
    page = (PROJECT_DIR / "docs" / "operations.md").read_text()
    (asked,) = set(re.findall(r"^curl -sS http://([^:/]+):8000/health/workers$", page, re.MULTILINE))
    (example,) = re.findall(r"^ALLOWED_HOSTS=(.*)$", (DOCKER / "env.example").read_text(), re.MULTILINE)
    (unset,) = re.findall(r"\$\{ALLOWED_HOSTS:-([^}]*)\}", (DOCKER / "compose.yml").read_text())
    assert asked in example.split(",")
    assert unset == example


def test_settings_that_the_files_do_not_name_can_be_given_and_are_not_committed() -> None:
    composed = load(DOCKER / "compose.yml")["services"]
    for name in ("migrate", "web", "worker"):
        (file,) = composed[name]["env_file"]
        assert (file["required"], f"docker/{file['path']}" in (DOCKER / "env.example").read_text()) == (False, True)
        for ignored in (".gitignore", ".dockerignore"):
            assert f"docker/{file['path']}" in (PROJECT_DIR / ignored).read_text(), ignored


def test_ports_are_those_at_which_something_listens() -> None:
    # Given the web server's, as its command says
    port = option(web_command(), "--port")
    # Then the image, compose and Prometheus say the same
    assert f"EXPOSE {port}" in dockerfile()
    assert load(DOCKER / "compose.yml")["services"]["web"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    (scraped,) = load(DOCKER / "prometheus" / "prometheus.yml")["scrape_configs"]
    assert scraped["static_configs"] == [{"targets": [f"web:{port}"]}]
    # And Grafana asks Prometheus where that listens
    (source,) = load(DOCKER / "grafana" / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    development = load(DOCKER / "compose.dev.yml")
    assert source["url"] == "http://prometheus:9090"
    assert development["services"]["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]
    assert development["x-bucket"]["S3_ENDPOINT_URL"] == "http://s3:5000"


def test_prometheus_is_given_its_rules_and_its_token() -> None:
    prometheus = load(DOCKER / "compose.dev.yml")["services"]["prometheus"]
    mounted = {volume.split(":")[1] for volume in prometheus["volumes"]}
    mounted |= {secret["target"] for secret in prometheus["secrets"]}
    configuration = load(DOCKER / "prometheus" / "prometheus.yml")
    named = [*configuration["rule_files"], configuration["scrape_configs"][0]["authorization"]["credentials_file"]]
    assert {f"/etc/prometheus/{name}" for name in named} <= mounted


def test_everything_that_is_mounted_or_extended_exists() -> None:
    for file, name, service in services():
        declared = {*load(DOCKER / file).get("volumes", {}), *load(DOCKER / "compose.yml")["volumes"]}
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DOCKER / source).exists() if source.startswith(".") else source in declared, f"{file} {name}"
        if extended := service.get("extends"):
            assert extended["service"] in load(DOCKER / extended["file"])["services"]


def test_everything_that_keeps_running_has_a_health_check() -> None:
    for file, name, service in services():
        own = service.get("healthcheck", {})
        if "image" in service and service.get("restart") != "no":
            assert not own.get("disable"), name
            assert "test" in own or (service["image"] == OURS and "\nHEALTHCHECK " in dockerfile()), f"{file} {name}"


def test_services_depend_on_services_that_exist() -> None:
    everywhere: dict[str, dict[str, Any]] = {}
    for _, name, service in services():
        everywhere[name] = {**everywhere.get(name, {}), **service}
    for _, _, service in services():
        for name, condition in service.get("depends_on", {}).items():
            if condition["condition"] == "service_healthy":
                assert "test" in everywhere[name]["healthcheck"]


def test_database_and_broker_are_private_and_durable() -> None:
    composed = load(DOCKER / "compose.yml")["services"]
    assert "ports" not in composed["postgres"]
    assert "ports" not in composed["valkey"]
    assert {"postgres:/var/lib/postgresql"} <= set(composed["postgres"]["volumes"])
    assert {"valkey:/data"} <= set(composed["valkey"]["volumes"])


class ComposedValkey(Server):
    """Valkey, started by the very command of compose.yml."""

    name = "composed-valkey"

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        # The image's `valkey-server`, with what the container would be: a port and a directory of its own.
        shim = self.directory / "valkey-server"
        shim.write_text(
            f'#!/bin/sh\nexec {get_binary_path()} "$@" --port {self.port} --bind 127.0.0.1 --dir {self.directory}\n'
        )
        shim.chmod(0o755)

    def command(self) -> list[str]:
        command: list[str] = load(DOCKER / "compose.yml")["services"]["valkey"]["command"]
        in_image = {"$$": "$", "/run/ingestion.acl": str(DOCKER / "ingestion.acl")}
        for old, new in in_image.items():
            command = [part.replace(old, new) for part in command]
        return command

    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self.directory}:{os.environ['PATH']}", "REDISCLI_AUTH": "0123456789abcdef"}

    def answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False


def test_the_composed_valkey_lets_nobody_in_but_the_service_and_keeps_its_data() -> None:
    with ComposedValkey() as valkey:
        # Given the URL that compose.yml gives the service
        url = f"redis://ingestion:0123456789abcdef@127.0.0.1:{valkey.port}/0"
        with closing(connect(RedisOptions(url=url), namespace="ingestion", timeout=5)) as client:
            # Then it may do its work, and nothing else
            assert client.zadd("{ingestion}:ready:q:high", {"a": 1}) == 1
            assert client.info("memory")["maxmemory_policy"] == "noeviction"
            assert client.info("persistence")["aof_enabled"] == 1
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.flushall()
        # And SIGTERM reaches the server itself, not a shell before it
        assert valkey.stop() == 0
        assert "User requested shutdown" in valkey.output()


def test_the_bucket_is_made_once(s3_server: S3Server) -> None:
    bucket = {
        "S3_BUCKET": "made-by-compose", "S3_ENDPOINT_URL": s3_server.url,
        "S3_ACCESS_KEY_ID": s3_server.access_key_id, "S3_SECRET_ACCESS_KEY": s3_server.secret_access_key,
    }  # fmt: skip
    for _ in range(2):
        subprocess.run(
            [sys.executable, str(DOCKER / "make_bucket.py")], env={**os.environ, **bucket}, check=True, timeout=60
        )
    client = boto3.client(
        "s3", endpoint_url=s3_server.url, region_name=s3_server.region,
        aws_access_key_id=s3_server.access_key_id, aws_secret_access_key=s3_server.secret_access_key,
    )  # fmt: skip
    assert client.head_bucket(Bucket="made-by-compose")["ResponseMetadata"]["HTTPStatusCode"] == 200
