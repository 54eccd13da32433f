"""Docker cannot run where this is tested; so everything that its files name must at least exist."""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import SERVICE_VARIABLES
from tests.servers import PROJECT_DIR

DOCKER = PROJECT_DIR / "docker"
PYTHON_VERSIONS = {(3, minor) for minor in range(11, 15)}
BUILT_IN_VARIABLES = {"DATA_DIR", "PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "DJANGO_SETTINGS_MODULE"}


def dockerfile() -> str:
    """The Dockerfile without comments, each instruction on one line."""
    text = re.sub(r"^#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    return re.sub(r"\\\n\s*", " ", text)


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yml").read_text())
    return document


def exec_forms() -> list[list[str]]:
    """Every command in JSON form, of the Dockerfile and of compose.yml's services of ours."""
    found = [json.loads(match) for match in re.findall(r"\bCMD (\[.*\])", dockerfile())]
    services = compose()["services"].values()
    found += [service["command"] for service in services if "build" in service and "command" in service]
    found += [
        check["test"][1:]
        for service in services
        if "test" in (check := service.get("healthcheck", {})) and "build" in service
    ]
    documented = re.findall(r"run --rm web (.+)", (DOCKER / "compose.yml").read_text())
    return found + [shlex.split(line) for line in documented]


def test_images_are_pinned() -> None:
    images = re.findall(r"^FROM (\S+)", dockerfile(), re.MULTILINE)
    images += [service["image"] for service in compose()["services"].values() if "build" not in service]
    assert len(images) == 4
    for image in images:
        assert re.search(r":\d+\.\d+(\.\d+)?-", image), image


def test_the_images_python_is_one_we_support() -> None:
    for major, minor in re.findall(r"^FROM python:(\d+)\.(\d+)", dockerfile(), re.MULTILINE):
        assert (int(major), int(minor)) in PYTHON_VERSIONS


def test_the_image_is_built_in_stages_and_runs_without_root() -> None:
    text = dockerfile()
    assert len(re.findall(r"^FROM ", text, re.MULTILINE)) == 2
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    assert users
    assert users[-1] not in ("root", "0")
    assert text.index("\nUSER ") < text.index("\nCMD ")


def test_every_copied_file_exists() -> None:
    for source in re.findall(r"^COPY (?!--from)(\S+) \S+", dockerfile(), re.MULTILINE):
        assert (PROJECT_DIR / source).exists(), source


def test_the_build_context_holds_what_is_copied() -> None:
    ignored = (PROJECT_DIR / ".dockerignore").read_text().split()
    for source in re.findall(r"^COPY (?!--from)(\S+) \S+", dockerfile(), re.MULTILINE):
        assert not any(Path(source).match(pattern) or source.startswith(f"{pattern}/") for pattern in ignored)


def test_every_command_exists() -> None:
    forms = exec_forms()
    assert len(forms) >= 5
    for command in forms:
        program, first, *rest = command
        assert program == "python"
        if first == "-m":
            subprocess.run([sys.executable, "-c", f"import {rest[0]}"], check=True)
            continue
        assert (PROJECT_DIR / first).is_file(), command
        if first == "manage.py":
            assert_manage_understands(rest)


def assert_manage_understands(arguments: list[str]) -> None:
    """`manage.py COMMAND --help` works and names every option that is used."""
    words = [word for word in arguments if not word.startswith("-")]
    options = {word.partition("=")[0] for word in arguments if word.startswith("--")}
    for depth in (words[:2], words[:1]):  # api_key has sub-commands
        done = subprocess.run(
            [sys.executable, "manage.py", *depth, "--help"], cwd=PROJECT_DIR, capture_output=True, text=True
        )
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    for option in options:
        assert option in done.stdout or option == "--no-input", f"{option} is no option of {words[0]}"


def test_granian_understands_the_web_command() -> None:
    command = next(form for form in exec_forms() if "granian" in form)
    shown = subprocess.run([sys.executable, "-m", "granian", "--help"], capture_output=True, text=True).stdout
    for option in (word for word in command if word.startswith("--")):
        assert option in shown, option
    module, _, name = command[-1].partition(":")
    subprocess.run([sys.executable, "-c", f"from {module} import {name}"], cwd=PROJECT_DIR, check=True)


def test_every_variable_is_one_the_service_reads() -> None:
    known = {*SERVICE_VARIABLES, *BUILT_IN_VARIABLES}
    for service in compose()["services"].values():
        if "build" in service:
            assert set(service["environment"]) <= known
    assert set(re.findall(r"([A-Z_]+)=\S+", " ".join(re.findall(r"^ENV (.*)", dockerfile(), re.MULTILINE)))) <= known


def test_the_example_environment_has_every_variable_that_compose_wants() -> None:
    wanted = set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", (DOCKER / "compose.yml").read_text()))
    given = set(re.findall(r"^([A-Z0-9_]+)=", (DOCKER / "env.example").read_text(), re.MULTILINE))
    assert wanted == given


def test_broker_and_database_are_private_and_durable() -> None:
    services = compose()["services"]
    assert "ports" not in services["postgres"]
    assert "ports" not in services["valkey"]
    valkey = " ".join(services["valkey"]["command"])
    for word in ("requirepass", "--appendonly yes", "noeviction"):
        assert word in valkey


def test_the_web_server_is_published_to_this_machine_only() -> None:
    assert all(port.startswith("127.0.0.1:") for port in compose()["services"]["web"]["ports"])


def test_everything_that_keeps_running_has_a_health_check() -> None:
    for name, service in compose()["services"].items():
        if service.get("restart") == "no":
            continue
        own = service.get("healthcheck", {})
        assert not own.get("disable"), name
        assert "test" in own or ("build" in service and "\nHEALTHCHECK " in dockerfile()), name


def test_services_depend_on_services_that_exist() -> None:
    services = compose()["services"]
    for service in services.values():
        for name, condition in service.get("depends_on", {}).items():
            assert name in services
            if condition["condition"] == "service_healthy":
                assert "test" in services[name]["healthcheck"]


def test_every_package_of_the_image_is_installed_by_ci_or_known_to_apt() -> None:
    """Spelling only: names that .ci/run installs are proven; LibreOffice's are too large to install there."""
    match = re.search(r"apt-get install --yes --no-install-recommends (.*?) &&", dockerfile())
    assert match
    packages = set(match[1].split())
    ci = (PROJECT_DIR / ".ci" / "run").read_text()
    proven = {package for package in packages if re.search(rf"\b{re.escape(package)}\b", ci)}
    assert packages - proven == {
        "ghostscript", "libreoffice-calc-nogui", "libreoffice-impress-nogui", "libreoffice-writer-nogui",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("allowed_hosts", "path", "exit_code"), [("localhost", "/", 0), ("*", "/", 0), ("localhost", "/missing", 1)]
)
def test_the_health_check_tells_the_truth(
    allowed_hosts: str, path: str, exit_code: int, tmp_path: Path, free_port: int
) -> None:
    # Given a web server
    server = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(free_port)]
    with subprocess.Popen(server, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            # When / Then
            check = f"cd {shlex.quote(str(PROJECT_DIR))}; for i in 1 2 3 4 5 6 7 8 9; do"
            check += f" {sys.executable} docker/healthcheck.py http://127.0.0.1:{free_port}/ && break; sleep 0.3; done"
            subprocess.run(["sh", "-c", check], capture_output=True)
            done = subprocess.run(
                [sys.executable, str(DOCKER / "healthcheck.py"), f"http://127.0.0.1:{free_port}{path}"],
                env={**os.environ, "ALLOWED_HOSTS": allowed_hosts},
                capture_output=True,
            )
            assert done.returncode == exit_code
        finally:
            process.terminate()


def test_the_ci_script_can_be_run() -> None:
    assert (PROJECT_DIR / ".ci" / "run").stat().st_mode & stat.S_IXUSR
