"""The stores under test, and an S3 that answers badly."""

from __future__ import annotations

import dataclasses
import http.server
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from documents.storage import (
    DirectoryResultStore,
    DirectoryStore,
    DocumentStore,
    ResultStore,
    S3Connection,
    S3ResultStore,
    S3Store,
)

BODY = b"0123456789" * 1000
_buckets = itertools.count(1)


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """A real S3 server of moto in a thread of its own. Session-wide; each test makes its bucket."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def connection(moto_url: str) -> S3Connection:
    """A connection to an empty bucket."""
    made = S3Connection(
        bucket=f"bucket-{next(_buckets)}", endpoint_url=moto_url, region="us-east-1",
        access_key_id="test-key", secret_access_key="test-secret",
    )  # fmt: skip
    client = made.client()
    client.create_bucket(Bucket=made.bucket)
    client.close()
    return made


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> DocumentStore:
    """Each store in turn, empty."""
    if request.param == "s3":
        return S3Store(request.getfixturevalue("connection"))
    root = tmp_path / "documents"
    root.mkdir()
    return DirectoryStore(root)


@pytest.fixture(params=["directory", "s3"])
def results(request: pytest.FixtureRequest, tmp_path: Path) -> ResultStore:
    """Each result store in turn, empty."""
    if request.param == "s3":
        return S3ResultStore(request.getfixturevalue("connection"), prefix="results")
    return DirectoryResultStore(tmp_path / "results")


@dataclasses.dataclass
class FaultyS3:
    """An HTTP server that answers every GET by `behaviour`, and counts the requests."""

    url: str
    requests: int = 0
    behaviour: Callable[[Any], None] = lambda handler: handler.send_error(500)

    def store(self, *, read_seconds: float = 0.5, **arguments: Any) -> S3Store:
        connection = S3Connection(
            bucket="bucket", endpoint_url=self.url, region="us-east-1", access_key_id="test-key",
            secret_access_key="never-show-this", connect_seconds=1, read_seconds=read_seconds, attempts=1,
        )  # fmt: skip
        return S3Store(connection, **arguments)


@pytest.fixture
def faulty_s3() -> Iterator[FaultyS3]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            faulty.requests += 1
            self.close_connection = True
            try:
                faulty.behaviour(self)
            except (BrokenPipeError, ConnectionResetError):
                return

        def log_message(self, *arguments: Any) -> None:
            """Keep the test's output clean."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True  # one that is told to be silent would hold up the end of its test
    faulty = FaultyS3(url=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield faulty
    server.shutdown()
    thread.join()
    server.server_close()


def answer(status: int, code: str = "", *, body: bytes = b"", length: int | None = None) -> Callable[[Any], None]:
    """Answer with a status, and an S3 error code or a body (whose announced length may be a lie)."""

    def behave(handler: Any) -> None:
        content = body or f"<Error><Code>{code}</Code><Message>secret detail</Message></Error>".encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.end_headers()
        handler.wfile.write(content)

    return behave


def chunked(body: bytes) -> Callable[[Any], None]:
    """Answer with a body that announces no length."""

    def behave(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")

    return behave


def silence(seconds: float) -> Callable[[Any], None]:
    """Accept the request and say nothing."""
    return lambda handler: time.sleep(seconds)


def stall(handler: Any) -> None:
    """Send half of the body, and then nothing until the client has gone away."""
    handler.send_response(200)
    handler.send_header("Content-Length", "10")
    handler.end_headers()
    handler.wfile.write(b"12345")
    handler.wfile.flush()
    handler.connection.settimeout(20)
    handler.rfile.read(1)


def trickle(handler: Any) -> None:
    """Send a byte every 50 ms: often enough for every read time-out."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.05)
