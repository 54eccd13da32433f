"""systemd units and the Supervisor file: commands, variables and times that fit the service."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from queueadmin.conf import QueueSettings
from tests.docker.files import DOCKER, KNOWN_VARIABLES, assert_command_exists, dockerfile, option, web_command

UNITS = sorted((DOCKER / "systemd").glob("*.service"))
SUPERVISOR = DOCKER / "supervisor" / "document-ingestion.conf"
PYTHON = "/opt/document-ingestion/.venv/bin/python"


class Unit(configparser.RawConfigParser):
    """A unit or program file: names as they are written, the last one counts."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, inline_comment_prefixes=None)
        self.read(path)

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def programs() -> dict[str, dict[str, str]]:
    return {name: dict(section) for name, section in Unit(SUPERVISOR).items() if name.startswith("program:")}


def commands() -> list[tuple[str, list[str]]]:
    found = [(unit.name, shlex.split(Unit(unit)["Service"]["ExecStart"])) for unit in UNITS]
    return found + [(name, shlex.split(section["command"])) for name, section in programs().items()]


def test_there_is_a_unit_for_each_part() -> None:
    assert [unit.name for unit in UNITS] == [
        "document-ingestion-migrate.service", "document-ingestion-web.service", "document-ingestion-worker@.service",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "command"), commands(), ids=[name for name, _ in commands()])
def test_a_command_exists(name: str, command: list[str]) -> None:
    assert command[0] == PYTHON
    assert_command_exists(command)


def test_the_web_server_is_started_as_in_the_image_but_for_this_machine() -> None:
    for name, command in commands():
        if "web" in name:
            assert option(command, "--host") == "127.0.0.1"
            here = [word if word != "127.0.0.1" else "0.0.0.0" for word in command[1:]]
            assert here == web_command()[1:]


def test_every_variable_is_one_the_service_reads() -> None:
    named = {
        line.partition("=")[0] for unit in UNITS for line in re.findall(r"^Environment=(.*)", unit.read_text(), re.M)
    }
    for section in programs().values():
        named |= set(re.findall(r"([A-Z_]+)=", section["environment"]))
    assert named == {"DATA_DIR", "ENV_FILE", "GRANIAN_LOG_CONFIG", "QUEUEADMIN_HOST_PROCESSES"}
    assert named <= KNOWN_VARIABLES


def test_the_web_servers_own_lines_are_configured_as_in_the_image() -> None:
    (image,) = re.findall(r"GRANIAN_LOG_CONFIG=/app/(\S+)", dockerfile())
    for text in ((DOCKER / "systemd" / "document-ingestion-web.service").read_text(), SUPERVISOR.read_text()):
        assert re.findall(r'GRANIAN_LOG_CONFIG="?/opt/document-ingestion/([^\s"]+)', text) == [image]


def test_the_commands_of_supervisors_file_use_its_variables_and_directories() -> None:
    said, _, programs_ = SUPERVISOR.read_text().partition("[program:")
    data, logs = "/var/lib/document-ingestion", "/var/log/document-ingestion"
    assert f"DATA_DIR={data} .venv/bin/python manage.py migrate" in said
    assert f"{data} {logs}\n" in said
    assert set(re.findall(r"logfile=(.*)/", programs_)) == {logs}


def test_a_worker_may_finish_before_it_is_killed_and_is_always_started_again() -> None:
    service = Unit(DOCKER / "systemd" / "document-ingestion-worker@.service")["Service"]
    assert int(service["TimeoutStopSec"]) >= QueueSettings.shutdown_seconds + 5
    assert (service["KillMode"], service["Restart"]) == ("mixed", "always")
    worker = programs()["program:document-ingestion-worker"]
    assert int(worker["stopwaitsecs"]) >= QueueSettings.shutdown_seconds + 5
    assert (worker["stopsignal"], worker["stopasgroup"], worker["killasgroup"]) == ("TERM", "false", "true")
    assert worker["autorestart"] == "true"


def test_supervisors_workers_know_how_many_share_the_machine() -> None:
    worker = programs()["program:document-ingestion-worker"]
    assert f'QUEUEADMIN_HOST_PROCESSES="{worker["numprocs"]}"' in worker["environment"]


def test_nothing_runs_as_root() -> None:
    assert {Unit(unit)["Service"]["User"] for unit in UNITS} == {"ingestion"}
    assert {section["user"] for section in programs().values()} == {"ingestion"}


def test_the_data_directory_is_the_one_that_systemd_makes() -> None:
    for unit in UNITS:
        service = Unit(unit)["Service"]
        assert service["Environment"] == f"DATA_DIR=/var/lib/{service['StateDirectory']}"
        assert service["EnvironmentFile"] == "/etc/document-ingestion.env"


def test_the_group_has_every_program() -> None:
    group = Unit(SUPERVISOR)["group:document-ingestion"]["programs"].split(",")
    assert {f"program:{name}" for name in group} == set(programs())


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    # Given the units, with a Python that is installed here
    for unit in (DOCKER / "systemd").iterdir():
        name = unit.name.replace("@.", "@1.")
        (tmp_path / name).write_text(unit.read_text().replace(PYTHON, sys.executable))
        if name != unit.name:
            (tmp_path / unit.name).write_text((tmp_path / name).read_text())
    # When / Then
    files = [str(path) for path in tmp_path.iterdir() if "@." not in path.name]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
