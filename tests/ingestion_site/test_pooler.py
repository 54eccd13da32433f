"""The whole service behind PgBouncer, which lends sessions by the transaction: nothing of ours is left in one."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.db import connection

from documents import api_keys
from documents.models import IngestionTask
from queueadmin import lifecycle, sql
from queueadmin.models import Job
from tests.documents.api.client import PROCESS, submission
from tests.documents.api.web import WebServer
from tests.pooler import BINARY, PACKAGE, PgBouncer
from tests.queueadmin.factories import new_job
from tests.servers import PROJECT_DIR, ManageCommand, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

LIMITS = ("idle_in_transaction_session_timeout", "lock_timeout")


@pytest.fixture
def pooler(needs: Callable[[str, str], None], service_environment: dict[str, str]) -> Iterator[PgBouncer]:
    """Three sessions for everybody."""
    if connection.vendor != "postgresql":
        pytest.skip("PgBouncer stands in front of PostgreSQL")
    needs(PACKAGE, BINARY)
    connection.close()
    with PgBouncer(service_environment["DATABASE_URL"], pool_size=3) as server:
        yield server


@pytest.fixture
def pooled(pooler: PgBouncer, service_environment: dict[str, str]) -> dict[str, str]:
    """The environment of the service behind it."""
    name = str(settings.DATABASES["default"]["NAME"])
    return {
        **service_environment,
        "DATABASE_URL": pooler.url(name),
        "DATABASE_POOLER": "transaction",
        "QUEUEADMIN_PROCESS": "",
    }


def manage(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=PROJECT_DIR, env={**os.environ, **environment},
        capture_output=True, text=True, timeout=90,
    )  # fmt: skip


def test_a_worker_with_more_threads_than_the_pooler_has_sessions_does_all_its_work(
    pooler: PgBouncer, pooled: dict[str, str]
) -> None:
    # Given more jobs than fit into a batch, some with follow-ups, which take a transaction of several statements
    follow_up = {"actor": "deliver_webhook", "queue": "webhooks", "priority": 0, "max_attempts": 1}
    payload: dict[str, Any] = {"args": [], "options": {}}
    payload["kwargs"] = {
        "tenant": "default", "r2_key": "no such document", "file_name": "a", "content_type": "", "file_size": None,
    }  # fmt: skip
    jobs = [
        new_job(
            queue=settings.QUEUE_NAME, actor="ingest_document", max_attempts=1,
            payload=payload | {"options": {"follow_up": follow_up} if number % 10 == 0 else {}},
        )
        for number in range(300)
    ]  # fmt: skip
    lifecycle.submit(jobs)
    connection.close()
    # When a worker of eight threads runs behind three sessions
    worker = ManageCommand(
        "rundramatiq", "--processes", "1", "--threads", "8", variables=pooled,
        ready=lambda command: "Worker process is ready for action" in command.output(),
    )  # fmt: skip
    with worker:
        wait_until(
            lambda: not Job.objects.filter(pk__in=[job.id for job in jobs]).exclude(state="failed").exists(),
            seconds=60, every=0.2, what="all jobs to end",
        )  # fmt: skip
        (pool,) = [pool for pool in pooler.pools() if pool["database"] == settings.DATABASES["default"]["NAME"]]
        assert worker.stop(40) == 0
    # Then each ended once, nothing was complained about, and sessions were shared
    assert Job.objects.filter(actor="deliver_webhook").count() == 30
    assert "waits for the database" not in worker.output()
    assert pool["pool_mode"] == "transaction"
    assert int(str(pool["sv_active"])) + int(str(pool["sv_idle"])) + int(str(pool["sv_used"])) <= 3
    assert int(str(pool["cl_active"])) > 3


def test_the_web_server_takes_each_submission_once(pooled: dict[str, str]) -> None:
    # Given a web server of eight threads behind three sessions
    key = api_keys.issue("test", scopes=("submit",)).key
    connection.close()
    with WebServer(pooled) as web, httpx.Client(base_url=web.url, timeout=30) as client:

        def submit(number: int) -> str:
            """Each document twice, under one idempotency key, which is a lock of the transaction."""
            headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": f"k{number // 2}"}
            while True:
                response = client.post(PROCESS, json=submission(document_id=str(number // 2)), headers=headers)
                if response.status_code != 409:  # the other one is being stored right now
                    assert response.status_code == 202, response.text
                    return str(response.json()["task_id"])

        # When 24 submissions come at once
        with ThreadPoolExecutor(8) as pool:
            ids = list(pool.map(submit, range(24)))
        assert "Traceback" not in web.output()
    # Then there are twelve tasks
    assert len(set(ids)) == IngestionTask.objects.count() == 12


def test_commands_work_and_missing_limits_are_told_with_the_line_that_sets_them(
    pooler: PgBouncer, pooled: dict[str, str]
) -> None:
    # Given a role without limits of its own
    assert manage("migrate", "--check", environment=pooled).returncode == 0
    done = manage("check", "--deploy", "--database", "default", "--tag", "servers", environment=pooled)
    # Then each limit is missing, and the line that sets it is given
    role = connection.settings_dict["USER"]
    for name in LIMITS:
        assert f'ALTER ROLE "{role}" SET {name}' in done.stderr, done.stderr
    # And with those lines, and fresh sessions, nothing is
    with roles_limits(role):
        pooler.reconnect()
        again = manage("check", "--deploy", "--database", "default", "--tag", "servers", environment=pooled)
    assert "ALTER ROLE" not in again.stderr


@contextlib.contextmanager
def roles_limits(role: str) -> Iterator[None]:
    """Run the lines that the check gives; take them back at the end."""
    try:
        for name in LIMITS:
            sql.execute(f"ALTER ROLE \"{role}\" SET {name} = '9s'")
        yield
    finally:
        for name in LIMITS:
            sql.execute(f'ALTER ROLE "{role}" RESET {name}')


def test_without_the_setting_the_refusal_says_what_to_set(pooled: dict[str, str]) -> None:
    done = manage("rundramatiq", "--wait", "0", environment={**pooled, "DATABASE_POOLER": "none"})
    assert done.returncode == 1
    assert "unsupported startup parameter" in done.stderr
    assert "DATABASE_POOLER=transaction" in done.stderr
