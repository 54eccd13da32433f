"""This service and stock Dramatiq behind one face, in the test's own process, each reached through a proxy."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import dramatiq
from dramatiq.broker import Broker
from dramatiq.brokers.redis import RedisBroker

from queueadmin.broker import LedgerRedisBroker
from queueadmin.conf import queue_settings
from queueadmin.middleware import DeadLetterMiddleware, RetryMiddleware
from tests.faults.proxy import Proxy
from tests.servers import ValkeyServer, wait_until

QUEUE = "defects"


@dataclass(eq=False)
class System:
    """A broker, its workers, and what its jobs did."""

    wire: Proxy
    server: ValkeyServer
    namespace: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:12]}")
    ran: list[Any] = field(default_factory=list)
    _workers: list[tuple[Broker, dramatiq.Worker]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    fetch: bytes = b""
    """What a command that fetches holds, for the proxy to know it by."""

    publish: bytes = b""

    @property
    def url(self) -> str:
        return f"redis://:{self.server.password}@127.0.0.1:{self.wire.port}/0"

    def broker(self) -> Broker:
        """A new broker of the same system, as another process would have."""
        raise NotImplementedError

    def actor(self, broker: Broker, name: str = "work", *, seconds: float = 0.0) -> dramatiq.Actor[Any, Any]:
        """An actor that takes `seconds` and notes that it ran."""

        def work(number: int) -> None:
            time.sleep(seconds)
            with self._lock:
                self.ran.append(number)

        return dramatiq.actor(work, actor_name=name, queue_name=QUEUE, broker=broker)

    def work(self, broker: Broker, *, threads: int = 2) -> dramatiq.Worker:
        worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=100)
        self._workers.append((broker, worker))
        worker.start()
        broker.emit_after("worker_boot", worker)
        return worker

    def stop(self, worker: dramatiq.Worker, timeout: int = 5000) -> None:
        """As SIGTERM does it."""
        self._workers = [(broker, other) for broker, other in self._workers if other is not worker]
        worker.stop(timeout=timeout)

    def close(self) -> None:
        for _, worker in list(self._workers):
            self.stop(worker, timeout=2000)

    def wait_ran(self, numbers: list[Any], *, seconds: float) -> None:
        """Until all `numbers` ran. Raises TimeoutError."""
        wait_until(lambda: set(numbers) <= set(self.ran), seconds=seconds, what=f"{numbers} to run; {self.ran} did")


class Ours(System):
    def broker(self) -> Broker:
        settings = replace(
            queue_settings(), redis_url=self.url, namespace=self.namespace, min_backoff_seconds=0.05,
            max_backoff_seconds=0.2, beat_seconds=0.2, silent_seconds=2.0, poll_timeout_seconds=0.5,
            shutdown_seconds=3.0,
        )  # fmt: skip
        return LedgerRedisBroker(
            middleware=[DeadLetterMiddleware(), RetryMiddleware(jitter=lambda: 0.0)], settings=settings
        )


class Stock(System):
    def broker(self) -> Broker:
        """With Dramatiq's own middleware and redis-py's own retries: as its guide sets it up."""
        return RedisBroker(url=self.url, namespace=self.namespace)  # type: ignore[no-untyped-call]  # Dramatiq's


Make = Callable[[], System]


def ours(wire: Proxy, server: ValkeyServer) -> System:
    return Ours(wire, server, fetch=b"BZMPOP", publish=b"EVALSHA")


def stock(wire: Proxy, server: ValkeyServer) -> System:
    return Stock(wire, server, fetch=b"\r\nfetch\r\n", publish=b"\r\nenqueue\r\n")
