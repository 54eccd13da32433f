"""Kills what the tests started when the tests are gone, however they ended: `python reaper.py < pipe`.

Reads `+ID` and `-ID` lines, ids of sessions; at the end of its input it kills those that are left.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

_pipe: IO[bytes] | None = None
_lock = threading.Lock()
"""Two reapers at once: the pipe of the first would be closed, and it would kill what it watches."""


def _start() -> IO[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__))], stdin=subprocess.PIPE, start_new_session=True
    )
    process.returncode = 0  # it outlives this process on purpose: nobody waits for it
    assert process.stdin is not None
    return process.stdin


def watch(session: int) -> None:
    """From now on, the session `session` dies with this process at the latest."""
    global _pipe
    with _lock:
        if _pipe is None:
            _pipe = _start()
        _pipe.write(b"+%d\n" % session)
        _pipe.flush()


def forget(session: int) -> None:
    """The session has ended; its id may soon be somebody else's."""
    with _lock:
        if _pipe is not None:
            _pipe.write(b"-%d\n" % session)
            _pipe.flush()


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sessions: set[int] = set()
    for line in sys.stdin:
        (sessions.add if line[0] == "+" else sessions.discard)(int(line[1:]))
    for session in sessions:
        with contextlib.suppress(OSError):
            os.killpg(session, signal.SIGKILL)


if __name__ == "__main__":
    main()
