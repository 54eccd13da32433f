"""`check --deploy` names every weak setting, and is silent about a hardened deployment."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from django.conf import settings
from django.core.checks import CheckMessage

from ingestion_site import checks, environment, secret_files
from ingestion_site.environment import PROJECT_DIR
from tests.conftest import SERVICE_VARIABLES

STRONG = {
    "SECRET_KEY": secret_files.new_secret_key(),
    "WEBHOOK_SECRET": secret_files.new_webhook_secret(),
    "DATABASE_URL": "postgresql://ingestion:Vq3mZs8YtB1xKfLw@db.example.org/ingestion?sslmode=verify-full",
    "REDIS_URL": "rediss://ingestion:h7Wc2RnQd9GvXjPb@redis.example.org:6379/0",
    "ALLOWED_HOSTS": "ingest.example.org",
    "BEHIND_HTTPS_PROXY": "true",
    "S3_ENDPOINT_URL": "https://s3.example.org",
    "S3_BUCKET": "documents",
}
"""A deployment that has nothing to be ashamed of."""

WEAK = [
    ("ingestion.W001", "SECRET_KEY", "django-insecure-" + "k3v9" * 10),
    ("ingestion.W001", "SECRET_KEY", "a" * 64),
    ("ingestion.W001", "ENCRYPTION_KEYS", "abc" * 20),
    ("ingestion.W001", "WEBHOOK_SECRET", "whsec_" + "A" * 40),
    ("ingestion.W001", "METRICS_TOKEN", "0000000000000000000"),
    ("ingestion.W001", "REDIS_URL", "rediss://:changeme@redis.example.org"),
    ("ingestion.W001", "DATABASE_URL", "postgresql://postgres:postgres@127.0.0.1/postgres"),
    ("ingestion.W002", "REDIS_URL", "rediss://redis.example.org"),
    ("ingestion.W003", "REDIS_URL", "redis://:h7Wc2RnQd9GvXjPb@redis.example.org"),
    ("ingestion.W003", "REDIS_SENTINELS", "a.example.org:26379,localhost:26379"),
    ("ingestion.W004", "DATABASE_URL", "postgresql://u:Vq3mZs8YtB1xKfLw@db.example.org/d"),
    ("ingestion.W004", "DATABASE_URL", "postgresql://u:Vq3mZs8YtB1xKfLw@db.example.org/d?sslmode=prefer"),
    ("ingestion.W005", "DATABASE_URL", ""),
    ("ingestion.W006", "ALLOWED_HOSTS", "ingest.example.org,*"),
    ("ingestion.W007", "WEBHOOK_ALLOW_PRIVATE", "true"),
    ("ingestion.W008", "S3_ENDPOINT_URL", "http://s3.example.org"),
    ("ingestion.W009", "BEHIND_HTTPS_PROXY", "false"),
    ("ingestion.W012", "WEBHOOK_SECRET", ""),
    ("ingestion.W012", "SECRET_KEY", ""),
]


def found(data_dir: Path, patch: pytest.MonkeyPatch, **variables: str) -> list[CheckMessage]:
    for name in SERVICE_VARIABLES:
        patch.delenv(name, raising=False)
    patch.setenv("DATA_DIR", str(data_dir))
    for name, value in (STRONG | variables).items():
        patch.setenv(name, value)
    return list(checks.weak_settings(environment.read()))


def ids(messages: Iterable[CheckMessage]) -> set[str]:
    return {str(message.id) for message in messages}


def test_a_hardened_deployment_is_not_warned_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(tmp_path, monkeypatch) == []


@pytest.mark.parametrize(("check_id", "name", "value"), WEAK)
def test_each_weak_setting_is_named(
    check_id: str, name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a hardened deployment with one weakness
    if name == "REDIS_SENTINELS":
        monkeypatch.setenv("REDIS_URL", "redis://:h7Wc2RnQd9GvXjPb@ignored")
        messages = found(tmp_path, monkeypatch, REDIS_URL="redis://:h7Wc2RnQd9GvXjPb@ignored", REDIS_SENTINELS=value)
    else:
        messages = found(tmp_path, monkeypatch, **{name: value})
    # Then that, and only that, is said, with the variable to change, and without the secret
    assert ids(messages) == {check_id}
    said = json.dumps([(message.msg, message.hint) for message in messages])
    assert name.removesuffix("SENTINELS").rstrip("_") in said
    if check_id == "ingestion.W001":
        assert value not in said
    assert "h7Wc2RnQd9GvXjPb" not in said
    assert "Vq3mZs8YtB1xKfLw" not in said


def test_on_one_machine_neither_password_nor_tls_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = {"REDIS_URL": "redis://127.0.0.1", "DATABASE_URL": "postgresql://u@localhost/d"}
    assert found(tmp_path, monkeypatch, **local) == []
    assert found(tmp_path, monkeypatch, REDIS_URL="unix:///run/valkey.sock") == []


@pytest.mark.parametrize("make", [secret_files.new_secret_key, secret_files.new_webhook_secret])
def test_secrets_that_the_service_makes_are_not_called_weak(make: object) -> None:
    assert not any(checks.is_guessable(make()) for _ in range(200))  # type: ignore[operator]  # pytest's parameters have no type


def test_files_that_others_may_read_are_named(tmp_path: Path) -> None:
    open_file, private = tmp_path / "open", tmp_path / "private"
    for file, mode in ((open_file, 0o644), (private, 0o600)):
        file.touch()
        file.chmod(mode)
    messages = list(checks._open_files((open_file, private, tmp_path / "missing")))
    assert [message.hint for message in messages] == [f"chmod 600 {open_file}"]


def test_root_is_warned_and_others_are_not() -> None:
    assert ids(checks._root(0)) == {"ingestion.W010"}
    assert not ids(checks._root(1000))


def test_the_command_says_it_all_and_debug_too(data_dir: Path) -> None:
    # Given a careless deployment
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=PROJECT_DIR,
        env={**os.environ, "DEBUG": "true", "ALLOWED_HOSTS": "*", "WEBHOOK_ALLOW_PRIVATE": "true"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    # Then it fails, and says why
    assert done.returncode == 1
    for check_id in ("security.W018", "ingestion.W006", "ingestion.W007", "ingestion.W009"):
        assert check_id in done.stderr, done.stderr
    # And HTTPS is one warning that names our switch, not Django's four about its own
    assert "security.W012" not in done.stderr
    assert settings.ENVIRONMENT.redis.password not in done.stderr
