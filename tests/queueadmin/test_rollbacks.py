"""What PostgreSQL rolled back for others is done again; what may have been done is repeated only where that is safe."""

from __future__ import annotations

import threading

import psycopg
import pytest
from django.db import DataError, InternalError, OperationalError, connection, transaction

from queueadmin import lifecycle, sql
from queueadmin.models import JobEvent
from queueadmin.rollbacks import run_despite_rollbacks
from tests.queueadmin.factories import submitted

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def postgresql() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite queues its writers: there is nothing to roll back for")


class Flaky:
    """Work that fails in PostgreSQL, by a code of its own, as often as it is told to."""

    def __init__(self, *codes: str) -> None:
        self.codes = list(codes)
        self.runs = 0

    def __call__(self) -> int:
        self.runs += 1
        with transaction.atomic():
            if self.codes:
                sql.execute(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{self.codes.pop(0)}'; END $$")
            return self.runs


class Cut:
    """Work that commits, and whose session then ends before it hears of it."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self) -> int:
        self.runs += 1
        if self.runs == 1:
            sql.query("SELECT pg_terminate_backend(pg_backend_pid())")
        return self.runs


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_a_serialisation_failure_or_deadlock_is_run_again(code: str) -> None:
    assert run_despite_rollbacks(Flaky(code, code)) == 3


def test_it_gives_up_after_three_times_and_at_once_for_any_other_error() -> None:
    stubborn, wrong = Flaky(*["40001"] * 9), Flaky("22012")
    with pytest.raises(OperationalError):
        run_despite_rollbacks(stubborn)
    with pytest.raises(DataError):
        run_despite_rollbacks(wrong)
    assert (stubborn.runs, wrong.runs) == (3, 1)


def test_inside_a_callers_transaction_it_runs_once() -> None:
    flaky = Flaky("40001")
    with pytest.raises(OperationalError), transaction.atomic():
        run_despite_rollbacks(flaky)
    assert flaky.runs == 1


def test_after_a_lost_connection_only_what_is_repeatable_is_run_again() -> None:
    once, again = Cut(), Cut()
    connection.ensure_connection()
    with pytest.raises(OperationalError):
        run_despite_rollbacks(once)
    connection.ensure_connection()
    assert run_despite_rollbacks(again, repeatable=True) == 2
    assert once.runs == 1
    # but not what began without one: it would wait for the database as often as it is tried
    connection.close()
    alone = Cut()
    with pytest.raises(OperationalError):
        run_despite_rollbacks(alone, repeatable=True)
    assert alone.runs == 1
    connection.close()
    connection.ensure_connection()
    # a session that was idle in its transaction for too long has ended, too
    assert run_despite_rollbacks(Flaky("25P03"), repeatable=True) == 2
    with pytest.raises(InternalError):
        run_despite_rollbacks(Flaky("25P03"))


def test_two_transactions_that_meet_head_on_both_succeed(caplog: pytest.LogCaptureFixture) -> None:
    # Given two jobs, one of whose rows a person's own transaction has locked
    first, second = sorted(submitted() for _ in range(2))
    url = connection.get_connection_params()
    barrier = threading.Event()

    def other() -> None:
        parameters = {name: url[name] for name in ("host", "port", "user", "password", "dbname")}
        with psycopg.connect(**parameters) as mine:
            mine.execute("SET deadlock_timeout = '30s'")  # so that it is the other one which is rolled back
            mine.execute("SELECT 1 FROM queueadmin_job WHERE id = %s FOR UPDATE", [second])
            barrier.set()
            # and waits for the one that the operator locked first
            mine.execute("SELECT pg_sleep(0.5)")
            mine.execute("SELECT 1 FROM queueadmin_job WHERE id = %s FOR UPDATE", [first])

    thread = threading.Thread(target=other)
    thread.start()
    assert barrier.wait(10)
    # When both are cancelled, which locks them in the order of ids and runs into the other
    done, _ = lifecycle.cancel([first, second], by="me")
    thread.join(30)
    # Then the deadlock is resolved, and each was cancelled once
    assert sorted(done) == [first, second]
    assert JobEvent.objects.filter(edge="cancel").count() == 2
    assert [record.code for record in caplog.records if record.msg == "a transaction is run again"] == ["40P01"]
