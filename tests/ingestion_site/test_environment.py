"""A wrong variable stops the start with one line that names it; secrets are made once and kept private."""

import os
import re
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dramatiq
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_site import environment, secret_files
from ingestion_site.database import PREPARED
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
    ("LOG_FORMAT", "xml", "one of CONSOLE, JSON"),
    ("LOG_FILE", "/dev/null/service.log", "a file that this user may write"),
    ("LOG_FILE_BYTES", "10", "from 4096 to"),
    ("METRICS_TOKEN", "short", "at least 16 letters"),
    ("METRICS_TOKEN", "with spaces in the middle", "at least 16 letters"),
    ("SECRET_KEY", "short", "at least 32 random characters"),
    ("ENCRYPTION_KEYS", "k" * 40 + ",short", "at least 32 characters each"),
    ("DATABASE_URL", "mysql://db/name", "sqlite:// or postgres://"),
    ("DATABASE_URL", "postgresql://db:port/name", "sqlite:// or postgres://"),
    ("DATABASE_URL", "postgresql://db", "with the database's name"),
    ("DATABASE_URL", "postgresql://db/name?connect_timeout=abc", "connect_timeout is a whole number"),
    ("DATABASE_URL", "postgresql://db/name?keepalives_idle=-1", "keepalives_idle is a whole number"),
    ("DATABASE_URL", "postgresql://db/name?conn_max_age=long", "conn_max_age is a whole number"),
    ("DATABASE_URL", "postgresql://db/name?pool=true", "unlike pool"),
    ("DATABASE_URL", "sqlite:///:memory:", "cannot share a database in memory"),
    ("DATABASE_URL", "sqlite:///file::memory:?cache=shared", "cannot share a database in memory"),
    ("DATABASE_URL", "sqlite://:memory:", "must be"),
    ("REDIS_URL", "localhost:6379", "redis://"),
    ("REDIS_URL", "redis://host?socket_timeout=soon", "redis://"),
    ("REDIS_SENTINELS", "sentinel", "addresses such as"),
    ("REDIS_SENTINELS", "sentinel:port", "addresses such as"),
    ("REDIS_SENTINEL_MASTER", "main", "set with the sentinels"),
    ("REDIS_CLUSTER_NODES", "node:6379,:6379", "addresses such as"),
    ("REDIS_CA_FILE", "/nowhere/ca.pem", "unset unless the URL starts with rediss://"),
    ("QUEUE_NAME", "a queue", "letters, digits"),
    ("QUEUE_NAME", "9queue", "a letter or underscore first"),
    ("QUEUE_NAME", "-x", "a letter or underscore first"),
    ("QUEUE_NAME", ".x", "a letter or underscore first"),
    ("QUEUE_NAME", "q" * 65, "1 to 64 letters"),
    ("QUEUE_NAME", "webhooks", "not webhooks or maintenance"),
    ("QUEUE_NAME", "maintenance", "not webhooks or maintenance"),
    ("QUEUEADMIN_SHUTDOWN_SECONDS", "abc", "a number of seconds from"),
    ("QUEUEADMIN_SHUTDOWN_SECONDS", "nan", "a number of seconds from"),
    ("QUEUEADMIN_SHUTDOWN_SECONDS", "0", "a number of seconds from"),
    ("WORKER_SILENT_SECONDS", "2", "from 3 to 300"),
    ("TASK_STATUS_EXPIRY_HOURS", "0", "from 1 to"),
    ("AUDIT_RETENTION_DAYS", "1.5", "a whole number"),
    ("MAX_QUEUE_SIZE", "many", "a whole number"),
    ("MAX_DOCUMENT_BYTES", "-1", "from 1 to"),
    ("MAX_ATTEMPTS", "0", "from 1 to 100"),
    ("MAX_BACKOFF_SECONDS", "2", "at least MIN_BACKOFF_SECONDS (5)"),
    ("WEBHOOK_MAX_BACKOFF_SECONDS", "2", "at least WEBHOOK_MIN_BACKOFF_SECONDS (10)"),
    ("WEBHOOK_TIMEOUT_SECONDS", "0", "a whole number from 1 to 60"),
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


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ENCRYPTION_KEYS", "WEBHOOK_SECRET"])
def test_a_wrong_secret_is_not_repeated(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "wrong://user:hunter2@host")
    with pytest.raises(WrongSetting) as caught:
        environment.read()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MAX_ATTEMPTS", "lots", "MAX_ATTEMPTS must be a whole number from 1 to 100 (it is 'lots')."),
        ("QUEUEADMIN_SHUTDOWN_SECONDS", "abc", "QUEUEADMIN_SHUTDOWN_SECONDS must be a number of seconds"),
    ],
)
def test_the_start_stops_with_one_line_and_no_traceback(name: str, value: str, said: str) -> None:
    done = manage("check", **{name: value})
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["q", "_q", "Invoices.2026-q3_eu", "q" * 64])
def test_a_queue_name_that_broker_and_ledger_can_hold_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_NAME", name)
    assert environment.read().queue_name == name


