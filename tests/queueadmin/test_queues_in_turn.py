"""Several queues, one worker: a backlog of one does not starve the others, nor do jobs of one that hang."""

import threading
import time
from collections.abc import Callable

import dramatiq
import pytest

from queueadmin.broker import LedgerRedisBroker
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Slow:
    """An actor's body that takes its time, and notes in which order jobs ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.ended: list[str] = []

    def __call__(self, whose: str, seconds: float) -> None:
        time.sleep(seconds)
        with self._lock:
            self.ended.append(whose)


def test_the_backlog_of_one_queue_does_not_hold_up_the_others(
    broker: LedgerRedisBroker, run_worker: Callable[..., dramatiq.Worker]
) -> None:
    # Given a long line of documents, and behind it a few webhooks, in a queue whose name comes later
    body = Slow()
    documents = dramatiq.actor(body, broker=broker, actor_name="document", queue_name="documents")
    webhooks = dramatiq.actor(body, broker=broker, actor_name="webhook", queue_name="webhooks")
    for _ in range(60):
        documents.send("document", 0.12)
    for _ in range(5):
        webhooks.send("webhook", 0.12)
    # When a worker runs them
    run_worker(threads=2)
    wait_until(lambda: body.ended.count("webhook") == 5, seconds=30, what="the webhooks")
    # Then they had their turn long before the line was worked off
    assert body.ended.count("document") < 30


def test_jobs_that_hang_leave_threads_to_the_other_queues(
    broker: LedgerRedisBroker, run_worker: Callable[..., dramatiq.Worker]
) -> None:
    # Given many webhooks whose receiver hangs, and documents behind them, in a queue whose name comes later
    body = Slow()
    documents = dramatiq.actor(body, broker=broker, actor_name="document", queue_name="documents")
    webhooks = dramatiq.actor(body, broker=broker, actor_name="webhook", queue_name="callbacks")
    for _ in range(12):
        webhooks.send("webhook", 1.0)
    for _ in range(20):
        documents.send("document", 0.02)
    # When a worker runs them
    run_worker(threads=2)
    wait_until(lambda: body.ended.count("document") == 20, seconds=30, what="the documents")
    # Then the documents were done while most of the webhooks had not been
    assert body.ended.count("webhook") <= 6
    # And a queue that is alone has all threads: the rest takes no longer than two threads need
    began, left = time.monotonic(), 12 - body.ended.count("webhook")
    wait_until(lambda: body.ended.count("webhook") == 12, seconds=30, what="the webhooks")
    assert time.monotonic() - began < 0.85 * left
