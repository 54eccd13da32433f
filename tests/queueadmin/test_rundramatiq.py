"""`manage.py rundramatiq`: what it refuses, waits for, and passes on."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dramatiq
import pytest
from django.core.management import CommandError, call_command
from dramatiq.brokers.stub import StubBroker

from queueadmin.broker import LedgerRedisBroker
from queueadmin.models import WorkerProcess
from tests.conftest import WorkerFactory
from tests.processes import family
from tests.servers import PROJECT_DIR, ManageCommand, ValkeyServer, wait_until


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, in a process of its own."""
    return subprocess.run(
        [sys.executable, str(PROJECT_DIR / "manage.py"), "rundramatiq", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **variables},
    )


@contextmanager
def old_redis() -> Iterator[str]:
    """A server that speaks enough of the protocol to say that it is Redis 6."""
    listener = socket.create_server(("127.0.0.1", 0))
    body = b"# Server\r\nredis_version:6.2.14\r\nredis_mode:standalone\r\n"

    def answer(command: bytes) -> bytes:
        if b"HELLO" in command:
            return b"%1\r\n+proto\r\n:3\r\n"
        return b"$%d\r\n%s\r\n" % (len(body), body) if b"\r\nINFO\r\n" in command else b"+OK\r\n"

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(4096):
                    connection.sendall(b"".join(map(answer, data.upper().split(b"\r\n*"))))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_a_redis_below_7_is_refused_with_one_clear_line() -> None:
    with old_redis() as url:
        done = run(REDIS_URL=url)
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: Redis 6.2.14 is too old: Redis 7 or newer")
    assert "Traceback" not in done.stderr


def test_a_redis_that_does_not_answer_is_waited_for_and_then_named(free_port: int) -> None:
    done = run("--wait", "1", REDIS_URL=f"redis://127.0.0.1:{free_port}/0")
    assert done.returncode == 1
    assert "Waiting up to 1 s" in done.stderr
    assert "REDIS_URL" in done.stderr.splitlines()[-1]


def test_a_database_that_does_not_answer_is_named(valkey_server: ValkeyServer, free_port: int) -> None:
    url = f"postgresql://service:hush@127.0.0.1:{free_port}/ingestion"
    done = run("--wait", "0", REDIS_URL=valkey_server.url, DATABASE_URL=url)
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: The database did not answer")
    assert "DATABASE_URL" in done.stderr
    assert "hush" not in done.stderr


@pytest.mark.django_db(transaction=True)
def test_it_starts_as_soon_as_the_servers_that_it_waited_for_are_there(
    service_environment: dict[str, str], free_port: int
) -> None:
    # Given a worker that waits for Redis
    server = ValkeyServer(port=free_port)
    worker = ManageCommand(
        "rundramatiq", "--processes", "1", "--threads", "1", variables={**service_environment, "REDIS_URL": server.url},
        ready=lambda command: "Waiting up to 60 s" in command.output(),
    )  # fmt: skip
    # When Redis comes / Then it goes on by itself
    with worker, server:
        wait_until(lambda: "ready for action" in worker.output(), seconds=60, what="the worker to start")
        assert worker.stop(30) == 0


def test_a_database_without_tables_says_what_to_run(valkey_server: ValkeyServer, tmp_path: Path) -> None:
    done = run("--wait", "0", REDIS_URL=valkey_server.url, DATABASE_URL=f"sqlite:///{tmp_path / 'new.sqlite3'}")
    assert done.returncode == 1
    assert "manage.py migrate" in done.stderr


def test_a_queue_that_no_actor_uses_is_refused_with_those_that_are() -> None:
    with pytest.raises(CommandError, match=r"the queue nope\. Known queues: .*webhooks"):
        call_command("rundramatiq", "--queues", "webhooks", "nope", "--skip-checks")


