"""The deployment files, read; and whether what they name exists."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from django.core.management import get_commands, load_command_class

from tests.conftest import SERVICE_VARIABLES
from tests.servers import PROJECT_DIR

DOCKER = PROJECT_DIR / "docker"
SCHEMAS = Path(__file__).parent / "schemas"
KNOWN_VARIABLES = {
    *SERVICE_VARIABLES, "DATA_DIR", "ENV_FILE", "PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE",
    "DJANGO_SETTINGS_MODULE", "PYTHON_CPU_COUNT", "GRANIAN_LOG_CONFIG",
    "QUEUEADMIN_HOST_PROCESSES",
}  # fmt: skip
"""What the service, Django or Python reads."""


def load(path: Path) -> dict[str, Any]:
    """A YAML file of one document."""
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


def load_all(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / name).read_text())
    return found


def dockerfile() -> str:
    """The Dockerfile without comments, each instruction on one line."""
    text = re.sub(r"^#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    return re.sub(r"\\\n\s*", " ", text)


def web_command() -> list[str]:
    """The image's own command."""
    found = re.findall(r"^CMD (\[.*\])", dockerfile(), re.MULTILINE)
    command: list[str] = json.loads(found[-1])
    return command


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def assert_command_exists(command: list[str]) -> None:
    """A `python ...` command names a module, a file or a `manage.py` command with options that there are."""
    program, first, *rest = command
    assert Path(program).name == "python", command
    if first == "-m":
        assert _granian_understands(tuple(rest)), command
        return
    assert (PROJECT_DIR / first).is_file(), command
    if first == "manage.py":
        _assert_manage_understands(tuple(rest))


def _granian_understands(arguments: tuple[str, ...]) -> bool:
    assert arguments[0] == "granian"
    module, _, name = arguments[-1].partition(":")
    assert hasattr(importlib.import_module(module), name)
    return all(word in _granian_help() for word in arguments if word.startswith("--"))


def _assert_manage_understands(arguments: tuple[str, ...]) -> None:
    """There is such a command, and it takes these arguments. Raises CommandError."""
    name, *rest = arguments
    command = load_command_class(get_commands()[name], name)
    command.create_parser("manage.py", name).parse_args(rest)


@cache
def _granian_help() -> str:
    done = subprocess.run([sys.executable, "-m", "granian", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
