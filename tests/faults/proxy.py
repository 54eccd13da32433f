"""A TCP proxy on loopback that breaks connections in the ways that networks do.

One per client and server, all in one event loop of a thread of its own. It reads just enough of the Redis and
PostgreSQL protocols to drop the reply to one command *after* the command took effect, which is the fault that tells
"at least once" from "exactly once".
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

_CHUNK = 65_536
_READY_FOR_QUERY = b"Z\x00\x00\x00\x05"
_PARSE = re.compile(rb"P.{4}([^\0]+)\0([^\0]*)\0", re.DOTALL)
_BIND = re.compile(rb"B.{4}\0([^\0]+)\0", re.DOTALL)
"""A client has a statement prepared under a name, and later runs it by that name alone; unnamed ones come with their
text. See https://www.postgresql.org/docs/current/protocol-message-formats.html"""
_REFUSED = b"-"
"""Redis refuses: it does not know the script yet."""
_EMPTY_REPLIES = (b"*-1", b"$-1", b"*0", b"_")
"""Redis has nothing to give: dropping this reply to a command that fetches would lose nothing."""


class Loop:
    """The event loop of all proxies, in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def close(self) -> None:
        self.run(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()

    @staticmethod
    async def _end() -> None:
        """Connections that were held still wait for something."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@dataclass(kw_only=True)
class Drop:
    """Swallow the next `left` replies to commands that contain `marker`, and close their connections.

    A refusal is passed on: nothing took effect. So is an empty reply, unless the command is one that has no other.
    """

    marker: bytes
    left: int
    even_empty: bool = False
    dropped: int = 0


@dataclass(eq=False)
class Catch:
    """Keep the next command that contains `marker` from the server: its sender stands right before it took effect."""

    marker: bytes
    caught: threading.Event = field(default_factory=threading.Event)


@dataclass(eq=False)
class _Pair:
    """One client connection and the server connection behind it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    swallow: Drop | None = None
    swallowed: bytes = b""
    prepared: dict[bytes, bytes] = field(default_factory=dict)

    def command(self, data: bytes) -> bytes:
        """What PostgreSQL is asked to do: to prepare a statement is to do nothing yet, to run one is its text."""
        if parse := _PARSE.match(data):
            self.prepared[parse[1]] = parse[2]
            return b""
        bind = _BIND.match(data)
        return self.prepared.get(bind[1], b"") + data if bind else data

    def abort(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()


@dataclass(eq=False)
class Proxy:
    """Forwards `port` to `target`. Change it from any thread: `refuse`, `hold`, `delay`, `cut`, `drop`.

    With `tls` clients speak TLS to it, and it speaks plainly to the target: the wheel's Valkey is built without TLS.
    """

    loop: Loop
    target: int
    postgres: bool
    port: int = 0
    tls: ssl.SSLContext | None = None
    refusing: bool = False
    """New connections are closed at once; the old ones are cut."""

    delay: float = 0.0
    """Seconds that every chunk waits, in both directions."""

    drops: list[Drop] = field(default_factory=list)
    catches: list[Catch] = field(default_factory=list)
    _pairs: set[_Pair] = field(default_factory=set)
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    def start(self) -> Proxy:
        self.loop.run(self._start())
        return self

    async def _start(self) -> None:
        self._open.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Close every connection that there is."""
        self.loop.run(self._cut())

    async def _cut(self) -> None:
        for pair in list(self._pairs):
            pair.abort()

    def hold(self) -> None:
        """Half-open: connections stay, and nothing comes through any more."""
        self.loop.loop.call_soon_threadsafe(self._open.clear)

    def let_go(self) -> None:
        """End of `hold`."""
        self.loop.loop.call_soon_threadsafe(self._open.set)

    def drop(self, marker: bytes, *, times: int = 1, even_empty: bool = False) -> Drop:
        """Drop the replies to the next `times` commands that contain `marker`."""
        order = Drop(marker=marker, left=times, even_empty=even_empty)
        self.drops.append(order)
        return order

    def catch(self, marker: bytes) -> Catch:
        """Stop the next command that contains `marker`; its connection hangs until it is cut."""
        order = Catch(marker)
        self.catches.append(order)
        return order

    def heal(self) -> None:
        """Be a plain wire again."""
        self.refusing, self.delay = False, 0.0
        self.drops.clear()
        self.catches.clear()
        self.let_go()

    def close(self) -> None:
        self.loop.run(self._close())

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._cut()

    # -- forwarding --------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        await self._open.wait()
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(writer, server_writer)
        self._pairs.add(pair)
        with contextlib.suppress(OSError):
            up = asyncio.create_task(self._up(pair, reader))
            down = asyncio.create_task(self._down(pair, server_reader))
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        self._pairs.discard(pair)
        pair.abort()

    async def _up(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_CHUNK):
            await self._through()
            command = pair.command(data) if self.postgres else data
            if self._is_caught(command):
                await asyncio.Event().wait()  # until the connection is cut
            for order in list(self.drops):
                if order.left > 0 and pair.swallow is None and order.marker in command:
                    order.left -= 1
                    pair.swallow, pair.swallowed = order, b""
            pair.server.write(data)
            await pair.server.drain()

    def _is_caught(self, command: bytes) -> bool:
        for order in list(self.catches):
            if order.marker in command:
                self.catches.remove(order)
                order.caught.set()
                return True
        return False

    async def _down(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_CHUNK):
            await self._through()
            if pair.swallow is not None:
                data = self._swallow(pair, data)
            if data:
                pair.client.write(data)
                await pair.client.drain()

    async def _through(self) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._open.wait()

    def _swallow(self, pair: _Pair, data: bytes) -> bytes:
        """Keep a reply back until it is whole, then end the connection; what was no loss is passed on."""
        order = pair.swallow
        assert order is not None
        pair.swallowed += data
        if self.postgres and _READY_FOR_QUERY not in pair.swallowed:
            return b""
        if not self.postgres and _is_no_loss(pair.swallowed, order):
            pair.swallow = None
            order.left += 1
            return pair.swallowed
        order.dropped += 1
        pair.abort()
        return b""


def _is_no_loss(reply: bytes, order: Drop) -> bool:
    return reply.startswith(_REFUSED) or (not order.even_empty and reply.startswith(_EMPTY_REPLIES))
