"""`manage.py up`: from nothing to ingested documents, and nothing left behind however it ends."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from django.core.management import ManagementUtility

from ingestion_site.embedded import leash
from tests.conftest import SERVICE_VARIABLES
from tests.processes import alive, family
from tests.servers import PROJECT_DIR, ManageCommand, PostgresServer, S3Server, ValkeyServer, wait_until

pytestmark = [pytest.mark.timeout(180), pytest.mark.skipif(os.name != "posix", reason="POSIX processes")]

SAMPLES = {
    path.name
    for path in (PROJECT_DIR / "samples").iterdir()
    if path.suffix not in (".py", "") and path.stem != "README"
}
UpFactory = Callable[..., ManageCommand]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[UpFactory]:
    """`up("--no-samples")` starts `manage.py up` on an empty data directory, with nothing set."""
    started: list[ManageCommand] = []

    def start(*arguments: str, until: str = "Ctrl-C stops everything", **variables: str) -> ManageCommand:
        command = ManageCommand(
            "up", "--data-dir", str(tmp_path / "var"), *arguments,
            variables=variables,
            without=(*SERVICE_VARIABLES, "DATA_DIR"),
            ready=lambda command: until in command.output(),
        )  # fmt: skip
        started.append(command)
        command.start()
        return command

    yield start
    for command in started:
        command.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManageCommand]:
    """A running `up` for the tests that leave it so; a start takes seconds."""
    data_dir = tmp_path_factory.mktemp("running") / "var"
    with ManageCommand(
        "up", "--data-dir", str(data_dir), "--no-samples", "--port", "0", "--processes", "1",
        variables={}, without=(*SERVICE_VARIABLES, "DATA_DIR"),
        ready=lambda command: "Ctrl-C stops everything" in command.output(),
    ) as command:  # fmt: skip
        yield command


def address(command: ManageCommand) -> str:
    found = re.search(r"(http://127\.0\.0\.1:\d+)/admin/", command.output())
    assert found
    return found[1]


def everyone(command: ManageCommand) -> list[int]:
    """All processes of a running `up`: broker, web server, workers, and their children."""
    pids = family(command.pid)
    assert len(pids) > 6
    return pids


def manage(data_dir: Path, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    variables = {key: value for key, value in os.environ.items() if key not in SERVICE_VARIABLES}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments, "--data-dir", str(data_dir)],
        cwd=PROJECT_DIR, env={**variables, **given}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_every_sample_completes_and_up_exits_with_zero(up: UpFactory, tmp_path: Path) -> None:
    # Given / When: a fresh data directory
    command = up("--exit-after-samples", "--port", "0", "--processes", "1", until="samples completed.")
    assert command.process is not None
    assert command.process.wait(60) == 0
    # Then the table names every sample
    output = command.output()
    for name in SAMPLES:
        assert re.search(rf"{re.escape(name)}.*completed", output), name
    for words in ("engine", "characters", "pages"):
        assert words in output
    # And the password that is shown only on the first start is not lost with a run that stops at once
    for words in ("/admin/", "/api/docs/", "curl", "password"):
        assert words in output
    assert "Traceback" not in output
    # And secrets are their owner's alone
    for name in ("secret_key", "webhook_secret", "embedded.json"):
        assert stat.S_IMODE((tmp_path / "var" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700


def test_the_printed_curl_command_and_password_work_and_ctrl_c_leaves_nobody(up: UpFactory, tmp_path: Path) -> None:
    # Given a running service
    command = up("--no-samples", "--port", "0", "--processes", "1")
    base = address(command)
    # When the command is pasted into a shell
    pasted = re.search(r"^curl -sS -X POST .*?'$", command.output(), re.MULTILINE | re.DOTALL)
    assert pasted
    answer = json.loads(subprocess.run(["sh", "-c", pasted[0]], capture_output=True, check=True).stdout)
    # Then the task is accepted and completes
    key = re.search(r"Bearer ([^']+)'", pasted[0])
    assert key
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {key[1]}"}) as client:
        status = answer["status_url"]
        wait_until(lambda: client.get(status).json()["status"] == "completed", what="the pasted task to complete")
    # And so do the commands that read it
    reading = re.findall(r"^curl -sS -w .*'$", command.output(), re.MULTILINE)
    read = [
        subprocess.run(["sh", "-c", f"TASK={answer['task_id']}; {line}"], capture_output=True, check=True).stdout
        for line in reading
    ]
    assert json.loads(read[0])["task_id"] == answer["task_id"]
    assert read[1].strip()
    assert read[1].endswith(b"\n")
    # And webhooks will carry the address that it is read from
    (worker, *_) = [pid for pid in everyone(command) if b"rundramatiq" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert f"PUBLIC_URL={base}".encode() in Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")
    # And the password opens the admin
    password = re.search(r"password (\S+)", command.output())
    assert password
    with httpx.Client(base_url=base, follow_redirects=True) as client:
        client.get("/admin/login/")
        form = {"username": "admin", "password": password[1], "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        assert "Log out" in client.post("/admin/login/?next=/admin/", data=form).text
    # And another shell finds the embedded broker
    assert f"manage.py --data-dir {tmp_path / 'var'} queue stats" in command.output()
    shown = manage(tmp_path / "var", "queue", "stats", "--json")
    assert shown.returncode == 0, shown.stderr
    # When Ctrl-C is pressed
    pids = everyone(command)
    os.kill(command.pid, signal.SIGINT)
    assert command.process is not None
    assert command.process.wait(40) == 0
    # Then
    assert alive(pids) == []
    assert command.output().rstrip().endswith("Stopped.")
    # And the demo key ended with its run
    again = up("--no-samples", "--port", "0", "--processes", "1")
    refused = httpx.get(address(again) + answer["status_url"], headers={"Authorization": f"Bearer {key[1]}"})
    assert refused.status_code == 401
    # And the second start reuses the directory: no second staff user
    assert "Staff user" not in again.output()


def test_sigkill_of_up_takes_every_process_with_it(up: UpFactory, tmp_path: Path) -> None:
    # Given workers that have ingested the samples: their extraction children live, in sessions of their own
    command = up("--port", "0", "--processes", "2")
    pids = everyone(command)
    assert len({os.getsid(pid) for pid in pids}) > 5  # up, broker, web server, two workers, and at least one child
    # When
    command.kill()
    # Then, without anybody's help
    wait_until(lambda: not alive(pids), seconds=10, what=f"{pids} to end")
    # And the next start is not in the way of what was left
    command.log.write_text("")
    command.arguments = (*command.arguments, "--no-samples")
    command.start()
    assert "another" not in command.output().lower()


def test_what_is_killed_comes_back_and_people_are_told(running: ManageCommand) -> None:
    # Given
    services: dict[str, int] = {}
    for pid in family(running.pid):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        for name in ("valkey-server", "granian", "queueadmin.management.master"):
            if leash.__file__ not in words and name in " ".join(words[:3]):
                services.setdefault(name, pid)
    assert len(services) == 3, services
    # When broker, web server and worker are killed
    for pid in services.values():
        os.kill(pid, signal.SIGKILL)
    # Then
    for name in ("valkey", "web", "worker 1"):
        wait_until(lambda name=name: f"{name} started again" in running.output(), what=f"{name} to come back")
        assert f"{name} ended (signal 9)" in running.output()
    wait_until(lambda: healthy(address(running)), what="the service to be healthy again")


def healthy(base: str) -> bool:
    try:
        health = httpx.get(f"{base}/health/ready").json()
        return {health["status"], health["database"]["status"], health["broker"]["status"]} == {"ok"}
    except httpx.HTTPError:
        return False


def test_a_port_in_use_stops_the_start_before_anything_runs(tmp_path: Path) -> None:
    # Given somebody else's server
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        # When
        done = manage(tmp_path / "var", "up", "--port", str(port))
    # Then
    assert done.returncode == 1
    assert f"Port {port} of 127.0.0.1 cannot be used" in done.stderr
    assert "--port" in done.stderr
    assert not (tmp_path / "var" / "valkey").exists()
    assert not (tmp_path / "var" / "db.sqlite3").exists()


def test_a_second_up_on_the_same_directory_is_refused(running: ManageCommand) -> None:
    data_dir = Path(running.arguments[2])
    done = manage(data_dir, "up", "--port", "0")
    assert done.returncode == 1
    assert f"(process {running.pid}) uses {data_dir}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--port", "70000"], "from 0 to 65535"),
        (["--threads", "0"], "from 1 to 256"),
        (["--processes", "x"], "from 1 to 256"),
        (["--no-samples", "--exit-after-samples"], "exclude each other"),
    ],
)
def test_wrong_options_are_refused_with_what_is_allowed(
    capsys: pytest.CaptureFixture[str], arguments: list[str], allowed: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        ManagementUtility(["manage.py", "up", *arguments]).execute()
    assert caught.value.code in (1, 2)
    said = capsys.readouterr().err
    assert allowed in said
    assert "Traceback" not in said


def test_given_servers_are_used_and_never_migrated_or_started(
    up: UpFactory, tmp_path: Path, postgres_server: PostgresServer, valkey_server: ValkeyServer
) -> None:
    # Given an empty database of somebody's own, and a broker
    name = f"up_{os.getpid()}"
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    given = {"DATABASE_URL": postgres_server.url(name), "REDIS_URL": valkey_server.url}
    # When it is not migrated / Then up says what to do
    refused = manage(tmp_path / "var", "up", "--port", "0", **given)
    assert refused.returncode == 1
    assert "manage.py migrate" in refused.stderr
    # When it is / Then the samples pass through both, and what is wrong with the broker is said
    assert manage(tmp_path / "var", "migrate", **given).returncode == 0
    with valkey_server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        command = up("--exit-after-samples", "--port", "0", "--processes", "1", until="samples completed.", **given)
        client.config_set("maxmemory-policy", "noeviction")
    assert "CONFIG SET maxmemory-policy noeviction" in " ".join(command.output().split())
    assert len(re.findall("maxmemory-policy is allkeys-lru", " ".join(command.output().split()))) == 1
    assert not (tmp_path / "var" / "valkey").exists()
    assert not (tmp_path / "var" / "db.sqlite3").exists()


def test_a_bucket_gets_no_samples_and_its_curl_command_says_what_to_replace(
    up: UpFactory, tmp_path: Path, s3_server: S3Server
) -> None:
    # Given documents in a bucket
    bucket = {
        "S3_BUCKET": "somebodys-own", "S3_ENDPOINT_URL": s3_server.url, "S3_REGION": s3_server.region,
        "S3_ACCESS_KEY_ID": s3_server.access_key_id, "S3_SECRET_ACCESS_KEY": s3_server.secret_access_key,
    }  # fmt: skip
    # When samples are wanted / Then that is refused
    refused = manage(tmp_path / "var", "up", "--port", "0", **bucket)
    assert refused.returncode == 1
    assert "--no-samples" in refused.stderr
    # When they are not / Then none is copied to where nobody reads it, and no command names one
    command = up("--no-samples", "--port", "0", "--processes", "1", **bucket)
    assert not (tmp_path / "var" / "documents" / "samples").exists()
    assert "the bucket somebodys-own: replace KEY/OF/YOUR/document.pdf" in command.output()
    assert '"r2_key": "KEY/OF/YOUR/document.pdf"' in command.output()
    assert "samples/" not in command.output()


@pytest.mark.parametrize(
    ("name", "url", "said"),
    [
        (
            "REDIS_URL",
            "redis://:hunter2@127.0.0.1:{port}/0",
            "The broker, 127.0.0.1:{port}, cannot be used",
        ),
        ("DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:{port}/db", "The database cannot be used"),
    ],
)
def test_given_servers_that_do_not_answer_are_named(
    tmp_path: Path, free_port: int, name: str, url: str, said: str
) -> None:
    done = manage(tmp_path / "var", "up", "--port", "0", **{name: url.format(port=free_port)})
    assert done.returncode == 1
    assert said.format(port=free_port) in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
