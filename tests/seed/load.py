"""Stories into tables, in bulk: COPY on PostgreSQL, many rows a statement on SQLite."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Model

from documents.models import IngestionTask, Tenant, WebhookAttempt
from queueadmin.jobs import order_key_now
from queueadmin.models import FailureMinute, Job, JobEvent, JobMinute, QueueControl, WorkerProcess
from queueadmin.states import State
from tests.seed.story import DELIVER, INGEST, SILENT_WORKER, TENANTS, WORKERS, Story

BATCH = 5_000
Row = Mapping[str, Any]


class NotEmpty(Exception):
    """The database holds jobs already: seed an empty one."""


def load(stories: Iterable[Story], *, now: datetime, ingest_queue: str, tick: Callable[[int], None]) -> None:
    """Write everything that the stories tell; `tick(n)` after n more jobs. Raises NotEmpty."""
    if Job.objects.exists():
        raise NotEmpty(NotEmpty.__doc__)
    _write(Tenant, [{"slug": slug, "key_prefix": f"{slug}/", "created_at": now} for slug, _ in TENANTS])
    _write(
        QueueControl,
        [{"queue": "maintenance", "reason": "the archive is being moved", "paused_by": "root", "paused_at": now}],
    )
    minutes = Minutes(now)
    for batch in _batches(stories):
        _write(Job, [_job(story) for story in batch])
        _write(IngestionTask, [_task(story) for story in batch if story.actor == INGEST])
        _write(JobEvent, [row for story in batch for row in _events(story)])
        _write(WebhookAttempt, [_delivery(story) for story in batch if story.actor == DELIVER and story.finished_at])
        for story in batch:
            minutes.count(story)
        tick(len(batch))
    held = Counter(Job.objects.filter(state=State.PROCESSING).values_list("worker_id", flat=True))
    _write(WorkerProcess, list(_workers(now, ingest_queue, held)))
    _write(JobMinute, minutes.outcomes())
    _write(FailureMinute, minutes.failures())
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")  # as autovacuum does with tables that have grown


def _batches(stories: Iterable[Story]) -> Iterator[list[Story]]:
    batch: list[Story] = []
    for story in stories:
        batch.append(story)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


# -- rows ----------------------------------------------------------------------------------------


def _job(story: Story) -> Row:
    fault = story.fault
    return {
        "id": story.id, "queue": story.queue, "actor": story.actor, "state": story.state, "priority": story.priority,
        "order_key": order_key_now() if story.run_at else int(story.created_at.timestamp() * 1_000_000),
        "partition_key": story.tenant, "parent_id": story.parent_id, "attempt": story.attempt,
        "payload": {"args": [], "kwargs": {"file_name": story.file_name, "tenant": story.tenant}, "options": {}},
        "result": {"characters": 4_200, "pages": 3} if story.state == State.COMPLETED else None,
        "failures": story.failures, "max_attempts": 3, "run_at": story.run_at, "created_at": story.created_at,
        "claimed_at": story.claimed_at, "started_at": story.claimed_at, "finished_at": story.finished_at,
        "worker_id": story.worker_id, "token": story.id if story.state == State.PROCESSING else None,
        "error_code": fault.code if fault else "", "error_message": fault.message if fault else "",
        "fingerprint": fault.fingerprint if fault else "",
    }  # fmt: skip


def _task(story: Story) -> Row:
    return {
        "job": story.id, "tenant": story.tenant, "document_id": f"doc-{story.id.hex[-8:]}",
        "user_id": f"user-{story.id.int % 500}", "file_name": story.file_name,
        "r2_key": f"{story.tenant}/{story.file_name}", "content_type": story.content_type,
        "file_size": 20_000 + story.id.int % 3_000_000, "priority": story.priority, "created_at": story.created_at,
        "callback_url": "https://example.com/hook", "metadata": {"folder": "in"},
    }  # fmt: skip


def _events(story: Story) -> Iterator[Row]:
    for event in story.events:
        yield {
            "job_id": story.id, "edge": event.edge, "attempt": event.attempt, "worker_id": event.worker_id,
            "at": event.at, "detail": event.detail,
        }  # fmt: skip


def _delivery(story: Story) -> Row:
    return {
        "task_id": story.parent_id, "job_id": story.id, "event": "task.completed", "attempt": story.attempt,
        "at": story.finished_at, "url": "https://example.com/hook", "status_code": 500 if story.fault else 200,
        "duration_ms": 80, "error": story.fault.message if story.fault else "", "response_excerpt": "",
    }  # fmt: skip


_MIB = 2**20


def _workers(now: datetime, ingest_queue: str, held: Counter[int | None]) -> Iterator[Row]:
    """As in the middle of a rollout: the newest release everywhere but on the host that fell silent."""
    queues = [ingest_queue, "webhooks", "maintenance", "control"]
    for number, name in [*WORKERS.items(), (SILENT_WORKER, "ingest-c:1")]:
        yield {
            "id": number, "name": name, "host": name.split(":")[0], "pid": 4_000 + 17 * number, "pid_started": "1",
            "queues": queues, "actors": [INGEST, DELIVER, "cleanup"], "threads": 8, "busy": min(8, held[number]),
            "version": "2.3.0" if number == SILENT_WORKER else "2.4.1",
            "memory": (180 + 53 * (number % 7)) * _MIB, "peak_memory": (420 + 61 * (number % 7)) * _MIB,
            "started_at": now - timedelta(hours=7 * (number - 100), minutes=number), "beat_at": now,
        }  # fmt: skip


_COUNTED = {
    "complete": "completed", "fail": "failed", "bury": "dead_letter", "stop": "cancelled", "retry_later": "retried",
}  # fmt: skip


class Minutes:
    """Outcomes and failures, counted as the ledger counts them: by the minute for two days, before that by the hour."""

    def __init__(self, now: datetime) -> None:
        self._minutes_from = now - timedelta(days=2)
        self._outcomes: dict[tuple[Any, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._failures: dict[tuple[Any, ...], tuple[int, UUID]] = {}

    def count(self, story: Story) -> None:
        for event in story.events:
            field = _COUNTED.get(event.edge)
            if field is None:
                continue
            minute = event.at.replace(second=0, microsecond=0)
            if event.at < self._minutes_from:
                minute = minute.replace(minute=0)
            counts = self._outcomes[(minute, story.queue, story.actor, story.tenant)]
            counts[field] += 1
            counts["attempts"] += 1
            counts["wait_ms"] += 2_000
            counts["run_ms"] += 2_500
            if story.fault is not None:
                self._count_failure(story, field, minute)

    def _count_failure(self, story: Story, field: str, minute: datetime) -> None:
        assert story.fault is not None
        state = {"retried": State.RETRYING, "failed": State.FAILED}.get(field, State.DEAD_LETTER)
        key = (minute, story.queue, story.actor, story.tenant, str(state), story.fault.code, story.fault.fingerprint)
        count, _ = self._failures.get(key, (0, story.id))
        self._failures[key] = (count + 1, story.id)

    def outcomes(self) -> list[Row]:
        names = ("minute", "queue", "actor", "partition_key")
        return [
            dict(zip(names, key, strict=True)) | {"source_id": 0} | counts for key, counts in self._outcomes.items()
        ]

    def failures(self) -> list[Row]:
        names = ("minute", "queue", "actor", "partition_key", "state", "error_code", "fingerprint")
        return [
            dict(zip(names, key, strict=True)) | {"source_id": 0, "count": count, "example_id": example}
            for key, (count, example) in self._failures.items()
        ]


# -- tables --------------------------------------------------------------------------------------


def _write(model: type[Model], rows: list[Row]) -> None:
    """Insert rows, given by field name; what they leave out has the model's default."""
    if not rows:
        return
    fields = [field for field in model._meta.concrete_fields if not field.get_internal_type().endswith("AutoField")]
    columns = ", ".join(f'"{field.column}"' for field in fields)
    # What depends on the column alone is decided once: twenty columns times a million rows.
    plans = [(field.name, field.get_default(), _plain(field)) for field in fields]
    values = [[plain(row.get(name, default)) for name, default, plain in plans] for row in rows]
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f'COPY "{model._meta.db_table}" ({columns}) FROM STDIN') as copy:
                for value in values:
                    copy.write_row(value)
        else:
            marks = ", ".join(["%s"] * len(fields))
            cursor.executemany(f'INSERT INTO "{model._meta.db_table}" ({columns}) VALUES ({marks})', values)


def _plain(field: Any) -> Callable[[Any], Any]:
    """Makes what the database takes for a value of this field."""
    kind = field.get_internal_type()
    if kind == "JSONField":
        return lambda value: None if value is None and field.null else json.dumps(value)
    if kind in ("CharField", "TextField"):
        return lambda value: None if value is None else str(value)  # a State is written as its word
    if connection.vendor == "sqlite":
        if kind == "DateTimeField":
            return lambda value: value and value.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
        return lambda value: value.hex if isinstance(value, UUID) else value
    return lambda value: value


@contextmanager
def no_checks() -> Iterator[None]:
    """COPY of a million rows waits for no disk: a seeded database can be made again."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET synchronous_commit = off")
    yield
