"""Docker cannot run where this is tested; so everything that the image is made of and runs must at least exist."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ingestion_site.embedded.web import web_command
from tests.docker.files import DOCKER, KNOWN_VARIABLES, assert_command_exists, dockerfile
from tests.servers import PROJECT_DIR

PYTHON_VERSIONS = {(3, minor) for minor in range(11, 15)}


def test_the_base_image_is_pinned() -> None:
    images = re.findall(r"^FROM (\S+)", dockerfile(), re.MULTILINE)
    assert len(set(images)) == 1
    assert re.search(r":\d+\.\d+\.\d+-", images[0])


def test_every_command_exists() -> None:
    """Those of the image, and those that compose.yml tells a person to run in it."""
    commands = [json.loads(match) for match in re.findall(r"\bCMD (\[.*\])", dockerfile())]
    commands += [shlex.split(line) for line in re.findall(r"run --rm web (.+)", (DOCKER / "compose.yml").read_text())]
    assert len(commands) >= 4
    for command in commands:
        assert_command_exists(command)


def test_every_variable_is_one_that_somebody_reads() -> None:
    named = set(re.findall(r"([A-Z_]+)=\S+", " ".join(re.findall(r"^ENV (.*)", dockerfile(), re.MULTILINE))))
    assert named <= KNOWN_VARIABLES


def test_hadolint_finds_nothing() -> None:
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("needs hadolint, which has no wheel for this platform")
    done = subprocess.run([program, "--no-color", str(DOCKER / "Dockerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


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


def test_every_package_of_the_image_is_installed_by_ci_or_known_to_apt() -> None:
    """Spelling only: names that .ci/run installs are proven; LibreOffice's are too large to install there."""
    match = re.search(r"apt-get install --yes --no-install-recommends (.*?) &&", dockerfile())
    assert match
    packages = set(match[1].split())
    ci = (PROJECT_DIR / ".ci" / "run").read_text()
    proven = {package for package in packages if re.search(rf"\b{re.escape(package)}\b", ci)}
    assert packages - proven == {
        "libreoffice-calc-nogui", "libreoffice-impress-nogui", "libreoffice-writer-nogui",
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


def test_the_web_servers_log_format_is_where_the_image_says() -> None:
    (path,) = re.findall(r"GRANIAN_LOG_CONFIG=/app/(\S+)", dockerfile())
    assert (PROJECT_DIR / path).is_file()
    assert str(PROJECT_DIR / path) in web_command("127.0.0.1", 8000)


def test_the_ci_script_can_be_run() -> None:
    assert (PROJECT_DIR / ".ci" / "run").stat().st_mode & stat.S_IXUSR
