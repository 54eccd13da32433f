"""A client that drives a web server hard and cheaply: keep-alive connections, requests built by hand.

A full HTTP client would spend more of the two cores than the servers it measures.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

CONNECTIONS = 16
"""Requests under way at once: what two web processes of eight threads can take."""


class UnexpectedAnswer(Exception):
    """The server answered something else than the status that was expected."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """`requests` answered as expected in `seconds`; their latencies in seconds."""

    requests: int
    seconds: float
    latencies: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def drive(
    port: int, build: Callable[[int], bytes], numbers: range, *, expected: int, connections: int = CONNECTIONS
) -> Loaded:
    """Send `build(number)` for all `numbers` to 127.0.0.1; raises UnexpectedAnswer, OSError."""
    return asyncio.run(_drive(port, build, iter(numbers), expected, connections))


async def _drive(
    port: int, build: Callable[[int], bytes], numbers: Iterator[int], expected: int, connections: int
) -> Loaded:
    latencies: list[float] = []
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_connection(port, build, numbers, expected, latencies))
    return Loaded(requests=len(latencies), seconds=time.perf_counter() - started, latencies=tuple(latencies))


async def _connection(
    port: int, build: Callable[[int], bytes], numbers: Iterator[int], expected: int, latencies: list[float]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for number in numbers:
            started = time.perf_counter()
            writer.write(build(number))
            status, body = await answer(reader)
            latencies.append(time.perf_counter() - started)
            if status != expected:
                raise UnexpectedAnswer(f"status {status}: {body[:500].decode(errors='replace')}")
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one response that has a Content-Length: its status and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = next(line.partition(":")[2] for line in head.split("\r\n") if line.startswith("content-length:"))
    return int(head.split(" ", 2)[1]), await reader.readexactly(int(length))


def get(path: str, *, key: str) -> bytes:
    """An HTTP/1.1 request as bytes."""
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nAccept: application/json\r\n\r\n"
    return head.encode()


def post(path: str, *, key: str, body: bytes) -> bytes:
    """An HTTP/1.1 request as bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nAccept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
