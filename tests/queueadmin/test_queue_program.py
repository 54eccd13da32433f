"""`manage.py queue` as a program: what is typed, exit codes, Ctrl-C and the bar; none of it differs by database."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import uuid

import pytest

from queueadmin.states import State
from tests.queueadmin.factories import job_in, state_of, submitted
from tests.servers import PROJECT_DIR

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]


def program(environment: dict[str, str], *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "queue", *arguments],
        cwd=PROJECT_DIR, env={**os.environ, **environment}, input=typed, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "code", "state"), [("q\n", 0, "cancelled"), ("yes\n", 1, "pending"), ("", 1, "pending")]
)
def test_flush_wants_the_queues_name_typed(
    service_environment: dict[str, str], typed: str, code: int, state: str
) -> None:
    job_id = submitted()
    done = program(service_environment, "flush", "q", typed=typed)
    assert done.returncode == code, done.stderr
    assert state_of(job_id) == state
    assert "1 pending job of q will be cancelled" in done.stderr


def test_exit_codes_of_the_program(service_environment: dict[str, str]) -> None:
    assert program(service_environment, "stats", "--json").returncode == 0
    unknown = program(service_environment, "status", str(uuid.uuid4()))
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "There is no job" in unknown.stderr
    assert "Traceback" not in unknown.stderr


def test_watching_shows_what_changes_until_it_is_interrupted(service_environment: dict[str, str]) -> None:
    # Given somebody who watches, as a script does
    with subprocess.Popen(
        [sys.executable, "manage.py", "queue", "stats", "--watch", "0.2", "--json"],
        cwd=PROJECT_DIR, env={**os.environ, **service_environment}, stdout=subprocess.PIPE, text=True,
    ) as watching:  # fmt: skip
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["jobs"]["pending"] == 0
        # When a job is submitted / Then the next lines count it
        submitted()
        seen = (json.loads(line)["jobs"]["pending"] for line in watching.stdout)
        assert next(pending for pending in seen if pending) == 1
        # And Ctrl-C is the ordinary end
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 0


def test_long_operations_show_a_bar_to_whoever_watches(service_environment: dict[str, str]) -> None:
    # Given a terminal
    master, terminal = pty.openpty()
    job_in(State.FAILED)
    # When
    with subprocess.Popen(
        [sys.executable, "manage.py", "queue", "retry", "--failed"],
        cwd=PROJECT_DIR, env={**os.environ, **service_environment, "TERM": "xterm"}, stdout=terminal, stderr=terminal,
    ) as process:  # fmt: skip
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(master, 65_536):
                shown += part
        assert process.wait(60) == 0
    os.close(master)
    # Then
    assert b"Queueing again" in shown
    assert b"1 job queued again." in shown
