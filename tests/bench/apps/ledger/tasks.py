"""Actors like any other app's: `noop` is the job whose overhead is measured, `ping` says when it started."""

import os
import time

import dramatiq
import redis

_latencies = redis.Redis.from_url(os.environ["REDIS_URL"])


@dramatiq.actor(queue_name="bench")
def noop(number: int) -> None:
    """Do nothing."""


@dramatiq.actor(queue_name="bench")
def ping(sent_at: float) -> None:
    """Report the seconds between just before the send and now."""
    _latencies.rpush("bench:latencies", time.time() - sent_at)


@dramatiq.actor(queue_name="bench")
def work() -> None:
    """Take as long as a small document."""
    time.sleep(0.1)
