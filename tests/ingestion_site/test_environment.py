"""A wrong variable stops the start with one line that names it; secrets are made once and kept private."""

import os
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_site import environment, secret_files
from ingestion_site.environment import PROJECT_DIR, WrongSetting
from tests.conftest import SERVICE_VARIABLES


def manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT_DIR,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


WRONG = [
    ("DEBUG", "maybe", "true or false"),
    ("LOG_LEVEL", "LOUD", "one of DEBUG, INFO"),
    ("SECRET_KEY", "short", "at least 32 random characters"),
    ("DATABASE_URL", "mysql://db/name", "sqlite:// or postgres://"),
    ("DATABASE_URL", "postgresql://db:port/name", "sqlite:// or postgres://"),
    ("DATABASE_URL", "postgresql://db", "with the database's name"),
    ("REDIS_URL", "localhost:6379", "redis://"),
    ("QUEUE_NAME", "a queue", "letters, digits"),
    ("TASK_STATUS_EXPIRY_HOURS", "0", "from 1 to"),
    ("AUDIT_RETENTION_DAYS", "1.5", "a whole number"),
    ("MAX_QUEUE_SIZE", "many", "a whole number"),
    ("MAX_DOCUMENT_BYTES", "-1", "from 1 to"),
    ("MAX_ATTEMPTS", "0", "from 1 to 100"),
    ("MAX_BACKOFF_SECONDS", "2", "at least MIN_BACKOFF_SECONDS (5)"),
    ("EXTRACTION_TIMEOUT_SECONDS", "none", "a whole number"),
    ("WORKER_PROCESSES", "0", "from 1 to 256"),
    ("WORKER_THREADS", "999", "from 1 to 256"),
    ("S3_ENDPOINT_URL", "s3.example.org", "http:// or https://"),
    ("S3_ACCESS_KEY_ID", "id-without-secret", "set together with"),
    ("WEBHOOK_SECRET", "whsec_tooshort", "24 to 64 random bytes"),
    ("WEBHOOK_SECRET", "c2VjcmV0" * 4, "whsec_"),
    ("WEBHOOK_ALLOW_PRIVATE", "2", "true or false"),
    ("CSRF_TRUSTED_ORIGINS", "example.org", "https://"),
    ("ENV_FILE", "/nowhere/.env", "a readable file"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG)
def test_a_wrong_value_is_refused_with_its_name_and_what_is_allowed(
    name: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given
    monkeypatch.setenv(name, value)
    # When / Then
    with pytest.raises(WrongSetting) as caught:
        environment.read()
    message = str(caught.value)
    assert "\n" not in message
    assert re.match(r"[A-Z0-9_]+ must be ", message)
    assert allowed in message


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "SECRET_KEY", "WEBHOOK_SECRET"])
def test_a_wrong_secret_is_not_repeated(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "wrong://user:hunter2@host")
    with pytest.raises(WrongSetting) as caught:
        environment.read()
    assert "hunter2" not in str(caught.value)


def test_the_start_stops_with_one_line_and_no_traceback() -> None:
    done = manage("check", MAX_ATTEMPTS="lots")
    assert done.returncode == 1
    assert done.stderr.startswith("MAX_ATTEMPTS must be a whole number from 1 to 100 (it is 'lots').")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    # Given a file where the directory should be
    (tmp_path / "file").touch()
    # When
    done = manage("check", "--data-dir", str(tmp_path / "file"))
    # Then
    assert done.returncode == 1
    assert done.stderr.startswith("DATA_DIR must be a directory")


def test_the_data_directory_of_the_command_line_wins(tmp_path: Path) -> None:
    done = manage("check", f"--data-dir={tmp_path / 'mine'}", DATA_DIR=str(tmp_path / "other"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "secret_key").exists()
    assert not (tmp_path / "other").exists()


def test_a_file_fills_what_the_environment_leaves_open(tmp_path: Path) -> None:
    # Given a file that sets two variables, one of which the environment sets too
    file = tmp_path / "my.env"
    file.write_text("# a comment\nMAX_ATTEMPTS=7\nWORKER_THREADS=3\n")
    code = "from ingestion_site import environment as e; r = e.read(); print(r.max_attempts, r.worker_threads)"
    # When
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True, check=True,
        env={**os.environ, "ENV_FILE": str(file), "WORKER_THREADS": "5"},
    )  # fmt: skip
    # Then
    assert done.stdout.split() == ["7", "5"]


@given(st.text(max_size=30))
def test_a_whole_number_is_read_or_refused_never_a_surprise(text: str) -> None:
    class Env:
        def str(self, name: str, default: str) -> str:
            return text

    reader = environment.Reader(Env())
    try:
        value = reader.integer("MAX_ATTEMPTS", 4, minimum=1, maximum=100)
    except WrongSetting:
        return
    assert 1 <= value <= 100


def test_the_example_file_names_every_variable_and_no_other() -> None:
    example = (PROJECT_DIR / ".env.example").read_text()
    named = set(re.findall(r"^#?([A-Z0-9_]+)=", example, re.MULTILINE))
    assert named == {*SERVICE_VARIABLES, "DATA_DIR"}
    source = (PROJECT_DIR / "ingestion_site" / "environment.py").read_text()
    read = set(re.findall(r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|DEBUG)"', source)) - {"ENV_FILE", "ENGINE"}
    assert named <= read | {"DATA_DIR"}


def test_the_example_files_defaults_are_the_real_ones(tmp_path: Path) -> None:
    # Given the example with every default switched on
    lines = re.sub(r"^#([A-Z0-9_]+=.+)$", r"\1", (PROJECT_DIR / ".env.example").read_text(), flags=re.MULTILINE)
    file = tmp_path / "example.env"
    file.write_text(re.sub(r"^DATA_DIR=.*$", "", lines, flags=re.MULTILINE))
    code = "from ingestion_site import environment as e; print(e.read())"
    variables = {key: value for key, value in os.environ.items() if key not in SERVICE_VARIABLES}
    shown = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True, check=True,
            env={**variables, "ENV_FILE": str(path)},
        ).stdout
        for path in (file, Path(os.environ["ENV_FILE"]))
    ]  # fmt: skip
    # Then
    assert shown[0] == shown[1]


def test_processes_that_start_together_share_one_secret(tmp_path: Path) -> None:
    # Given / When sixteen of them make it at once
    path = tmp_path / "secret_key"
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(lambda _: secret_files.read_or_create(path, secret_files.new_secret_key), range(64)))
    # Then there is one, for its owner only, and no draft is left
    assert len(secrets) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_sqlite_by_default_and_postgresql_by_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert environment.read().database["NAME"] == tmp_path / "db.sqlite3"
    assert environment.read().database["ENGINE"] == "queueadmin.sqlite"
    monkeypatch.setenv("DATABASE_URL", "sqlite:////somewhere/else.sqlite3")
    assert environment.read().database["NAME"] == Path("/somewhere/else.sqlite3")
    monkeypatch.setenv("DATABASE_URL", "postgres://me:p%40ss@db:5433/docs")
    database = environment.read().database
    assert (database["ENGINE"], database["HOST"], database["PASSWORD"], database["NAME"]) == (
        "django.db.backends.postgresql", "db", "p@ss", "docs",
    )  # fmt: skip
