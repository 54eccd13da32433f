"""Uploads through the real web server: what they cost it, and what is left of those that break off."""

import contextlib
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from documents.models import IngestionTask
from documents.storage.keys import UPLOAD_PREFIX
from tests.documents.api.client import PROCESS, submission
from tests.documents.api.web import WebServer
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

JSON = "application/json"
MIB = 1024 * 1024
_LIMIT = 65 * MIB
_HEAD = (
    b'--limit\r\nContent-Disposition: form-data; name="document_id"\r\n\r\nd\r\n'
    b'--limit\r\nContent-Disposition: form-data; name="user_id"\r\n\r\nu\r\n'
    b'--limit\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
)
_TAIL = b"\r\n--limit--\r\n"


@pytest.fixture
def web(service_environment: dict[str, str], tmp_path: Path) -> Iterator[WebServer]:
    """A web server with a data directory of its own."""
    server = WebServer({**service_environment, "DATA_DIR": str(tmp_path), "MAX_DOCUMENT_BYTES": str(_LIMIT)})
    server.start()
    yield server
    server.close()


class Upload:
    """One upload, by hand: as much of it as the test likes. `size` is what it announces for the file."""

    def __init__(self, web: WebServer, key: str, *, size: int, **headers: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", web.port), timeout=60)
        length = len(_HEAD) + size + len(_TAIL)
        lines = [
            "POST /api/documents/upload HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}",
            "Content-Type: multipart/form-data; boundary=limit", f"Content-Length: {length}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]  # fmt: skip
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def begin(self) -> None:
        self._socket.sendall(_HEAD)

    def send(self, size: int) -> None:
        for _ in range(size // MIB):
            self._socket.sendall(b"x" * MIB)

    def send_until_refused(self, size: int) -> None:
        """As a client that goes on until the server hangs up; what was said before that can be read."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send(size)

    def end(self) -> bytes:
        self._socket.sendall(_TAIL)
        return self.answer()

    def answer(self) -> bytes:
        """The head of what the server says."""
        said = b""
        while b"\r\n\r\n" not in said and (chunk := self._socket.recv(65536)):
            said += chunk
        return said

    def close(self) -> None:
        self._socket.close()


def _workers(web: WebServer) -> list[psutil.Process]:
    return psutil.Process(web.pid).children(recursive=True)


def _memory(process: psutil.Process, name: str) -> int:
    """VmRSS or VmHWM (its highest so far) of proc_pid_status(5), in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_large_upload_never_lies_in_the_web_servers_memory(
    web: WebServer, make_key: Callable[..., Any], tmp_path: Path
) -> None:
    key = make_key("submit").key
    # Given a web server that has taken a small one
    small = Upload(web, key, size=MIB)
    small.begin()
    small.send(MIB)
    assert b" 202 " in small.end()
    small.close()
    before = {process: _memory(process, "VmRSS") for process in _workers(web)}
    # When it takes a large one
    large = Upload(web, key, size=64 * MIB)
    large.begin()
    large.send(64 * MIB)
    assert b" 202 " in large.end()
    large.close()
    # Then it has never held more than a part of it
    growth = {process: _memory(process, "VmHWM") - held for process, held in before.items()}
    assert max(growth.values()) < 24 * MIB, growth
    # And what it wrote down meanwhile is gone, and the document is there
    assert [path for path in (tmp_path / "work").rglob("*") if path.is_file()] == []
    sizes = sorted(path.stat().st_size for path in (tmp_path / "documents" / UPLOAD_PREFIX).rglob("*.txt"))
    assert sizes == [MIB, 64 * MIB]


def test_an_upload_that_breaks_off_leaves_nothing_behind(
    web: WebServer, make_key: Callable[..., Any], tmp_path: Path
) -> None:
    # Given an upload that is under way
    upload = Upload(web, make_key("submit").key, size=64 * MIB)
    upload.begin()
    upload.send(8 * MIB)
    wait_until(lambda: _open_spools(web, tmp_path), what="the web server to write the upload down")
    # When its client goes away
    upload.close()
    # Then the web server lets go of what it had, and nothing is stored
    wait_until(lambda: not _open_spools(web, tmp_path), what="the web server to give the upload up")
    assert [path for path in tmp_path.rglob("*.txt") if path.is_file()] == []
    assert not IngestionTask.objects.exists()


def test_bodies_in_chunks_are_read_to_their_end_or_to_what_is_allowed(
    web: WebServer, make_key: Callable[..., Any], tmp_path: Path
) -> None:
    # Given clients that do not know the length of what they send: a pipe, a stream
    with httpx.Client(base_url=web.url, headers={"Authorization": f"Bearer {make_key('submit').key}"}) as client:
        form = {"Content-Type": "multipart/form-data; boundary=limit"}

        def upload(mebibytes: int) -> httpx.Response:
            content = iter([_HEAD, *[b"x" * MIB] * mebibytes, _TAIL])
            return client.post("/api/documents/upload", content=content, headers=form, timeout=60)

        # When / Then
        body = json.dumps(submission()).encode()
        in_chunks = client.post(PROCESS, content=iter([body[:10], body[10:]]), headers={"Content-Type": JSON})
        assert in_chunks.status_code == 202, in_chunks.text
        assert upload(2).status_code == 202
        sizes = [path.stat().st_size for path in (tmp_path / "documents" / UPLOAD_PREFIX).rglob("*.txt")]
        assert sizes == [2 * MIB]
        # And there is an end to what is read
        too_large = client.post(PROCESS, content=iter([b"[", b"1," * MIB]), headers={"Content-Type": JSON})
        assert (too_large.status_code, upload(_LIMIT // MIB + 1).status_code) == (413, 413)


def _open_spools(web: WebServer, data_dir: Path) -> list[str]:
    """What the web server has open in its work directory: nameless files."""
    found = []
    for process in _workers(web):
        for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                found.append(str(descriptor.readlink()))
            except OSError:  # closed meanwhile
                continue
    return [path for path in found if path.startswith(str(data_dir / "work"))]


def test_an_upload_that_announces_too_much_is_refused_before_it_is_sent(
    web: WebServer, make_key: Callable[..., Any]
) -> None:
    # Given a client that asks first, as curl does
    key = make_key("submit").key
    upload = Upload(web, key, size=_LIMIT + 2 * MIB, Expect="100-continue")
    # When it has not sent a byte of the body, then it is told
    assert upload.answer().startswith(b"HTTP/1.1 413 ")
    upload.close()
    # And so is one who does not ask, long before the end
    upload = Upload(web, key, size=500 * MIB)
    upload.begin()
    upload.send_until_refused(20 * MIB)
    assert upload.answer().startswith(b"HTTP/1.1 413 ")
    upload.close()
