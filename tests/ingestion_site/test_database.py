"""What PostgreSQL ends by itself, seen on a real server: nobody waits for ever for a process that fell silent."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection, transaction

from queueadmin.models import Job
from tests.queueadmin.factories import claimed, submitted
from tests.servers import PROJECT_DIR, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

STOP_IN_THE_MIDDLE = """
import os, signal, sys, uuid
import django
django.setup()
from django.db import DatabaseError, InterfaceError, transaction
from queueadmin import lifecycle
from tests.queueadmin.factories import claimed

job = claimed(uuid.UUID(sys.argv[1]))
try:
    with transaction.atomic():
        lifecycle.finish([lifecycle.complete(job)], worker_id=4242)
        print("stopped", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
except (DatabaseError, InterfaceError) as error:
    print("lost", type(error).__name__, flush=True)
"""


@pytest.fixture
def postgresql(service_environment: dict[str, str]) -> dict[str, str]:
    """The environment of another process of the service; skips on SQLite."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no sessions that could be idle")
    return {**os.environ, **service_environment, "DJANGO_SETTINGS_MODULE": "ingestion_site.settings"}


@pytest.fixture
def stopped_worker(postgresql: dict[str, str]) -> Iterator[tuple[uuid.UUID, subprocess.Popen[str]]]:
    """A job, and a process that was stopped in the transaction that writes its outcome."""
    job_id = submitted()
    command = [sys.executable, "-c", STOP_IN_THE_MIDDLE, str(job_id)]
    environment = {**postgresql, "DATABASE_IDLE_IN_TRANSACTION_SECONDS": "2"}
    with subprocess.Popen(command, env=environment, cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "stopped\n"
            yield job_id, process
        finally:
            process.kill()


def test_a_worker_that_is_stopped_in_its_outcomes_transaction_keeps_no_lock_for_long(
    stopped_worker: tuple[uuid.UUID, subprocess.Popen[str]],
) -> None:
    # Given a process that holds the job's row and was stopped
    job_id, process = stopped_worker
    held = Job.objects.select_for_update(skip_locked=True).filter(pk=job_id).values("state")
    started = time.monotonic()

    def is_free() -> bool:
        with transaction.atomic():
            return bool(list(held.all()))

    assert not is_free()
    # Then PostgreSQL ends its session within the limit, and the job is as before
    wait_until(is_free, seconds=20, every=0.1, what="the lock to be gone")
    assert time.monotonic() - started < 8
    assert Job.objects.get(pk=job_id).state == "processing"
    # And when it wakes up, it learns that nothing was written
    process.send_signal(signal.SIGCONT)
    assert process.stdout is not None
    assert process.stdout.readline() == "lost InternalError\n"
    assert claimed(submitted())  # and this test's own session is in order


@pytest.mark.parametrize("process", ["", "web"])
def test_a_session_has_the_limits_of_its_process(postgresql: dict[str, str], process: str) -> None:
    code = (
        "import django; django.setup(); from django.db import connection; cursor = connection.cursor()\n"
        "for name in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'):\n"
        "    cursor.execute(f'SHOW {name}'); print(cursor.fetchone()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**postgresql, "QUEUEADMIN_PROCESS": process},
        cwd=PROJECT_DIR, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["30s" if process else "0", "10s", "15s"]


def test_a_statement_that_waits_for_a_lock_gives_up_and_the_writer_goes_on_later(postgresql: dict[str, str]) -> None:
    # Given a table that somebody locks
    url = postgresql["DATABASE_URL"]
    code = (
        "import django; django.setup(); from queueadmin.models import Job; from django.db import OperationalError\n"
        "try: Job.objects.count()\n"
        "except OperationalError as error: print(type(error.__cause__).__name__)"
    )
    with psycopg.connect(url) as locker:
        locker.execute("LOCK TABLE queueadmin_job IN ACCESS EXCLUSIVE MODE")
        # When another process reads it, Then it waits for a second and says why it gave up
        done = subprocess.run(
            [sys.executable, "-c", code], env={**postgresql, "DATABASE_LOCK_SECONDS": "1"},
            cwd=PROJECT_DIR, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    assert done.stdout == "LockNotAvailable\n"


def test_a_worker_has_the_statements_that_it_repeats_prepared(postgresql: dict[str, str]) -> None:
    """Planning a claim anew each time was two fifths of its cost; see docs/adr/0020."""
    # Given claims in a row
    for _ in range(6):
        claimed(submitted())
    # When PostgreSQL is asked what this session has prepared
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements WHERE statement LIKE %s", ["WITH l AS%'claim'%"])
        prepared = cursor.fetchall()
    # Then it is one statement, whatever jobs were claimed
    assert len(prepared) == 1
