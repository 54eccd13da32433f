"""This service and stock Dramatiq behind one face, in the test's own process, each reached through a proxy."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, ClassVar

import dramatiq
from django.db.models import F
from django.utils import timezone
from dramatiq.broker import Broker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import default_middleware

from queueadmin import lifecycle, presence, retention
from queueadmin.broker import LedgerRedisBroker
from queueadmin.conf import queue_settings
from queueadmin.ids import new_token
from queueadmin.jobs import Claim
from queueadmin.middleware import DeadLetterMiddleware, RetryMiddleware
from queueadmin.models import Job, JobEvent, WorkerProcess
from queueadmin.states import State
from tests.faults.proxy import Drop, Proxy
from tests.servers import ValkeyServer, wait_until

QUEUE = "defects"
RESCUE_SECONDS = 20.0
"""What this service promises."""


class Defect(AssertionError):
    """What a test of a defect finds: the only error that is expected of stock."""


@dataclass(eq=False)
class System:
    """A broker, its workers, and what its jobs did."""

    wire: Proxy
    server: ValkeyServer
    namespace: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:12]}")
    ran: list[Any] = field(default_factory=list)
    patience: ClassVar[float] = 20.0
    """Seconds to wait for what should happen."""

    _workers: list[tuple[Broker, dramatiq.Worker]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def broker(self, *middleware: dramatiq.Middleware, port: int = 0) -> Broker:
        """A new broker of the same system, as another process would have; `port` for a way past the proxy."""
        raise NotImplementedError

    def _url(self, port: int) -> str:
        return f"redis://:{self.server.password}@127.0.0.1:{port}/0"

    def sender(self) -> Broker:
        """A broker whose client is told its host and port: redis-py then repeats what got no reply."""
        raise NotImplementedError

    def lose_fetch(self) -> Drop:
        """Drop the reply to the next command that brings jobs."""
        raise NotImplementedError

    def lose_enqueue(self) -> Drop:
        """Drop the reply to the next command that makes a job known."""
        raise NotImplementedError

    def actor(self, broker: Broker, name: str = "work", *, seconds: float = 0.0) -> dramatiq.Actor[Any, Any]:
        """An actor that takes `seconds` and notes that it ran."""

        def work(number: int) -> None:
            time.sleep(seconds)
            with self._lock:
                self.ran.append(number)

        return dramatiq.actor(work, actor_name=name, queue_name=QUEUE, broker=broker)  # type: ignore[call-overload,no-any-return]  # the stubs know only the decorator

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

    def has_run(self, numbers: Iterable[Any]) -> bool:
        """Whether all `numbers` ran, by the end of this system's patience."""
        wanted = set(numbers)
        deadline = time.monotonic() + self.patience
        while not wanted <= set(self.ran):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def require_ran(self, numbers: Iterable[Any]) -> None:
        """Raises Defect."""
        wanted = set(numbers)
        if not self.has_run(wanted):
            raise Defect(f"{sorted(wanted - set(self.ran))} did not run")

    # -- what takes years or lives, in a hurry ----------------------------------------------

    def take_and_die(self) -> bool:
        """Be the next worker that takes the job, and is gone; False when it is given to nobody any more."""
        raise NotImplementedError

    def age(self, seconds: float) -> None:
        """As if the workers that are gone had been so for `seconds` more."""
        raise NotImplementedError

    def rescuer(self) -> Broker:
        """A broker that looks for the dead as often as it may, by the default settings of what dead is."""
        return self.broker()

    def dead_letters_after_years(self) -> int:
        """Dead letters that are left of one, when the housekeeping of years has been done."""
        raise NotImplementedError

    def recorded(self, message: dramatiq.Message[Any]) -> list[str]:
        """What is on record of a job that has run."""
        raise NotImplementedError


