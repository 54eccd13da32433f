"""The budget of connections: what the processes really take, and what is said when the server has fewer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.conf import settings
from django.db import connection

from ingestion_site import connections
from ingestion_site.connections import Budget
from ingestion_site.database import Limits
from queueadmin import lifecycle, presence, sql
from queueadmin.models import Job
from tests.queueadmin.factories import new_job
from tests.servers import ManageCommand, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def postgresql() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connections to run out of")


def open_by(application: str) -> int:
    return int(
        sql.query(
            "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = %(name)s",
            {"name": application},
        )[0]["n"]
    )


def test_a_worker_stays_within_its_budget_while_all_its_threads_use_the_database(
    live_worker: Callable[..., ManageCommand],
) -> None:
    # Given many jobs of an actor that uses the database itself
    payload = {"args": ["01a00000-0000-7000-8000-000000000000", "completed", 1], "kwargs": {}, "options": {}}
    jobs = [new_job(queue="webhooks", actor="deliver_webhook", max_attempts=1, payload=payload) for _ in range(200)]
    lifecycle.submit(jobs)
    # When a worker of six threads takes them
    live_worker(threads=6)
    seen = []

    def all_ended() -> bool:
        seen.append(open_by("ingestion worker"))
        return not Job.objects.filter(pk__in=[job.id for job in jobs], finished_at=None).exists()

    wait_until(all_ended, seconds=60, what="all jobs")
    # Then it took more than a few connections, and never more than it may
    assert 4 < max(seen) <= connections.of_workers(1, 6)


def test_the_server_says_how_many_it_allows_to_our_role() -> None:
    everybody = connections.allowed()
    assert 0 < everybody < int(sql.query("SELECT current_setting('max_connections')::int AS n")[0]["n"])
    role = connection.settings_dict["USER"]
    sql.execute(f'ALTER ROLE "{role}" CONNECTION LIMIT 150')
    try:
        assert connections.allowed() == 150
    finally:
        sql.execute(f'ALTER ROLE "{role}" CONNECTION LIMIT -1')


def test_workers_of_other_machines_are_counted_and_those_of_this_one_are_not_counted_twice() -> None:
    before = connections.budget()
    for number, host in enumerate(("elsewhere", presence.this_host())):
        me = presence.Identity(id=number + 1, name="w", host=host, pid=1, pid_started="1")
        presence.register(me, queues=["q"], actors=["act"], threads=8)
    after = connections.budget()
    assert (before.elsewhere, after.elsewhere) == (0, 12)
    assert after.workers == settings.WORKER_PROCESSES * (settings.WORKER_THREADS + 4)


@pytest.mark.parametrize(
    ("most", "expected"), [(45, []), (44, ["ingestion.W101"]), (33, ["ingestion.W101"]), (32, ["ingestion.E101"])]
)
def test_too_few_connections_are_told_with_the_line_to_change(most: int, expected: list[str]) -> None:
    found = list(connections.too_many(Budget(web=16, workers=12, elsewhere=12), most))
    assert [message.id for message in found] == expected
    assert all("max_connections = 50" in str(message.hint) for message in found)


def test_limits_are_missed_only_where_they_are_wanted() -> None:
    wanted = Limits(lock=10, idle_in_transaction=0, statement=7)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 0; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
    try:
        found = list(connections.limits_not_in_force(wanted))
    finally:
        connection.close()
    assert [message.msg.split()[0] for message in found] == ["statement_timeout", "lock_timeout"]
    assert list(connections.limits_not_in_force(Limits(lock=10, idle_in_transaction=15))) == []
