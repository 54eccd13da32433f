"""A leashed command, with everything it started, never outlives the process that holds the leash."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion_site.embedded import leash
from tests.processes import alive, family, is_alive
from tests.servers import wait_until

FAMILY = """
import os, signal, subprocess, sys, time
from pathlib import Path

# A command that ignores SIGTERM, with a grandchild in its session and one in a session of its own.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"]
same, own = subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)
draft = Path(sys.argv[1] + ".draft")
draft.write_text(f"{os.getpid()} {same.pid} {own.pid}")
draft.rename(sys.argv[1])
time.sleep(float(sys.argv[2]))
sys.exit(7)
"""

HOLDER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.PIPE, start_new_session=True)
time.sleep(60)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "family.py"
    path.write_text(FAMILY)
    return path


@pytest.fixture
def ids(tmp_path: Path) -> Iterator[Path]:
    """The file in which the family writes its process ids; whoever is left is killed after the test."""
    path = tmp_path / "ids"
    yield path
    for pid in alive(read(path)) if path.exists() else ():
        os.kill(pid, signal.SIGKILL)


def read(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()]


def leashed(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, leash.__file__, *command], stdin=subprocess.PIPE, start_new_session=True)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a grandchild's own session is out of reach")
def test_sigkill_of_the_holder_ends_the_whole_family(script: Path, ids: Path) -> None:
    # Given a process that holds a leash with a stubborn family on it
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, leash.__file__, sys.executable, str(script), str(ids), "60"]
    )
    wait_until(ids.exists, what="the family to start")
    # When the holder is killed without a chance to clean up
    holder.kill()
    holder.wait()
    # Then nobody is left
    wait_until(lambda: not alive(read(ids)), seconds=10, what="the family to be gone")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a grandchild's own session is out of reach")
def test_the_commands_end_ends_its_orphans_and_passes_its_exit_code_on(script: Path, ids: Path) -> None:
    # Given a command that leaves grandchildren behind / When it ends
    with leashed(sys.executable, str(script), str(ids), "0.1") as process:
        exit_code = process.wait(20)
    # Then
    assert exit_code == 7
    assert alive(read(ids)) == []


def test_sigterm_reaches_the_command_and_its_signal_is_reported() -> None:
    # Given
    with leashed("sleep", "60") as process:
        wait_until(lambda: len(family(process.pid)) > 1, what="sleep to start")
        # When
        process.terminate()
        # Then
        assert process.wait(10) == 128 + signal.SIGTERM


def test_a_killed_leash_takes_its_command_with_it(script: Path, ids: Path) -> None:
    # Given
    with leashed(sys.executable, str(script), str(ids), "60") as process:
        wait_until(ids.exists, what="the family to start")
        command, same_session, _ = read(ids)
        # When the leash itself is killed, and its holder cleans the session up
        process.kill()
        process.wait()
        leash.kill_session(process.pid)
    # Then
    wait_until(lambda: not is_alive(command) and not is_alive(same_session), seconds=5, what="the session to end")
