"""The hostile set through the real sandbox and the real engines: a clear end each, and nothing left behind."""

from __future__ import annotations

import contextlib
import gc
import itertools
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psutil
import pytest

from documents.extraction.base import MIB, Limits, Options
from documents.extraction.errors import ERRORS, ExtractionError
from documents.extraction.formats import format_of_name
from documents.extraction.identify import identify
from documents.extraction.registry import ENGINES
from documents.extraction.sandbox import Sandbox
from documents.extraction.workspace import office_sockets
from tests.documents.extraction.conftest import Listener
from tests.documents.extraction.hostile import calling_home, fixtures, hostile_set

LIMITS = Limits(timeout_seconds=30, output_bytes=8 * MIB)
CLEAR_ENDS = frozenset(ERRORS) - {"extraction_failed", "cancelled", "sandbox_unavailable", "extraction_timeout"}
FLIPS_EACH = 4


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox(LIMITS, size=2, temp_root=tmp_path_factory.mktemp("sandbox"))
    yield made
    made.close()


def end(sandbox: Sandbox, path: Path, name: str) -> str:
    """Return how an extraction ended: "completed" or the code of its error."""
    try:
        found = sandbox.extract(path, identity=identify(path, declared="", file_name=name), options=Options())
    except ExtractionError as error:
        return error.code
    assert found.text.strip() or "no_text_found" in found.warnings
    return "completed"


def test_every_hostile_file_has_a_clear_end_and_nothing_is_left(tmp_path: Path) -> None:
    # Given a sandbox that has worked before, and what the worker holds then
    temp = tmp_path / "temp"
    held = open_descriptors()
    sandbox = Sandbox(LIMITS, size=2, temp_root=temp)
    path = tmp_path / "document"
    path.write_bytes(fixtures()["letter.docx"])
    assert end(sandbox, path, "letter.docx") == "completed"
    gc.collect()
    worker = psutil.Process()
    before = worker.memory_info().rss
    # When the hostile set goes through it
    wrong = {}
    for one in hostile_set():
        path.write_bytes(one.data)
        code = end(sandbox, path, one.name)
        if code not in one.ends:
            wrong[one.name] = code
    # Then each file ended as it may
    assert wrong == {}
    # And the worker has not grown; no child, temporary file, socket or pipe is left; no archive wrote outside
    gc.collect()
    assert worker.memory_info().rss - before < 50 * MIB
    root = next(temp.iterdir())
    sandbox.close()
    assert list(temp.iterdir()) == []
    assert open_descriptors() <= held
    assert not [path for n in range(1, 300) for path in office_sockets(root / f"child-{n}" / "work") if path.exists()]
    assert not [child for child in worker.children(recursive=True) if "documents.extraction" in " ".join(_line(child))]
    assert not Path("/tmp/escaped").exists()


def open_descriptors() -> set[str]:
    """What this process holds open that is no ordinary file: sockets, pipes and nameless memory, each by its number."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists
            target = str(entry.readlink())
            if not target.startswith("/") or target.startswith("/memfd:"):
                found.add(target)
    return found


def test_an_open_socket_would_be_seen() -> None:
    before = open_descriptors()
    with socket.socket():
        assert len(open_descriptors() - before) == 1


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_there_is_a_fixture_of_every_format() -> None:
    assert {format_of_name(name) for name in fixtures()} == set(ENGINES)


@pytest.mark.timeout(400)  # Where LibreOffice is installed, it gets what is left of old formats: seconds each.
def test_flipped_bytes_in_every_fixture_end_clearly(sandbox: Sandbox, tmp_path: Path) -> None:
    """Every format in turn, with one to many bytes changed; always the same ones, so that a failure can be repeated."""
    random = Random(4)
    # Flipped pictures would only measure OCR; test_samples flips them too.
    documents = {name: data for name, data in fixtures().items() if name not in ("photo.png", "scanned.pdf")}
    path = tmp_path / "flipped"
    for number, name in itertools.product(range(FLIPS_EACH), documents):
        data = bytearray(documents[name])
        for _ in range(random.choice((1, 3, 20))):
            data[random.randrange(len(data))] = random.randrange(256)
        path.write_bytes(data)
        assert end(sandbox, path, name) in CLEAR_ENDS | {"completed"}, (number, name)


def test_no_parser_connects_although_it_could(tmp_path: Path, listener: Listener) -> None:
    """The network namespace is switched off here: it is the parsers' own configuration that is tested."""
    sandbox = Sandbox(LIMITS, size=1, temp_root=tmp_path / "temp", isolate=False)
    try:
        # Given children that share our network
        assert sandbox.protections()["network"] == "refused: switched off"
        # When documents ask them to fetch something from a server that listens
        for name, data in calling_home(listener.url).items():
            path = tmp_path / "document"
            path.write_bytes(data)
            assert end(sandbox, path, name) in CLEAR_ENDS | {"completed"}, name
    finally:
        sandbox.close()
    # Then nobody came
    assert listener.reached == []


def test_the_listener_would_tell(listener: Listener) -> None:
    with urllib.request.urlopen(listener.url, timeout=5) as answer:
        answer.read()
    assert b"GET /x.png" in listener.reached[0]