@pytest.mark.parametrize(
    "arguments", [["--threads", "0"], ["--processes", "0"], ["--use-gevent"], ["--worker-shutdown-timeout", "0"]]
)
def test_options_that_cannot_work_are_refused(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("rundramatiq", *arguments, "--skip-checks")


def test_another_broker_is_refused_with_the_one_that_is_needed() -> None:
    ours = dramatiq.get_broker()
    assert isinstance(ours, LedgerRedisBroker)
    dramatiq.set_broker(StubBroker())
    try:
        with pytest.raises(CommandError, match=r"must be queueadmin\.broker\.LedgerRedisBroker"):
            call_command("rundramatiq", "--skip-checks")
    finally:
        dramatiq.set_broker(ours)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_waits_ends_it_in_order(number: signal.Signals, free_port: int, tmp_path: Path) -> None:
    # Given a command that waits for Redis
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, str(PROJECT_DIR / "manage.py"), "rundramatiq"],
            stderr=output,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "REDIS_URL": f"redis://127.0.0.1:{free_port}/0"},
        )
    try:
        wait_until(lambda: "Waiting" in log.read_text(), what="the command to wait")
        # When it is asked to end, Then it exits with success and says nothing more
        process.send_signal(number)
        assert process.wait(10) == 0
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", ["", "a b", "x" * 101, "w{pid}", "a\nb"])
def test_a_worker_id_is_a_plain_word(name: str) -> None:
    with pytest.raises(CommandError, match="--worker-id must be 1 to 100 letters"):
        call_command("rundramatiq", f"--worker-id={name}", "--skip-checks")


def test_a_redis_url_that_comes_too_late_is_refused() -> None:
    with pytest.raises(CommandError, match="set REDIS_URL"):
        call_command("rundramatiq", "--redis-url", "redis://localhost/1", "--skip-checks")


@pytest.mark.django_db(transaction=True)
def test_its_options_reach_the_workers(service_environment: dict[str, str], free_port: int) -> None:
    # Given a worker with a name, for webhooks only, with little time to leave, and the broker as an option
    worker = ManageCommand(
        "rundramatiq", "--processes", "1", "--threads", "1", "--queues", "webhooks", "--worker-id", "west/1",
        "--worker-shutdown-timeout", "3000", "--redis-url", service_environment["REDIS_URL"],
        variables={**service_environment, "REDIS_URL": f"redis://127.0.0.1:{free_port}/0", "LOG_FORMAT": "json"},
        ready=lambda command: "Worker process is ready for action" in command.output(),
    )  # fmt: skip
    with worker:
        # Then it registered for that queue under that name, and was given its three seconds
        row = WorkerProcess.objects.get(stopped_at=None)
        assert (row.queues, row.name) == (["webhooks"], "west/1")
        (child,) = [int(pid) for pid in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()[:1]]
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        assert b"QUEUEADMIN_QUEUES=webhooks" in environment
        assert b"QUEUEADMIN_SHUTDOWN_SECONDS=3.0" in environment
        assert b"QUEUEADMIN_HOST_PROCESSES=1" in environment
        # And no process shows the broker's password to whoever lists them
        assert b"test-password" not in Path(f"/proc/{worker.pid}/cmdline").read_bytes()
        # And SIGTERM right away ends it in order
        started = time.monotonic()
        assert worker.stop(20) == 0
        assert time.monotonic() - started < 8
        # And everything that it said was JSON, also what its master said; the worker's lines carry its name
        lines = [json.loads(line) for line in worker.output().splitlines()]
        assert {line["logger"] for line in lines} >= {"dramatiq.MainProcess", "queueadmin.worker"}
        assert {line["worker"] for line in lines if line["logger"] == "queueadmin.worker"} == {"west/1"}


@pytest.mark.django_db(transaction=True)
def test_several_processes_share_a_name_and_add_their_number(live_worker: WorkerFactory) -> None:
    # Given two processes of one name
    worker = live_worker(processes=2, options=["--worker-id", "west"])
    names = set(WorkerProcess.objects.filter(stopped_at=None).values_list("name", flat=True))
    # Then each adds its process id
    assert {name.partition(":")[0] for name in names} == {"west"}
    assert len(names) == 2
    assert {int(name.partition(":")[2]) for name in names} <= set(family(worker.pid))
    # And the health check knows both under the name that they were given
    output = io.StringIO()
    call_command("worker_health", "--worker-id", "west", stdout=output)
    assert len(output.getvalue().splitlines()) == 2
