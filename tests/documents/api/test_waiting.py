"""Waiting requests: woken in time, bounded in number, and never in the way of a restart."""

import threading
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from django.db import OperationalError

from documents.api.waiting import NoPlace, Waiters
from tests.servers import wait_until


class Ledger:
    """What is asked: the versions of tasks, which a test changes, and how often it was asked."""

    def __init__(self) -> None:
        self.versions: dict[uuid.UUID, str] = {}
        self.asked = self.reads = 0
        self.error: Exception | None = None

    def __call__(self, ids: Collection[uuid.UUID]) -> Mapping[uuid.UUID, str]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return {task_id: self.versions[task_id] for task_id in ids if task_id in self.versions}

    def read(self, ids: Collection[uuid.UUID]) -> Mapping[uuid.UUID, str]:
        """The task itself, which here is its version."""
        self.reads += 1
        return {task_id: self.versions[task_id] for task_id in ids if task_id in self.versions}

    def task(self) -> uuid.UUID:
        task_id = uuid.uuid4()
        self.versions[task_id] = "pending"
        return task_id


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as made:
        yield made


def waits(
    pool: ThreadPoolExecutor, waiters: Waiters[str], task_id: uuid.UUID, *, tenant: str = "default", seconds: float = 30
) -> Future[tuple[bool, float]]:
    """Whether it was woken, and when."""

    def wait() -> tuple[bool, float]:
        return waiters.wait(task_id, "pending", tenant=tenant, seconds=seconds).changed, time.monotonic()

    return pool.submit(wait)


def test_all_who_wait_for_a_task_are_woken_and_nobody_else(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    # Given thirty requests for three tasks
    waiters = Waiters(places=64, versions=ledger, read=ledger.read)
    tasks = [ledger.task() for _ in range(3)]
    waiting = [(task_id, waits(pool, waiters, task_id)) for task_id in tasks for _ in range(10)]
    wait_until(lambda: waiters.count == 30, seconds=10, what="all of them to wait")
    asked = ledger.asked
    # When one task changes, and another one is forgotten
    changed = time.monotonic()
    ledger.versions[tasks[0]] = "processing"
    del ledger.versions[tasks[1]]
    # Then theirs are told soon, the others go on waiting
    for task_id, future in waiting[:20]:
        woken, at = future.result(timeout=10)
        assert woken, task_id
        assert at - changed < 2.0
    assert waiters.count == 10
    # And one question was asked for all of them at a time, and what had changed read once for all who waited for it
    assert ledger.asked - asked < 30
    assert ledger.reads <= 2
    ledger.versions[tasks[2]] = "completed"
    assert all(future.result(timeout=10)[0] for _, future in waiting[20:])


def test_a_change_before_the_first_question_is_not_missed(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    task_id = ledger.task()
    ledger.versions[task_id] = "completed"
    assert waits(pool, Waiters(places=1, versions=ledger, read=ledger.read), task_id).result(timeout=10)[0]


def test_who_has_waited_long_enough_is_told_that_nothing_changed(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    waiters = Waiters(places=4, versions=ledger, read=ledger.read)
    assert waits(pool, waiters, ledger.task(), seconds=0.1).result(timeout=10)[0] is False
    assert waiters.count == 0


def test_places_are_few_and_no_tenant_gets_all_of_them(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    # Given four places, of which one tenant has as many as it can get
    waiters = Waiters(places=4, versions=ledger, read=ledger.read)
    task_id = ledger.task()
    waiting = [waits(pool, waiters, task_id) for _ in range(3)]
    wait_until(lambda: waiters.count == 3, seconds=10, what="three to wait")
    with pytest.raises(NoPlace):
        waiters.wait(task_id, "pending", tenant="default", seconds=30)
    # When another one takes the last
    waiting.append(waits(pool, waiters, task_id, tenant="acme"))
    wait_until(lambda: waiters.count == 4, seconds=10, what="four to wait")
    # Then there is none for a third
    with pytest.raises(NoPlace):
        waiters.wait(task_id, "pending", tenant="other", seconds=30)
    # And places become free again
    ledger.versions[task_id] = "completed"
    assert all(future.result(timeout=10)[0] for future in waiting)
    assert waiters.wait(task_id, "pending", tenant="other", seconds=30).found == "completed"


def test_a_server_without_threads_to_spare_lets_nobody_wait(ledger: Ledger) -> None:
    with pytest.raises(NoPlace):
        Waiters(places=0, versions=ledger, read=ledger.read).wait(
            ledger.task(), "pending", tenant="default", seconds=30
        )


@pytest.mark.parametrize("error", [OperationalError("away"), ValueError("a defect")])
def test_when_nobody_can_say_nobody_waits(ledger: Ledger, pool: ThreadPoolExecutor, error: Exception) -> None:
    # Given requests that wait
    waiters = Waiters(places=4, versions=ledger, read=ledger.read)
    task_id = ledger.task()
    waiting = [waits(pool, waiters, task_id) for _ in range(2)]
    wait_until(lambda: waiters.count == 2, seconds=10, what="two to wait")
    # When the question fails
    ledger.error = error
    # Then they are woken, to see for themselves
    assert all(future.result(timeout=10)[0] for future in waiting)
    # And once it works again, so does waiting
    ledger.error = None
    after = waits(pool, waiters, task_id)
    wait_until(lambda: waiters.count == 1, seconds=10, what="one to wait")
    ledger.versions[task_id] = "completed"
    assert after.result(timeout=10)[0]


def test_a_process_that_stops_keeps_nobody_waiting(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    stop = threading.Event()
    waiters = Waiters(places=4, versions=ledger, read=ledger.read, stopping=stop.is_set)
    waiting = waits(pool, waiters, ledger.task())
    wait_until(lambda: waiters.count == 1, seconds=10, what="one to wait")
    # When
    stop.set()
    # Then
    assert waiting.result(timeout=10)[0]
    with pytest.raises(NoPlace):
        waiters.wait(ledger.task(), "pending", tenant="default", seconds=30)


def test_the_asking_thread_ends_when_nobody_waits(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    waiters = Waiters(places=4, versions=ledger, read=ledger.read)
    waits(pool, waiters, ledger.task(), seconds=0.05).result(timeout=10)
    wait_until(
        lambda: not any(thread.name == "long-poll" for thread in threading.enumerate()), seconds=10, what="its end"
    )
