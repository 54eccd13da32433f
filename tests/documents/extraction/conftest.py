"""Small documents, made here: nothing is read from outside the repository."""

from __future__ import annotations

import gc
import hashlib
import io
import socket
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from documents.extraction.base import Engine, Extraction, Identity, Ocr, Request
from documents.extraction.chain import run
from documents.extraction.identify import identify
from documents.extraction.registry import ENGINES, FINISHERS

SAMPLES = Path(__file__).parents[3] / "samples"
NO_SAMPLE = {".py", ".md"}


def sample_paths() -> list[Path]:
    """Every committed sample document."""
    return sorted(path for path in SAMPLES.iterdir() if path.is_file() and path.suffix not in NO_SAMPLE)


def zipped(entries: Mapping[str, bytes | str], *, compress: bool = False) -> bytes:
    """Return a ZIP file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def ole(*streams: tuple[str, bytes]) -> bytes:
    """Return a minimal OLE file ([MS-CFB] version 3): one FAT sector, one directory chain, streams of 4 KiB or more."""
    sector = 512
    contents = [(name, data.ljust(4096, b"\0")) for name, data in streams]
    entries = [ole_entry("Root Entry", kind=5, child=1 if contents else -1, start=-2, size=0)]
    directory_sectors = (1 + len(contents) + 3) // 4
    at = 1 + directory_sectors
    fat = [0xFFFFFFFD, *range(2, directory_sectors + 1), 0xFFFFFFFE]
    body = b""
    for index, (name, data) in enumerate(contents, start=1):
        count = -(-len(data) // sector)
        right = index + 1 if index < len(contents) else -1
        entries.append(ole_entry(name, kind=2, right=right, start=at, size=len(data)))
        fat += [*range(at + 1, at + count), 0xFFFFFFFE]
        at += count
        body += data.ljust(count * sector, b"\0")
    while len(entries) % 4:
        entries.append(bytes(128))
    header = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + b"\x3e\0\3\0\xfe\xff\x09\0\x06\0" + bytes(6)
        + (0).to_bytes(4, "little") + (1).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(4)
        + (4096).to_bytes(4, "little") + b"\xfe\xff\xff\xff" + bytes(4) + b"\xfe\xff\xff\xff" + bytes(4)
        + (0).to_bytes(4, "little") + b"\xff" * 432
    )  # fmt: skip
    table = b"".join(number.to_bytes(4, "little") for number in fat).ljust(sector, b"\xff")
    return header + table + b"".join(entries) + body


def ole_entry(name: str, *, kind: int, start: int, size: int, right: int = -1, child: int = -1) -> bytes:
    def number(value: int) -> bytes:
        return (value & 0xFFFFFFFF).to_bytes(4, "little")

    raw = name.encode("utf-16-le") + b"\0\0"
    return (
        raw.ljust(64, b"\0") + len(raw).to_bytes(2, "little") + bytes([kind, 1]) + number(-1) + number(right)
        + number(child) + bytes(36) + number(start) + number(size) + bytes(4)
    )  # fmt: skip


def encrypted_pdf(password: str, text: str = "Nobody may read this") -> bytes:
    """Return a PDF encrypted with RC4 and 40 bits (ISO 32000-1, 7.6.3, algorithms 1 to 4, revision 2)."""
    padding = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    user, owner = ((word.encode() + padding)[:32] for word in (password, "owner"))
    owner_entry = _rc4(_md5(owner)[:5], user)
    key = _md5(user + owner_entry + (-4 & 0xFFFFFFFF).to_bytes(4, "little") + b"0123456789abcdef")[:5]
    stream = _rc4(
        _md5(key + (4).to_bytes(3, "little") + bytes(2))[:10], f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode()
    )
    font = b"<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources %s >>" % font,
        f"<< /Length {len(stream)} >>\nstream\n".encode() + stream + b"\nendstream",
        f"<< /Filter /Standard /V 1 /R 2 /P -4 /O <{owner_entry.hex()}> /U <{_rc4(key, padding).hex()}> >>".encode(),
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    identifier = b"0123456789abcdef".hex()
    return (
        out
        + (
            f"xref\n0 6\n0000000000 65535 f \n{table}trailer\n<< /Size 6 /Root 1 0 R /Encrypt 5 0 R "
            f"/ID [<{identifier}> <{identifier}>] >>\nstartxref\n{len(out)}\n%%EOF\n"
        ).encode()
    )


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _rc4(key: bytes, data: bytes) -> bytes:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    out = bytearray()
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


class Listener:
    """A server that nobody should ask: `url` names something on it, `reached` holds the beginning of each request."""

    def __init__(self, server: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{server.getsockname()[1]}/x.png"
        self.reached: list[bytes] = []
        self._server = server

    def serve(self) -> None:
        """Answer until the socket is closed."""
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                self.reached.append(connection.recv(200))
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A server on the loopback that writes down who asks it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Listener(server)
        thread = threading.Thread(target=made.serve)
        thread.start()
        yield made
        server.shutdown(socket.SHUT_RDWR)  # Wakes `accept`; closing alone would not.
        thread.join()


@pytest.fixture
def extract(tmp_path: Path) -> Iterator[Callable[..., Extraction]]:
    """`extract(data, "name.ext")` identifies and reads a document in this process, without the sandbox."""

    def read(data: bytes, name: str, *, declared: str = "", **fields: Any) -> Extraction:
        path = tmp_path / "document"
        path.write_bytes(data)
        return read_path(path, identify(path, declared=declared, file_name=name), tmp_path, **fields)

    yield read
    # openpyxl leaves the file of a workbook it cannot read open; in production the child collects it the same way.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def extract_with(tmp_path: Path) -> Callable[..., Extraction]:
    """`extract_with(engine, data, "name.ext")` reads a document with one engine alone."""

    def read(engine: Engine, data: bytes, name: str) -> Extraction:
        path = tmp_path / "document"
        path.write_bytes(data)
        return engine.extract(request_for(path, identify(path, declared="", file_name=name), tmp_path))

    return read


def read_path(path: Path, identity: Identity, work_dir: Path, **fields: Any) -> Extraction:
    """Run the real table of engines on a file."""
    return run(request_for(path, identity, work_dir, **fields), ENGINES, finishers=FINISHERS)


def request_for(
    path: Path, identity: Identity, work_dir: Path, *, max_pages: int = 100, ocr: Ocr | None = None
) -> Request:
    """What an engine is given."""
    return Request(
        path=path,
        identity=identity,
        work_dir=work_dir,
        max_pages=max_pages,
        output_bytes=1024 * 1024,
        report=lambda stage, done, total: None,
        ocr=ocr or Ocr(),
    )
