"""Real HTTP servers that receive webhooks, well or badly. They listen on the loopback interface only."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Received:
    """One request as it came over the wire. Header names are lower-case."""

    line: str
    headers: Mapping[str, str]
    body: bytes


Behaviour = Callable[[socket.socket, Received, "Receiver"], None]
"""Answers one request, or does not."""


def answer(status: int, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Behaviour:
    """Answer properly."""

    def behave(connection: socket.socket, received: Received, receiver: Receiver) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    return behave


def hang(connection: socket.socket, received: Received, receiver: Receiver) -> None:
    """Say nothing until the test ends."""
    receiver.over.wait(30)


def drip(head: bytes, every: float = 0.1) -> Behaviour:
    """Send `head` and then one byte after the other, each within any reasonable time-out."""

    def behave(connection: socket.socket, received: Received, receiver: Receiver) -> None:
        connection.sendall(head)
        while not receiver.over.wait(every):
            connection.sendall(b"x")

    return behave


def reset(connection: socket.socket, received: Received, receiver: Receiver) -> None:
    """Break the connection with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass
class Receiver:
    """A server whose answers come from `behaviours`, one for each request; the last one stays."""

    behaviours: list[Behaviour]
    tls: ssl.SSLContext | None = None
    port: int = 0
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._spawn(self._accept)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=1"

    def close(self) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client gave up, which is what many tests want
            connection.settimeout(10)
            with self.tls.wrap_socket(connection, server_side=True) if self.tls else connection as stream:
                received = _read(stream)
                behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
                self.received.append(received)
                behaviour(stream, received, self)


def _read(connection: socket.socket) -> Received:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rest = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in rest)}
    while len(body) < int(headers.get("content-length", 0)):
        body += _some(connection)
    return Received(line, headers, body)


def _some(connection: socket.socket) -> bytes:
    chunk = connection.recv(65536)
    if not chunk:
        raise ConnectionResetError("the client went away")
    return chunk


@contextlib.contextmanager
def receiver(*behaviours: Behaviour, tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[Receiver]:
    """A running receiver; `answer(204)` when no behaviour is given."""
    running = Receiver(list(behaviours) or [answer(204)], tls=tls, port=port)
    try:
        yield running
    finally:
        running.close()
