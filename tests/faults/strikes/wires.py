"""Faults of connections, which the proxies make."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from tests.faults.proxy import Proxy


def drop(proxies: Sequence[Proxy], marker: bytes, times: int) -> None:
    orders = [(proxy, proxy.drop(marker, times=times)) for proxy in proxies]
    deadline = time.monotonic() + 8.0
    while time.monotonic() < deadline and any(order.left for _, order in orders):
        time.sleep(0.05)
    for proxy, _ in orders:
        proxy.drops.clear()


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
