"""docs/api.md, followed by copy and paste: its commands run in one shell, against what `make run` starts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SERVICE_VARIABLES
from tests.servers import PROJECT_DIR, ManageCommand

pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")]

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "==== block"
REFUSED_ON_PURPOSE = '"code":"invalid_request"'
"""The batch in the page shows what a refused document looks like."""


def blocks(base: str, data_dir: Path) -> list[str]:
    """The page's commands, with this machine's address, Python and data directory instead of a newcomer's."""
    found: list[str] = BLOCK.findall((PROJECT_DIR / "docs" / "api.md").read_text())
    here = {"http://127.0.0.1:8000": base, ".venv/bin/python": sys.executable, "var/documents": f"{data_dir}/documents"}
    for theirs, ours in here.items():
        assert any(theirs in block for block in found), theirs
        found = [block.replace(theirs, ours) for block in found]
    return found


def test_a_newcomer_gets_through_the_page_by_copy_and_paste(tmp_path: Path) -> None:
    # Given what `make run` starts
    data_dir = tmp_path / "var"
    kept = {name: value for name, value in os.environ.items() if name not in SERVICE_VARIABLES}
    with ManageCommand(
        "up", "--data-dir", str(data_dir), "--no-samples", "--port", "0", "--processes", "1",
        variables={}, without=(*SERVICE_VARIABLES, "DATA_DIR"),
        ready=lambda command: "Ctrl-C stops everything" in command.output(),
    ) as service:  # fmt: skip
        address = re.search(r"(http://127\.0\.0\.1:\d+)/admin/", service.output())
        assert address
        commands = blocks(address[1], data_dir)
        # When every block is pasted into one shell; a command that fails ends it
        script = "".join(f"echo '{MARK}'\n{block}\n" for block in commands)
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", script],
            cwd=PROJECT_DIR, env={**kept, "DATA_DIR": str(data_dir)}, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
    # Then
    outputs = done.stdout.split(MARK)[1:]
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert len(outputs) == len(commands) > 9
    assert "/problems/" not in done.stdout, done.stdout
    told = "".join(outputs)
    assert '"status":"completed"' in outputs[2]
    assert "Hello, documents" in outputs[3].splitlines()
    assert '"accepted":1,"refused":1' in told
    assert REFUSED_ON_PURPOSE in told
    assert '"secret":"whsec_' in told
    assert '"is_paused":true' in outputs[-1]
    assert '"is_paused":false' in outputs[-1]
