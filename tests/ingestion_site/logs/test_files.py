"""The log file: rotated by whoever fills it, without losing or tearing a line, however many processes write."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from ingestion_site.logs.files import SharedRotatingHandler
from tests.servers import PROJECT_DIR

WRITER = """
import logging, sys
from ingestion_site.logs.files import SharedRotatingHandler
handler = SharedRotatingHandler(sys.argv[1], max_bytes=20_000, backups=50)
for number in range(400):
    text = f"{sys.argv[2]} {number} " + "x" * (number % 7 * 3000 if number % 50 == 0 else 40) + " end"
    handler.emit(logging.LogRecord("a", logging.INFO, "", 1, text, None, None))
handler.close()
"""


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("a", logging.INFO, "", 1, text, None, None)


def test_a_full_file_moves_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    # Given room for two lines and two older files
    path = tmp_path / "logs" / "service.log"
    handler = SharedRotatingHandler(str(path), max_bytes=20, backups=2)
    # When
    for number in range(8):
        handler.emit(record(f"line {number:05}"))
    handler.close()
    # Then
    found = {file.name: file.read_text().split("\n")[:-1] for file in path.parent.iterdir() if "lock" not in file.name}
    assert found == {
        "service.log": ["line 00006", "line 00007"],
        "service.log.1": ["line 00004", "line 00005"],
        "service.log.2": ["line 00002", "line 00003"],
    }


def test_several_processes_lose_and_tear_nothing(tmp_path: Path) -> None:
    # Given three processes that write at once, also lines longer than any buffer
    path = tmp_path / "service.log"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], cwd=PROJECT_DIR) for name in ("a", "b", "c")
    ]
    # When
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    # Then every line is there once, whole, and each process's lines are in order
    backups = sorted(tmp_path.glob("service.log.[0-9]*"), key=lambda file: int(file.suffix[1:]), reverse=True)
    files = [*backups, path]
    assert len(files) > 3
    lines = [line.split() for file in files for line in file.read_text().splitlines()]
    assert all(line[-1] == "end" for line in lines)
    for name in ("a", "b", "c"):
        assert [int(line[1]) for line in lines if line[0] == name] == list(range(400))


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "service.log"
    handler = SharedRotatingHandler(str(path), max_bytes=1000, backups=1)
    handler.emit(record("before"))
    path.rename(tmp_path / "taken.log")
    handler.emit(record("after"))
    handler.close()
    assert path.read_text() == "after\n"


def test_a_disk_that_refuses_stops_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Given a name that can never be a file
    handler = SharedRotatingHandler(str(tmp_path), max_bytes=1000, backups=1)
    # When / Then: logging's own complaint, and no exception
    handler.emit(record("lost"))
    assert "IsADirectoryError" in capsys.readouterr().err
