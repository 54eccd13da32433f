"""The house rules, as tests: style, types, import directions, migrations, checks, the API's schema."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.servers import PROJECT_DIR

BIN = Path(sys.executable).parent


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=PROJECT_DIR, env={**os.environ, **variables}, capture_output=True, text=True, timeout=280
    )


def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "manage.py", *arguments)


def report(done: subprocess.CompletedProcess[str]) -> str:
    return f"{' '.join(map(str, done.args))}\n{done.stdout}\n{done.stderr}"


def tracked_files() -> list[Path]:
    """The files of the repository, or, in an export without git, those of the working directory."""
    done = run("git", "ls-files", "-z")
    if done.returncode:
        skip = {".venv", "var", ".git"}
        files = [path for path in PROJECT_DIR.rglob("*") if not skip & set(path.relative_to(PROJECT_DIR).parts)]
        return [path for path in files if path.is_file() and "__pycache__" not in path.parts]
    return [path for name in done.stdout.split("\0") if name and (path := PROJECT_DIR / name).is_file()]


def test_style() -> None:
    done = run(str(BIN / "ruff"), "check", ".")
    assert done.returncode == 0, report(done)


def test_format() -> None:
    done = run(str(BIN / "ruff"), "format", "--check", ".")
    assert done.returncode == 0, report(done)


@pytest.mark.timeout(300)
def test_types() -> None:
    done = run(str(BIN / "mypy"))
    assert done.returncode == 0, report(done)


def test_imports_point_one_way() -> None:
    done = run(str(BIN / "lint-imports"))
    assert done.returncode == 0, report(done)


def test_no_migration_is_missing(transactional_db: None) -> None:
    done = manage("makemigrations", "--check", "--dry-run")
    assert done.returncode == 0, report(done)


def test_system_checks_are_silent() -> None:
    done = manage("check", "--fail-level", "WARNING")
    assert done.returncode == 0, report(done)


def test_the_openapi_schema_is_valid_complete_and_the_committed_one() -> None:
    # Given / When
    done = manage("spectacular", "--validate", "--fail-on-warn")
    # Then
    assert done.returncode == 0, report(done)
    committed = (PROJECT_DIR / "docs" / "openapi.yml").read_text()
    assert done.stdout == committed, "the API has changed: make openapi, and look at the difference"
    paths = yaml.safe_load(done.stdout)["paths"]
    assert {
        "/api/documents/process",
        "/api/documents/task/{task_id}/status",
        "/api/documents/task/{task_id}/result",
        "/api/documents/task/{task_id}/retry",
        "/api/documents/queue/stats",
    } <= set(paths)


@pytest.mark.parametrize("name", ["base", "tracing", "dev", "bench"])
def test_requirements_are_pinned_and_hashed_and_name_no_host(name: str) -> None:
    text = (PROJECT_DIR / "requirements" / f"{name}.txt").read_text()
    packages = re.findall(r"^[a-z0-9][^\n]*(?:\n    --hash=[^\n]*)+", text, re.MULTILINE)
    assert len(packages) == len(re.findall(r"^[a-z0-9]", text, re.MULTILINE)) > 10
    assert all(re.match(r"[a-z0-9._-]+(?:\[[a-z0-9,-]+\])?==\S", package) for package in packages)
    assert "://" not in text


def test_requirements_agree_with_each_other() -> None:
    """One version of a package for tests, bench and production; otherwise a test proves nothing about them."""
    pins: dict[str, dict[str, str]] = {}
    for name in ("base", "tracing", "dev", "bench"):
        text = (PROJECT_DIR / "requirements" / f"{name}.txt").read_text()
        pins[name] = dict(re.findall(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", text, re.MULTILINE))
    for other in ("tracing", "dev", "bench"):
        different = {key for key in pins["base"] if pins[other].get(key) != pins["base"][key]}
        assert not different, other


def test_make_help_names_every_target() -> None:
    listed = run("make", "help").stdout
    for target in ("run", "test", "bench", "lint", "requirements", "samples", "clean"):
        assert f"make {target} " in listed


@pytest.mark.parametrize("version", ["(3, 10)", "(3, 15)"])
def test_other_pythons_are_refused_with_a_clear_word(version: str, tmp_path: Path) -> None:
    # Given an interpreter that says it is another version
    fake = tmp_path / "sitecustomize.py"
    fake.write_text(f"import sys\nsys.version_info = {version} + (0, 'final', 0)\n")
    # When
    done = run(sys.executable, "manage.py", "check", PYTHONPATH=str(tmp_path))
    # Then
    assert done.returncode == 1
    assert done.stderr.startswith("This service needs Python 3.11 to 3.14; this is Python 3.1")


def test_every_suppressed_finding_says_why() -> None:
    """`# noqa` and `# type: ignore` name the rule, and the line gives the reason."""
    bare = re.compile(r"#\s*(noqa|type: ignore)(?!(: ?[A-Z0-9, ]+|\[[a-z-, ]+\]) {1,2}(#|\()\s?\S)")
    found = [
        f"{path.relative_to(PROJECT_DIR)}:{number}: {line.strip()}"
        for path in tracked_files()
        if path.suffix == ".py" and path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if bare.search(line)
    ]
    assert not found, "\n".join(found)
