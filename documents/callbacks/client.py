"""One POST to a checked address, with one deadline over all of it.

httpcore, the layer below httpx, lets us choose the address a connection is made to while URL, Host, SNI and the
certificate check keep the name. It reads no proxies from the environment and follows no redirects.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpcore
import httpx

from documents.callbacks.addresses import Resolver, Target, parse, resolve_public, system_resolver
from documents.exceptions import DocumentError

Clock = Callable[[], float]


class CallbackUnreachable(DocumentError):
    """The receiver of the webhook did not answer."""

    code = "callback_unreachable"
    retryable = True


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the receiver said: status, its Retry-After header ("" without), and the start of the body as text."""

    status: int
    retry_after: str
    excerpt: str


class Deadline:
    """A moment that everything about one request shares. `seconds` from now, by the monotonic clock."""

    def __init__(self, seconds: float, *, clock: Clock = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Seconds until the end, never below zero."""
        return max(0.0, self._end - self._clock())

    def require(self, at_most: float | None = None) -> float:
        """The time-out for the next step: what is left, but no more than `at_most`. Raises when nothing is left."""
        left = self.left()
        if left <= 0:
            raise httpcore.TimeoutException()
        return left if at_most is None else min(left, at_most)


def post(
    url: str,
    *,
    body: bytes,
    headers: Mapping[str, str],
    seconds: float,
    response_bytes: int,
    allow_private: bool = False,
    resolver: Resolver = system_resolver,
    ssl_context: ssl.SSLContext | None = None,
    network: httpcore.NetworkBackend | None = None,
) -> Answer:
    """POST `body` and return the answer, after `seconds` at the most, whoever drips or hangs.

    Up to `response_bytes` of the answer are read and the connection is closed. `network` makes the connections, to
    checked addresses only. Raises CallbackRefused for a URL that webhooks may not go to, CallbackUnresolved and
    CallbackUnreachable (both retryable).
    """
    deadline = Deadline(seconds)
    target = parse(url, allow_private=allow_private)
    addresses = resolve_public(target, allow_private=allow_private, timeout=deadline.left(), resolver=resolver)
    backend = _PinnedBackend(addresses, deadline, network or httpcore.SyncBackend())
    context = ssl_context or _trusted()
    try:
        with httpcore.ConnectionPool(ssl_context=context, network_backend=backend, retries=0) as pool:
            return _exchange(pool, target, body, headers, response_bytes)
    except httpcore.TimeoutException as error:
        raise CallbackUnreachable(f"The receiver did not answer within {seconds:g} seconds.") from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise CallbackUnreachable(f"The receiver did not answer properly ({type(error).__name__}).") from error


def _exchange(
    pool: httpcore.ConnectionPool, target: Target, body: bytes, headers: Mapping[str, str], limit: int
) -> Answer:
    url = httpcore.URL(
        scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
    )
    sent = [("Host", target.authority), ("Content-Length", str(len(body))), ("Connection", "close"), *headers.items()]
    with pool.stream("POST", url, headers=sent, content=body) as response:
        received = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        return Answer(
            status=response.status,
            retry_after=received.get("retry-after", ""),
            excerpt=_excerpt(response.iter_stream(), limit),
        )


def _excerpt(chunks: Iterable[bytes], limit: int) -> str:
    """The start of the body. The status has been received: a body that breaks off or drips changes nothing."""
    received = bytearray()
    try:
        for chunk in chunks:
            received += chunk
            if len(received) >= limit:
                break
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        received += b" [cut off]"
    return bytes(received[:limit]).decode("utf-8", "replace").replace("\0", "\ufffd")


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """The certificates that httpx trusts: certifi's, or those of SSL_CERT_FILE. Loading them takes 20 ms."""
    return httpx.create_ssl_context()


class _PinnedBackend(httpcore.NetworkBackend):
    """Connects to the checked addresses in turn, whatever host is asked for, and to nothing else."""

    def __init__(self, addresses: list[str], deadline: Deadline, network: httpcore.NetworkBackend) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._network = network

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        error: Exception = httpcore.ConnectError("no address")
        for tried, address in enumerate(self._addresses):
            # An address that swallows packets leaves time for the others.
            share = self._deadline.require() / (len(self._addresses) - tried)
            try:
                return _Stream(self._network.connect_tcp(address, port, timeout=share), self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
                error = failure
        raise error

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        raise httpcore.ConnectError("webhooks do not go to sockets of this machine")


class _Stream(httpcore.NetworkStream):
    """A connection on which every wait ends with the request's deadline: time-outs of single reads never add up."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.require(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.require(timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        tls = self._stream.start_tls(ssl_context, server_hostname, self._deadline.require(timeout))
        return _Stream(tls, self._deadline)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
