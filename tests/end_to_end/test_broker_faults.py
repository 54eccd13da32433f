"""Redis forgets, stops, or says things twice; no task is lost and none ends twice."""

import time
from collections import Counter

import pytest
import redis

from queueadmin.models import Job, JobEvent
from tests.end_to_end.service import Service
from tests.servers import ValkeyServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def edges_per_job() -> Counter[str]:
    """How often each edge was taken by ingestion tasks."""
    tasks = Job.objects.filter(actor="ingest_document").values("pk")
    return Counter(JobEvent.objects.filter(job_id__in=tasks).values_list("edge", flat=True))


def test_flushall_with_500_waiting_tasks_loses_none(service: Service, valkey: redis.Redis) -> None:
    # Given 500 waiting tasks
    service.put("a.txt", b"hello")
    tasks = [service.submit("a.txt") for _ in range(500)]
    # When Redis forgets everything
    valkey.flushall()
    # Then a worker completes them all, each once
    service.worker(threads=4)
    ended = service.wait(*tasks, seconds=60)
    assert Counter(job.state for job in ended.values()) == {"completed": 500}
    assert edges_per_job()["complete"] == 500


def test_tasks_submitted_while_redis_is_down_run_when_it_is_back(service: Service, valkey_server: ValkeyServer) -> None:
    # Given a worker that waits, and a Redis that is stopped
    service.put("a.txt", b"hello")
    service.worker(threads=4)
    valkey_server.stop()
    try:
        # When 100 tasks are submitted
        slowest, tasks = 0.0, []
        for _ in range(100):
            started = time.monotonic()
            tasks.append(service.submit("a.txt"))
            slowest = max(slowest, time.monotonic() - started)
    finally:
        valkey_server.start()
    # Then each was accepted within a second, and all complete soon, also those of the last moment
    assert slowest < 1
    ended = service.wait(*tasks, seconds=14)
    assert Counter(job.state for job in ended.values()) == {"completed": 100}


def test_a_duplicate_message_changes_nothing(service: Service, valkey: redis.Redis) -> None:
    # Given a task that is done
    service.put("a.txt", b"hello")
    task = service.submit("a.txt")
    service.worker()
    done = service.one(task)
    history = service.edges(task)
    # When its message turns up again, several times
    for _ in range(3):
        valkey.zadd("{ingestion}:ready:document_ingestion:normal", {task.hex: 0})
        time.sleep(0.3)
    # And a later one has been through the same queue
    service.one(service.submit("a.txt"))
    # Then nothing has happened to the first
    after = Job.objects.get(pk=task)
    assert (after.attempt, after.finished_at, after.result) == (done.attempt, done.finished_at, done.result)
    assert service.edges(task) == history
    assert valkey.zcard("{ingestion}:ready:document_ingestion:normal") == 0
