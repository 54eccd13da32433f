"""Dramatiq as its guide sets it up: RedisBroker with the default middleware. Run it to send no-op jobs."""

import os
import sys
import time

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from tests.bench.apps import pinging

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))
_latencies = redis.Redis.from_url(os.environ["REDIS_URL"])


@dramatiq.actor(queue_name="bench")
def noop(number: int) -> None:
    """Do nothing."""


@dramatiq.actor(queue_name="bench")
def ping(sent_at: float) -> None:
    """Report the seconds between just before the send and now."""
    _latencies.rpush("bench:latencies", time.time() - sent_at)


def main(kind: str, count: int) -> None:
    if kind == "ping":
        pinging.send(ping.send, count)
        return
    for number in range(count):
        noop.send(number)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
