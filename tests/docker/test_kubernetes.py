"""The Kubernetes files: valid for their kinds, agreeing with each other, and all that they name is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import jsonschema
import pytest
from django.urls import resolve

from queueadmin.conf import QueueSettings
from tests.docker.files import (
    DOCKER,
    KNOWN_VARIABLES,
    assert_command_exists,
    load,
    load_all,
    option,
    schema,
    web_command,
)
from tests.queueadmin.test_metrics import FROZEN

FOLDER = DOCKER / "kubernetes"
NAME = "app.kubernetes.io/name"


def resources() -> list[dict[str, Any]]:
    return [
        document for name in load(FOLDER / "kustomization.yaml")["resources"] for document in load_all(FOLDER / name)
    ]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """Name -> resource."""
    return {found["metadata"]["name"]: found for found in resources() if found["kind"] == kind}


def pods() -> dict[str, dict[str, Any]]:
    """The pod templates' specifications."""
    return {
        name: found["spec"]["template"]["spec"]
        for kind in ("Job", "Deployment")
        for name, found in of_kind(kind).items()
    }


def containers() -> list[dict[str, Any]]:
    return [container for pod in pods().values() for container in pod["containers"]]


def test_every_file_is_part_of_the_base() -> None:
    named = load(FOLDER / "kustomization.yaml")["resources"]
    assert sorted(named) == sorted(file.name for file in FOLDER.glob("*.yaml") if file.name != "kustomization.yaml")


@pytest.mark.parametrize("found", resources(), ids=lambda found: f"{found['kind']} {found['metadata']['name']}")
def test_a_resource_is_what_its_kind_allows(found: dict[str, Any]) -> None:
    if found["kind"] == "ScaledObject":
        jsonschema.validate(found, schema("keda.json"))
        return
    everything = schema("kubernetes.json")
    jsonschema.validate(found, {**everything, **everything["kinds"][found["kind"]]})


@pytest.mark.parametrize("kind", ["Deployment", "ScaledObject"])
def test_the_schemas_refuse_what_they_should(kind: str) -> None:
    (broken, *_) = of_kind(kind).values()
    broken["spec"]["replicsa"] = 2
    with pytest.raises(jsonschema.ValidationError):
        test_a_resource_is_what_its_kind_allows(broken)


def test_kustomize_builds_it() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    done = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("image: registry.example.org/document-ingestion:") == len(containers())


def test_the_image_is_the_one_that_the_base_names() -> None:
    (image,) = load(FOLDER / "kustomization.yaml")["images"]
    assert {container["image"] for container in containers()} == {image["name"]}
    assert re.fullmatch(r"\d+\.\d+\.\d+", image["newTag"])


def test_every_command_exists() -> None:
    commands = [container["command"] for container in containers() if "command" in container]
    commands += [
        probe["exec"]["command"]
        for container in containers()
        for name, probe in container.items()
        if name.endswith("Probe") and "exec" in probe
    ]
    assert len(commands) == 4
    for command in commands:
        assert_command_exists(command)


def test_every_variable_is_one_the_service_reads() -> None:
    base = load(FOLDER / "kustomization.yaml")
    named = {literal.partition("=")[0] for made in base["configMapGenerator"] for literal in made["literals"]}
    named |= set(re.findall(r"^([A-Z0-9_]+)=", (FOLDER / "secret.env.example").read_text(), re.MULTILINE))
    named |= {variable["name"] for container in containers() for variable in container.get("env", ())}
    assert len(named) > 12
    assert named <= KNOWN_VARIABLES


def test_settings_and_secrets_come_from_what_is_made() -> None:
    (made,) = load(FOLDER / "kustomization.yaml")["configMapGenerator"]
    secret = (FOLDER / "secret.env.example").read_text()
    for container in containers():
        assert container["envFrom"] == [{"configMapRef": {"name": made["name"]}}, {"secretRef": {"name": made["name"]}}]
    assert f"create secret generic {made['name']} " in secret


def test_selectors_find_their_pods() -> None:
    labels = {name: found["spec"]["template"]["metadata"]["labels"] for name, found in of_kind("Deployment").items()}
    for name, found in of_kind("Deployment").items():
        assert found["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
    for name, budget in of_kind("PodDisruptionBudget").items():
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
    (service,) = of_kind("Service").values()
    assert service["spec"]["selector"].items() <= labels["document-ingestion-web"].items()


def test_ports_and_probes_lead_to_what_answers() -> None:
    (web,) = pods()["document-ingestion-web"]["containers"]
    (port,) = web["ports"]
    assert str(port["containerPort"]) == option(web_command(), "--port")
    (service,) = of_kind("Service").values()
    assert [one["targetPort"] for one in service["spec"]["ports"]] == [port["name"]]
    hosts = dict(
        literal.split("=", 1) for literal in load(FOLDER / "kustomization.yaml")["configMapGenerator"][0]["literals"]
    )["ALLOWED_HOSTS"].split(",")
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = web[name]["httpGet"]
        assert asked["port"] == port["name"]
        assert resolve(asked["path"]).func.__module__ == "ingestion_site.health"
        assert {header["value"] for header in asked["httpHeaders"]} <= set(hosts)


def test_a_worker_may_finish_before_it_is_killed() -> None:
    pod = pods()["document-ingestion-worker"]
    assert pod["terminationGracePeriodSeconds"] >= QueueSettings.shutdown_seconds + 5


def test_a_web_pod_answers_while_it_is_taken_out_of_the_service() -> None:
    pod = pods()["document-ingestion-web"]
    _, seconds = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert 0 < int(seconds) < pod["terminationGracePeriodSeconds"]


def test_nothing_runs_as_root_or_writes_outside_its_volumes() -> None:
    for pod in pods().values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            locked = container["securityContext"]
            assert locked["readOnlyRootFilesystem"] is True
            assert locked["allowPrivilegeEscalation"] is False
            assert locked["capabilities"] == {"drop": ["ALL"]}
            assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/data", "/tmp"}
            assert "memory" in container["resources"]["limits"]


def test_workers_are_scaled_by_what_waits_and_runs() -> None:
    (scaled,) = of_kind("ScaledObject").values()
    target = of_kind("Deployment")[scaled["spec"]["scaleTargetRef"]["name"]]
    (trigger,) = scaled["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    # The metric exists, with that label, and every web pod tells the same numbers
    (name,) = re.findall(r"queueadmin_\w+", query)
    assert "state" in FROZEN[name][1].split()
    assert "max without (instance, pod)" in query
    assert set(re.search(r'state=~"([^"]+)"', query)[1].split("|")) == {"pending", "processing"}
    # One worker per so many jobs as it has threads, and nobody else sets the number
    assert trigger["metadata"]["threshold"] == option(
        target["spec"]["template"]["spec"]["containers"][0]["command"], "--threads"
    )
    assert "replicas" not in target["spec"]
    assert scaled["spec"]["minReplicaCount"] >= 1