def test_the_reserved_queues_are_those_of_our_other_actors() -> None:
    actors = dramatiq.get_broker().actors.values()
    queues = {actor.queue_name for actor in actors if actor.fn.__module__.startswith("documents.")}
    assert {environment.read().queue_name, *environment.RESERVED_QUEUES} == queues


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({}, ""),
        ({"S3_BUCKET": "b", "AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"S3_BUCKET": "b", "AWS_REGION": "eu-west-1", "S3_REGION": "us-east-2"}, "us-east-2"),
        ({"S3_BUCKET": "b", "AWS_REGION": "eu-west-1", "S3_ENDPOINT_URL": "https://r2.test"}, "auto"),
        ({"S3_BUCKET": "b", "S3_REGION": "weur", "S3_ENDPOINT_URL": "https://r2.test"}, "weur"),
    ],
)
def test_the_region_is_automatic_only_at_an_endpoint_of_its_own(
    variables: dict[str, str], region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert environment.read().s3_region == region


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


def read_file(tmp_path: Path, content: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "my.env"
    file.write_text(content)
    variables = {key: value for key, value in os.environ.items() if key not in SERVICE_VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", "from ingestion_site import settings as s; print(s.MAX_ATTEMPTS, s.QUEUE_NAME)"],
        cwd=PROJECT_DIR, capture_output=True, text=True, timeout=60, check=False,
        env={**variables, "ENV_FILE": str(file)},
    )  # fmt: skip


def test_blanks_around_the_equals_sign_quotes_and_a_byte_order_mark_mean_nothing(tmp_path: Path) -> None:
    done = read_file(tmp_path, "\ufeff  MAX_ATTEMPTS = 7 \n   # a comment\n  \nexport QUEUE_NAME= 'mine'\n")
    assert (done.stdout, done.stderr) == ("7 mine\n", "")


@pytest.mark.parametrize("line", ["MAX_ATTEMPTS: 7", "hunter2", "=7", "MAX-ATTEMPTS=7"])
def test_a_line_that_is_no_assignment_stops_the_start_with_its_number(tmp_path: Path, line: str) -> None:
    done = read_file(tmp_path, f"# settings\n{line}\n")
    assert done.returncode == 1
    assert done.stderr == "my.env line 2: write NAME=value, or begin the line with # to make it a comment.\n"


def test_an_unknown_name_is_one_line_with_the_nearest_known_one(tmp_path: Path) -> None:
    done = read_file(tmp_path, "MAX_ATTEMPT=7\nUNHEARD_OF=hunter2\nAWS_PROFILE=mine\nHTTPS_PROXY=\n")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "my.env line 1: MAX_ATTEMPT is no setting of this service. Did you mean MAX_ATTEMPTS?",
        "my.env line 2: UNHEARD_OF is no setting of this service. .env.example names them all.",
    ]


def test_help_mentions_the_data_directory_of_every_command() -> None:
    for arguments in (["help"], ["queue", "--help"]):
        assert "--data-dir DIR" in manage(*arguments).stdout


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
    terminals = {"FORCE_COLOR", "NO_COLOR"}  # conventions of terminals, not settings of ours
    assert named == {*SERVICE_VARIABLES, "DATA_DIR"} - terminals
    source = (PROJECT_DIR / "ingestion_site" / "environment.py").read_text()
    read = set(re.findall(r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|DEBUG|RELEASE)"', source)) - {"ENV_FILE", "ENGINE"}
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


def test_a_connection_into_the_void_ends_in_seconds_unless_the_url_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a URL that sets one of the time-outs, and other options
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/docs?connect_timeout=30&sslmode=require&conn_max_age=0")
    monkeypatch.delenv("QUEUEADMIN_PROCESS", raising=False)
    # When
    database = environment.read().database
    # Then it wins, and the rest have our defaults
    assert database["OPTIONS"] == {
        "connect_timeout": 30, "sslmode": "require", "keepalives": 1, "keepalives_idle": 10,
        "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000,
        "application_name": "ingestion command",
        "options": "-c lock_timeout=10000 -c idle_in_transaction_session_timeout=15000",
        **PREPARED,
    }  # fmt: skip
    assert database["CONN_MAX_AGE"] == 0
    # And the driver takes those that are not Django's
    for_libpq = {name: value for name, value in database["OPTIONS"].items() if name not in PREPARED}
    assert "tcp_user_timeout=15000" in psycopg.conninfo.make_conninfo(**for_libpq)


@pytest.mark.parametrize(("process", "prepares"), [("web", False), ("worker", True), ("", True)])
def test_workers_prepare_their_statements_and_the_web_server_does_not(
    monkeypatch: pytest.MonkeyPatch, process: str, *, prepares: bool
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/docs")
    monkeypatch.setenv("QUEUEADMIN_PROCESS", process)
    assert (environment.read().database["OPTIONS"].items() >= PREPARED.items()) is prepares


@pytest.mark.parametrize("process", ["web", "worker"])
def test_statements_are_limited_where_the_service_serves_and_not_where_somebody_migrates(
    monkeypatch: pytest.MonkeyPatch, process: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/docs?options=-c%20work_mem%3D8MB")
    monkeypatch.setenv("DATABASE_LOCK_SECONDS", "0")
    monkeypatch.delenv("QUEUEADMIN_PROCESS", raising=False)
    idle = "-c idle_in_transaction_session_timeout=15000"
    assert environment.read().database["OPTIONS"]["options"] == f"{idle} -c work_mem=8MB"
    monkeypatch.setenv("QUEUEADMIN_PROCESS", process)
    assert environment.read().database["OPTIONS"]["options"] == f"-c statement_timeout=30000 {idle} -c work_mem=8MB"


def test_behind_a_pooler_of_transactions_nothing_is_left_to_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/docs")
    monkeypatch.setenv("DATABASE_POOLER", "transaction")
    database = environment.read().database
    assert "options" not in database["OPTIONS"]
    assert not PREPARED.keys() & database["OPTIONS"].keys()
    assert database["DISABLE_SERVER_SIDE_CURSORS"] is True


def test_a_database_server_that_accepts_and_says_nothing_is_given_up_in_seconds(free_port: int) -> None:
    # Given a server that accepts connections and never answers
    with socket.create_server(("127.0.0.1", free_port)):
        # When a command needs the database
        started = time.monotonic()
        done = manage("migrate", "--check", DATABASE_URL=f"postgresql://me@127.0.0.1:{free_port}/docs")
    # Then it fails soon
    assert done.returncode != 0
    assert "timeout" in done.stderr
    assert time.monotonic() - started < 30
