"""`LedgerRedisBroker`: Dramatiq's broker interface over the ledger and the ready sets.

Sending inserts the job in the caller's transaction and adds its id to a ready set on commit.
Dramatiq sees one queue, "jobs", with one consumer per process; our queues and priorities are
rows and keys of ours.

Dramatiq's `emit_before` and `emit_after` swallow what middleware raises, so everything that must
happen around a job happens in the overrides below, never in a hook.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import close_old_connections, connection, transaction
from dramatiq import Actor
from dramatiq.broker import Broker, Consumer
from dramatiq.message import Message
from dramatiq.middleware import Middleware

from queueadmin import lifecycle, lookup, tracing
from queueadmin.conf import QueueSettings, queue_settings
from queueadmin.consumer import DRAMATIQ_QUEUE, LedgerConsumer
from queueadmin.context import current_origin, enter_job
from queueadmin.dispatch import Chore
from queueadmin.exceptions import BrokerUnavailable, ConfigurationError, QueueAdminError
from queueadmin.ids import job_id_of
from queueadmin.jobs import NewJob, Ready, Submitted
from queueadmin.origin import Origin
from queueadmin.publisher import Publisher
from queueadmin.quotas import Quotas
from queueadmin.ready import ReadySets
from queueadmin.redis_client import connect
from queueadmin.room import RoomKeeper
from queueadmin.sanitize import require_storable
from queueadmin.worker import WorkerRuntime

if TYPE_CHECKING:
    from dramatiq.worker import Worker

logger = logging.getLogger(__name__)

_SEND_OPTIONS = frozenset(
    {
        "priority", "unique_key", "partition_key", "max_attempts", "follow_up", "parent_id", "request_id", "labels",
        "delay",
    }
)  # fmt: skip
_ACTOR_OPTIONS = frozenset({"every_seconds", "announced"})
_UNIQUE_KEY_TRIES = 3


class LedgerRedisBroker(Broker):
    """A Dramatiq broker whose jobs are rows. See the module's docstring."""

    def __init__(self, *, middleware: Sequence[Middleware] = (), settings: QueueSettings | None = None) -> None:
        """`settings` default to the QUEUEADMIN setting. Nothing is connected here."""
        self._heard: dict[str, bool] = {}
        self._chores: list[Chore] = []
        super().__init__(middleware=list(middleware))
        self.actor_options |= _ACTOR_OPTIONS
        self.queues = {DRAMATIQ_QUEUE: None}
        self._given_settings = settings
        self.runtime: WorkerRuntime | None = None

    @cached_property
    def settings(self) -> QueueSettings:
        return self._given_settings or queue_settings()

    @cached_property
    def ready_sets(self) -> ReadySets:
        """The ready sets, for publishing: a client that waits no longer than a submission may."""
        return self._ready_sets(self.settings.publish_timeout_seconds)

    @cached_property
    def publisher(self) -> Publisher:
        return Publisher(self.ready_sets)

    @cached_property
    def quotas(self) -> Quotas:
        settings = self.settings
        client = connect(settings.redis, namespace=settings.namespace, timeout=settings.publish_timeout_seconds)
        return Quotas(client, namespace=settings.namespace)

    @cached_property
    def room(self) -> RoomKeeper:
        return RoomKeeper(limit=self.settings.max_queue_size)

    def _ready_sets(self, timeout: float) -> ReadySets:
        namespace = self.settings.namespace
        client = connect(self.settings.redis, namespace=namespace, timeout=timeout)
        return ReadySets(client, namespace=namespace, high_priority_from=self.settings.high_priority_from)

    # -- declaring ---------------------------------------------------------------------------

    def declare_queue(self, queue_name: str) -> None:
        """Nothing to do: a queue exists as soon as a job names it."""

    def job_queues(self) -> list[str]:
        """Our queues that this process takes jobs from: those of QUEUES, or of all actors known here."""
        declared = {actor.queue_name for actor in self.actors.values()}
        return sorted(declared & set(self.settings.queues) if self.settings.queues else declared)

    # -- sending -----------------------------------------------------------------------------

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Insert the message as a job, in the caller's transaction; `delay` is milliseconds.

        The returned message carries the job's id. Sending the same message again, or another one
        while its `unique_key` is held by a live job, adds nothing and returns the job that is there.
        Raises ValueError for options this broker does not have, Unrecordable for unstorable arguments.
        """
        self.emit_before("enqueue", message, delay)
        with tracing.span(f"send {message.actor_name}", kind="producer"):
            job = self._new_job(message, delay)
            submitted, job_id = self._submit(job)
            if submitted.inserted:
                transaction.on_commit(partial(self.publish, submitted.ready))
            else:
                self.publish_again(job_id)
        sent = message.copy(message_id=str(job_id))
        self.emit_after("enqueue", sent, delay)
        return sent

    def enqueue_many(self, messages: Iterable[Message[Any]], *, delay: int | None = None) -> list[str]:
        """Insert many messages in one statement and publish them in one pipeline; returns the job ids.

        Ids are returned in the order of `messages`, also for those whose unique key is held already. A message's own
        option `delay` counts where `delay` is None; both are milliseconds.
        """
        with tracing.span("send many", kind="producer"):
            jobs = [self._new_job(message, delay) for message in messages]
            submitted = lifecycle.submit(jobs)
            job_ids = self._ids_of(jobs)
            transaction.on_commit(partial(self.publish, submitted.ready))
        return [str(job_id) for job_id in job_ids]

    def _submit(self, job: NewJob) -> tuple[Submitted, UUID]:
        """Insert a job; its id, or that of the job which holds its unique key."""
        for _ in range(_UNIQUE_KEY_TRIES):
            submitted = lifecycle.submit([job])
            if job.id in submitted.inserted or not job.unique_key:
                return submitted, job.id
            holder = lookup.unique_key_holders([job.unique_key]).get(job.unique_key)
            if holder is not None:
                return submitted, holder
            # The holder ended between the two statements: the key is free now.
        raise QueueAdminError(f"The unique key {job.unique_key!r} changed hands again and again. Send the job again.")

    def _ids_of(self, jobs: Sequence[NewJob]) -> list[UUID]:
        """The ids under which the jobs are in the ledger: of another job where that holds the unique key."""
        holders = lookup.unique_key_holders([job.unique_key for job in jobs if job.unique_key])
        return [holders.get(job.unique_key or "", job.id) for job in jobs]

    def publish(self, ready: Sequence[Ready]) -> bool:
        """Add committed jobs to the ready sets; False when the sweep has to do it later. Never raises."""
        self.room.count(ready)
        with tracing.span("publish", attributes={"messaging.batch.message_count": len(ready)}):
            return self.publisher.publish(ready)

    def publish_again(self, job_id: UUID) -> None:
        """Publish a job on commit if it is pending: for senders who repeat what they got no answer to.

        The first time may have ended between its commit and its publish; without this, the job waits for the sweep.
        """
        transaction.on_commit(partial(self.publish, lookup.pending([job_id])))

    def _new_job(self, message: Message[Any], delay: int | None) -> NewJob:
        options = {name: value for name, value in message.options.items() if value is not None}
        unknown = sorted(set(options) - _SEND_OPTIONS)
        if unknown:
            raise ValueError(
                f"Unknown options for a durable job: {', '.join(unknown)}. Known: {', '.join(sorted(_SEND_OPTIONS))}."
            )
        actor = self.get_actor(message.actor_name)
        payload: dict[str, Any] = {
            "args": list(message.args),
            "kwargs": message.kwargs,
            "options": self._origin(options).as_options(),
        }
        if "follow_up" in options:
            payload["options"]["follow_up"] = self._follow_up(options["follow_up"])
        require_storable(payload)
        return NewJob(
            id=job_id_of(message.message_id, message.message_timestamp),
            queue=message.queue_name,
            actor=message.actor_name,
            payload=payload,
            priority=int(options.get("priority", 0)),
            partition_key=str(options.get("partition_key", "")),
            unique_key=options.get("unique_key"),
            parent_id=options.get("parent_id"),
            max_attempts=self._max_attempts(actor, options),
            delay=max(0, options.get("delay", 0) if delay is None else delay) / 1000,
        )

    def _origin(self, options: dict[str, Any]) -> Origin:
        """For whom the job is sent: for whom this thread works, unless the sender says otherwise."""
        current = current_origin()
        return Origin(
            request_id=str(options.get("request_id", current.request_id)),
            labels={**current.labels, **options.get("labels", {})},
            traceparent=tracing.current() or current.traceparent,
        )

    def _max_attempts(self, actor: Actor[Any, Any], options: dict[str, Any]) -> int:
        return int(options.get("max_attempts") or actor.options.get("max_attempts") or self.settings.max_attempts)

    def _follow_up(self, actor: Actor[Any, Any]) -> dict[str, Any]:
        return {
            "actor": actor.actor_name, "queue": actor.queue_name, "priority": 0,
            "max_attempts": self._max_attempts(actor, {}),
        }  # fmt: skip

    # -- consuming ---------------------------------------------------------------------------

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30000) -> Consumer:
        if self.runtime is None:
            raise ConfigurationError("The broker consumes only inside a worker: start one with rundramatiq.")
        wait = self.settings.poll_timeout_seconds
        return LedgerConsumer(self.runtime, self._ready_sets(wait + 3.0))

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        if signal == "worker_boot":
            self._boot(args[0])
        elif signal == "worker_shutdown" and self.runtime is not None:
            self.runtime.shut_down()
        elif signal == "process_message":
            args[0].begin()
        elif signal in ("consumer_thread_shutdown", "worker_thread_shutdown"):
            connection.close()
        if self._is_heard("before_" + signal):
            super().emit_before(signal, *args, **kwargs)

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        if signal == "process_message":
            args[0].result = kwargs.get("result")
        elif signal == "skip_message":
            args[0].skipped()
        if self._is_heard("after_" + signal):
            super().emit_after(signal, *args, **kwargs)
        if signal in ("process_message", "skip_message"):
            enter_job(None)
            if connection.connection is not None:  # an actor's own; most use none
                close_old_connections()
        elif signal == "worker_shutdown" and self.runtime is not None:
            self.runtime.stop()
            self.runtime = None

    def _is_heard(self, hook: str) -> bool:
        """Whether any middleware does something in a hook: calling the others' empty ones costs as much as a job."""
        heard = self._heard.get(hook)
        if heard is None:
            silent = getattr(Middleware, hook, None)
            heard = self._heard[hook] = any(getattr(type(item), hook, None) is not silent for item in self.middleware)
        return heard

    def add_middleware(self, middleware: Middleware, **where: Any) -> None:
        super().add_middleware(middleware, **where)
        self._heard.clear()

    def add_chore(self, name: str, *, every_seconds: float, run: Callable[[], object]) -> None:
        """Have the leading dispatcher call `run` about every so many seconds; see `Chore`."""
        self._chores.append(Chore(name=name, every_seconds=every_seconds, run=run))

    def _boot(self, worker: Worker) -> None:
        try:
            self.ready_sets.require_supported()
        except BrokerUnavailable as error:
            # Not a reason to die: the consumer waits for the broker.
            logger.warning("the worker starts without its broker", extra={"error": str(error)})
        self.runtime = WorkerRuntime(
            self.settings,
            sets=self.ready_sets,
            publisher=self.publisher,
            actors=self.actors,
            chores=self._chores,
            queues=self.job_queues(),
            threads=worker.worker_threads,
        )
        self.runtime.start()

    def close(self) -> None:
        if "ready_sets" in self.__dict__:
            self.ready_sets.close()

    # -- maintenance that Dramatiq names -------------------------------------------------------

    def flush(self, queue_name: str) -> None:
        """Refused: dropping jobs is an operation with an audit row (`manage.py queue`), not a broker call."""
        raise NotImplementedError("Purge a queue with `manage.py queue` or in the admin, which record who did it.")

    def flush_all(self) -> None:
        self.flush("")


def get_ledger_broker() -> LedgerRedisBroker:
    """The project's broker. Raises ConfigurationError when another kind is set up."""
    from dramatiq import get_broker

    broker = get_broker()
    if not isinstance(broker, LedgerRedisBroker):
        raise ConfigurationError("DRAMATIQ_BROKER['BROKER'] must be queueadmin.broker.LedgerRedisBroker.")
    return broker
