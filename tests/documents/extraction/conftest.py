"""Small documents, made here: nothing is read from outside the repository."""

from __future__ import annotations

import gc
import io
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from documents.extraction.base import Extraction, Identity, Request
from documents.extraction.chain import run
from documents.extraction.identify import identify
from documents.extraction.registry import ENGINES

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
    entries = [_ole_entry("Root Entry", kind=5, child=1 if contents else -1, start=-2, size=0)]
    directory_sectors = (1 + len(contents) + 3) // 4
    at = 1 + directory_sectors
    fat = [0xFFFFFFFD, *range(2, directory_sectors + 1), 0xFFFFFFFE]
    body = b""
    for index, (name, data) in enumerate(contents, start=1):
        count = -(-len(data) // sector)
        right = index + 1 if index < len(contents) else -1
        entries.append(_ole_entry(name, kind=2, right=right, start=at, size=len(data)))
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


def _ole_entry(name: str, *, kind: int, start: int, size: int, right: int = -1, child: int = -1) -> bytes:
    def number(value: int) -> bytes:
        return (value & 0xFFFFFFFF).to_bytes(4, "little")

    raw = name.encode("utf-16-le") + b"\0\0"
    return (
        raw.ljust(64, b"\0") + len(raw).to_bytes(2, "little") + bytes([kind, 1]) + number(-1) + number(right)
        + number(child) + bytes(36) + number(start) + number(size) + bytes(4)
    )  # fmt: skip


@pytest.fixture
def extract(tmp_path: Path) -> Iterator[Callable[..., Extraction]]:
    """`extract(data, "name.ext")` identifies and reads a document in this process, without the sandbox."""

    def read(data: bytes, name: str, *, declared: str = "", max_pages: int = 100) -> Extraction:
        path = tmp_path / "document"
        path.write_bytes(data)
        return read_path(path, identify(path, declared=declared, file_name=name), tmp_path, max_pages=max_pages)

    yield read
    # openpyxl leaves the file of a workbook it cannot read open; in production the child collects it the same way.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def read_path(path: Path, identity: Identity, work_dir: Path, *, max_pages: int = 100) -> Extraction:
    """Run the real table of engines on a file."""
    request = Request(
        path=path,
        identity=identity,
        work_dir=work_dir,
        max_pages=max_pages,
        output_bytes=1024 * 1024,
        report=lambda stage, done, total: None,
    )
    return run(request, ENGINES)
