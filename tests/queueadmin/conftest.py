"""A broker of its own for every test, and a real Dramatiq worker inside the test process."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import dramatiq
import pytest
import redis

from queueadmin.broker import LedgerRedisBroker
from queueadmin.conf import QueueSettings, queue_settings
from queueadmin.middleware import DeadLetterMiddleware, RetryMiddleware


@pytest.fixture
def settings_of_queue(valkey: redis.Redis) -> QueueSettings:
    """The project's settings in a namespace of the test's own, made quick."""
    return replace(
        queue_settings(),
        namespace=f"t{uuid.uuid4().hex[:12]}",
        min_backoff_seconds=0.05,
        max_backoff_seconds=0.2,
        sweep_seconds=1.0,
        beat_seconds=0.2,
        silent_seconds=2.0,
        poll_timeout_seconds=0.3,
        shutdown_seconds=3.0,
    )


@pytest.fixture
def broker(settings_of_queue: QueueSettings, transactional_db: None) -> Iterator[LedgerRedisBroker]:
    made = LedgerRedisBroker(
        middleware=[DeadLetterMiddleware(), RetryMiddleware(jitter=lambda: 0.0)], settings=settings_of_queue
    )
    yield made
    made.close()


@pytest.fixture
def run_worker(broker: LedgerRedisBroker) -> Iterator[Callable[..., dramatiq.Worker]]:
    """`run_worker(threads=2)` starts a Dramatiq worker in this process; it is stopped at the end."""
    workers: list[dramatiq.Worker] = []

    def start(*, threads: int = 2) -> dramatiq.Worker:
        worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=100)
        workers.append(worker)
        worker.start()
        broker.emit_after("worker_boot", worker)
        return worker

    yield start
    for worker in workers:
        if broker.runtime is not None:
            worker.stop(timeout=5000)
