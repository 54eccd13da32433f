"""SQLite under several writers: everyone gets a turn, and every commit is durable."""

import threading
import time
from pathlib import Path

import pytest
from django.db import connection, transaction

from queueadmin.models import Lease
from queueadmin.sqlite.base import WriteTicket

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def only_sqlite(database_kind: str) -> None:
    if database_kind != "sqlite":
        pytest.skip("about SQLite: runs with --database=sqlite")


def test_the_log_is_written_ahead_and_every_commit_is_synced() -> None:
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert cursor.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_writers_of_many_threads_all_get_their_turn() -> None:
    # Given a counter that six threads read and write back
    from django.utils import timezone

    Lease.objects.create(name="counter", holder=0, expires_at=timezone.now())
    failures: list[Exception] = []

    def count() -> None:
        try:
            for _ in range(25):
                with transaction.atomic():
                    row = Lease.objects.get(name="counter")
                    Lease.objects.filter(name="counter").update(holder=(row.holder or 0) + 1)
                Lease.objects.filter(name="counter").update(expires_at=timezone.now())
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # Then no update was lost and none failed
    assert failures == []
    assert Lease.objects.get(name="counter").holder == 150


def test_a_rolled_back_transaction_gives_the_ticket_back() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        Lease.objects.filter(name="x").update(holder=1)
        raise RuntimeError
    done = threading.Event()

    def write() -> None:
        Lease.objects.filter(name="x").update(holder=1)
        connection.close()
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert done.wait(5)
    thread.join()


def test_tickets_are_fair(tmp_path: Path) -> None:
    """A writer that releases and asks again lines up behind the one that waited."""
    first, second = (WriteTicket(str(tmp_path / "db")) for _ in range(2))
    order: list[str] = []
    first.take()

    def wait() -> None:
        second.take()
        order.append("second")
        second.give_back()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.2)
    first.give_back()
    first.take()
    order.append("first")
    first.give_back()
    thread.join(5)
    first.close()
    second.close()
    assert order == ["second", "first"]
