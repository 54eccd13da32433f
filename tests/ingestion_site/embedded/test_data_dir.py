"""Two services never share a data directory, and a dead one never blocks it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingestion_site.embedded.data_dir import DataDirInUse, claimed

HOLD = """
import sys, time
from pathlib import Path
from ingestion_site.embedded.data_dir import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(directory: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_with_the_first_ones_process_id(tmp_path: Path) -> None:
    # Given a run that holds the directory
    with holder(tmp_path) as first:
        # When / Then
        with pytest.raises(DataDirInUse, match=f"process {first.pid}.*--data-dir"), claimed(tmp_path):
            pass
        first.kill()


def test_a_killed_run_leaves_the_directory_free(tmp_path: Path) -> None:
    # Given
    with holder(tmp_path) as first:
        first.kill()
    # When / Then
    with claimed(tmp_path):
        pass


def test_the_lock_stays_while_the_killed_runs_children_live(tmp_path: Path) -> None:
    # Given a child that holds the lock's descriptor on, as the leashes do, and a run that has ended
    with claimed(tmp_path) as descriptor:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(descriptor,))
    (tmp_path / "up.lock").write_text("0\n")
    # When / Then
    with pytest.raises(DataDirInUse), claimed(tmp_path, wait_seconds=0.3):
        pass
    child.kill()
    child.wait()
    with claimed(tmp_path):
        pass