class Ours(System):
    _dead = 0

    def broker(self, *middleware: dramatiq.Middleware, port: int = 0) -> Broker:
        settings = replace(
            queue_settings(), redis_url=self._url(port or self.wire.port), namespace=self.namespace,
            min_backoff_seconds=0.05, max_backoff_seconds=0.2, beat_seconds=0.2, silent_seconds=2.0,
            poll_timeout_seconds=0.5, shutdown_seconds=3.0,
        )  # fmt: skip
        decisions = [DeadLetterMiddleware(), RetryMiddleware(jitter=lambda: 0.0)]
        return LedgerRedisBroker(middleware=[*decisions, *middleware], settings=settings)

    def sender(self) -> Broker:
        return self.broker()

    def lose_fetch(self) -> Drop:
        return self.wire.drop(b"BZMPOP")

    def lose_enqueue(self) -> Drop:
        return self.wire.drop(b"EVAL")

    def take_and_die(self) -> bool:
        if self._dead:
            lifecycle.rescue([self._dead], worker_id=99, max_crashes=3)
            lifecycle.promote(limit=10, order_key=1)
        self._dead += 1
        gone = presence.Identity(id=self._dead, name="gone", host="elsewhere", pid=1, pid_started="")
        presence.register(gone, queues=[QUEUE], actors=["work"], threads=1)
        wishes = [Claim(id=job.pk, token=new_token()) for job in Job.objects.filter(queue=QUEUE)]
        return len(lifecycle.claim(wishes, actors=["work"], worker_id=self._dead, suspects=True)) == 1

    def age(self, seconds: float) -> None:
        assert queue_settings().silent_seconds < seconds  # these workers judge sooner, so that the test is short
        WorkerProcess.objects.filter(pk__lte=self._dead).update(beat_at=F("beat_at") - timedelta(seconds=seconds))

    def dead_letters_after_years(self) -> int:
        from tests.queueadmin.factories import job_in

        job_id, _ = job_in(State.DEAD_LETTER)
        Job.objects.filter(pk=job_id).update(finished_at=timezone.now() - timedelta(days=3650))
        list(retention.clean(retention.Ages(completed=24, cancelled=24, failed=24)))
        list(retention.forget(older_than_days=365))
        return Job.objects.filter(pk=job_id, state=State.DEAD_LETTER, cleaned_at=None).exclude(payload={}).count()

    def recorded(self, message: dramatiq.Message[Any]) -> list[str]:
        job = Job.objects.filter(pk=message.message_id)
        wait_until(lambda: job.filter(state="completed").exists(), seconds=self.patience, what="the outcome")
        return list(JobEvent.objects.filter(job_id=message.message_id).order_by("id").values_list("edge", flat=True))


class Recorder(dramatiq.Middleware):
    """Keeps a record in hooks, as django_dramatiq's AdminMiddleware does, while the database is away."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def _write(self, *_: Any, **__: Any) -> None:
        raise OSError("the database is away")

    before_enqueue = after_enqueue = before_process_message = after_process_message = before_ack = after_ack = _write


class Stock(System):
    """With Dramatiq's own middleware and redis-py's own behaviour: as its guide sets it up.

    It does nothing about what was lost for 60 s (`heartbeat_timeout`), so waiting longer than a few seconds shows
    nothing more.
    """

    patience = 2.5
    _always = 1_000_000
    """Do maintenance with every command, and not with one of a thousand: in stock's favour."""

    def broker(self, *middleware: dramatiq.Middleware, port: int = 0, **options: int) -> Broker:
        return RedisBroker(  # type: ignore[no-untyped-call]  # Dramatiq's
            url=self._url(port or self.wire.port),
            namespace=self.namespace,
            middleware=[*(make() for make in default_middleware), *middleware],
            **options,
        )

    def sender(self) -> Broker:
        return RedisBroker(  # type: ignore[no-untyped-call]  # Dramatiq's
            host="127.0.0.1", port=self.wire.port, password=self.server.password, namespace=self.namespace
        )

    def lose_fetch(self) -> Drop:
        return self.wire.drop(b"\r\nfetch\r\n")

    def lose_enqueue(self) -> Drop:
        return self.wire.drop(b"\r\nenqueue\r\n", even_empty=True)  # its reply is always empty

    def take_and_die(self) -> bool:
        time.sleep(0.15)
        broker = self.broker(heartbeat_timeout=100, maintenance_chance=self._always)
        return self._take(broker) is not None

    def age(self, seconds: float) -> None:
        with self.server.client() as client:
            beats = f"{self.namespace}:__heartbeats__"
            for worker in client.zrange(beats, 0, -1):
                client.zincrby(beats, -seconds * 1000, worker)

    def rescuer(self) -> Broker:
        return self.broker(maintenance_chance=self._always)

    def dead_letters_after_years(self) -> int:
        broker = self.broker(dead_message_ttl=50, maintenance_chance=self._always)
        self.actor(broker).send(1)
        taken = self._take(broker)
        assert taken is not None
        consumer, message = taken
        consumer.nack(message)
        with self.server.client() as client:
            letters = f"{self.namespace}:{QUEUE}.XQ"
            assert client.zcard(letters) == 1
            time.sleep(0.1)
            next(consumer)  # any command may come with maintenance
            return int(client.zcard(letters))

    def recorded(self, message: dramatiq.Message[Any]) -> list[str]:
        return []  # the only record is the recorder's

    def _take(self, broker: Broker) -> tuple[dramatiq.Consumer, dramatiq.MessageProxy] | None:
        consumer = broker.consume(QUEUE, prefetch=1, timeout=50)
        for _ in range(10):
            message = next(consumer)
            if message is not None:
                return consumer, message
        return None


Make = Callable[[Proxy, ValkeyServer], System]
MAKERS: dict[str, Make] = {"ours": Ours, "stock": Stock}
