"""An object store that has bad days: a front on loopback before a real S3 server.

It hands requests on as they are and spoils answers: errors of the store, bodies that trickle, bodies that end early,
connections that break. One request for each connection, so that it need not understand more of HTTP than heads.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from dataclasses import dataclass, field

from tests.faults.proxy import Loop

_CHUNK = 16_384
_SLOW_CHUNK, _SLOW_SECONDS = 1024, 0.2
_ERRORS = {500: "InternalError", 503: "SlowDown"}


@dataclass(eq=False)
class Storefront:
    """Forwards `port` to the S3 server at `target`.

    `moods` are what may happen to a request, drawn by `dice`: "500", "503", "reset", and for bodies that are read
    "slow" and "truncated". Empty: nothing. `spoilt` counts the requests that something happened to.
    """

    loop: Loop
    target: int
    dice: random.Random
    port: int = 0
    moods: tuple[str, ...] = ()
    spoilt: int = 0
    _server: asyncio.Server | None = field(default=None, repr=False)
    _serving: set[asyncio.Task[None] | None] = field(default_factory=set, repr=False)
    """asyncio itself keeps no hold of a task whose connections are both gone."""

    def start(self) -> Storefront:
        self.loop.run(self._start())
        return self

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        self.loop.run(self._close())

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._serving.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._handle(reader, writer)
        finally:
            self._serving.discard(task)
            writer.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        mood = self._mood(head)
        self.spoilt += bool(mood)
        if mood.isdigit():
            await _refuse(writer, int(mood))
        elif mood != "reset":
            await self._forward(head, reader, writer, mood)

    def _mood(self, head: bytes) -> str:
        reads = head.startswith(b"GET ")
        fitting = [mood for mood in self.moods if reads or mood not in ("slow", "truncated")]
        return self.dice.choice(fitting) if fitting else ""

    async def _forward(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mood: str
    ) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        server_writer.write(_closing(head))
        up = asyncio.create_task(_pump(reader, server_writer))
        try:
            await _answer(server_reader, writer, mood)
        finally:
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)
            server_writer.close()


def _closing(head: bytes) -> bytes:
    """The head with `Connection: close`."""
    lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


async def _refuse(writer: asyncio.StreamWriter, status: int) -> None:
    body = f"<Error><Code>{_ERRORS[status]}</Code><Message>A bad day.</Message></Error>".encode()
    writer.write(
        f"HTTP/1.1 {status} Bad day\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n".encode()
        + body
    )
    await writer.drain()
    await asyncio.sleep(0.05)  # for the client to read it before a reset overtakes it: its body was not read


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mood: str) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        writer.write(head)
        head = await reader.readuntil(b"\r\n\r\n")
    writer.write(head)
    left = _length(head)
    if mood == "truncated":
        left //= 2
    size, pause = (_SLOW_CHUNK, _SLOW_SECONDS) if mood == "slow" else (_CHUNK, 0.0)
    while left > 0 and (data := await reader.read(min(size, left))):
        left -= len(data)
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(pause)


def _length(head: bytes) -> int:
    """Bytes of the body. The server behind always says it, and is slow to close the connection."""
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found.group(1)) if found else 0


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
