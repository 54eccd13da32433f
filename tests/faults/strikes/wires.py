"""Faults of connections, which the proxies make."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from tests.faults.proxy import Proxy

_DROP_SECONDS = 8.0
_REPEAT_SECONDS = 0.4


def drop(proxies: Sequence[Proxy], marker: bytes, times: int, *, even_empty: bool = False) -> int:
    """Drop `times` replies, on whichever wire the next such commands come; returns how many there were in time."""
    orders = [proxy.drop(marker, times=times, even_empty=even_empty) for proxy in proxies]
    deadline = time.monotonic() + _DROP_SECONDS
    while time.monotonic() < deadline and sum(order.dropped for order in orders) < times:
        time.sleep(0.02)
    for proxy in proxies:
        proxy.drops.clear()
    return sum(order.dropped for order in orders)


def drop_one_by_one(proxies: Sequence[Proxy], marker: bytes, times: int, *, even_empty: bool = False) -> int:
    """The same with a pause after each: whoever repeats what got no reply succeeds, and another one is struck."""
    dropped = 0
    for _ in range(times):
        dropped += drop(proxies, marker, 1, even_empty=even_empty)
        time.sleep(_REPEAT_SECONDS)
    return dropped


@contextlib.contextmanager
def held(proxies: Sequence[Proxy]) -> Iterator[None]:
    for proxy in proxies:
        proxy.hold()
    try:
        yield
    finally:
        for proxy in proxies:
            proxy.let_go()


@contextlib.contextmanager
def delayed(proxies: Sequence[Proxy], seconds: float) -> Iterator[None]:
    for proxy in proxies:
        proxy.delay = seconds
    try:
        yield
    finally:
        for proxy in proxies:
            proxy.delay = 0.0
