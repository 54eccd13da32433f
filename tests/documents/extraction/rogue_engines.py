"""Engines that misbehave, for the sandbox's tests: the format's name says what happens.

Loaded by real children through `Sandbox(registry="rogue_engines", python_path=...)`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from documents.extraction.base import Extraction, Identity, Page, Request, extraction
from documents.extraction.errors import Damaged, MissingDependency


class Rogue:
    """Runs one function; what it returns is the text."""

    def __init__(self, name: str, act: Callable[[Request], str], *, spawns: bool = False) -> None:
        self.name, self._act, self.spawns = name, act, spawns

    def accepts(self, identity: Identity) -> bool:
        return True

    def extract(self, request: Request) -> Extraction:
        return extraction(self.name, request, [Page(number=1, text=self._act(request))])


def sleep(request: Request) -> str:
    request.report("sleep", 1, None)
    time.sleep(600)
    return "woke up"


def eat_memory(request: Request) -> str:
    hoard = []
    while True:
        hoard.append(bytearray(16 * 1024 * 1024))


def crash(number: int) -> Callable[[Request], str]:
    def act(request: Request) -> str:
        if number == signal.SIGSEGV:
            ctypes.string_at(0)
        os.kill(os.getpid(), number)
        time.sleep(10)
        return ""

    return act


def start_sleepers(request: Request) -> str:
    """Start one process in our group and one that left it, report their ids, then hang."""
    start(request)
    time.sleep(600)
    return ""


def start(request: Request) -> str:
    command = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    ordinary = subprocess.Popen(command)
    # An intermediate process that exits at once: its child belongs to nobody's group and to no living parent.
    detach = (
        f"import subprocess; print(subprocess.Popen({command!r}, start_new_session=True, stdout=-3, stderr=-3).pid)"
    )
    detached = subprocess.run([sys.executable, "-S", "-c", detach], capture_output=True, text=True, check=True)
    request.report(f"{ordinary.pid} {detached.stdout.strip()}", None, None)
    return "started"


def wait_for_tool(request: Request) -> str:
    """What textract does: wait in Python for a system tool."""
    tool = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    request.report(f"{tool.pid} {os.getpid()}", None, None)
    tool.wait()
    return ""


def connect(request: Request) -> str:
    try:
        socket.create_connection(("127.0.0.1", int(request.path.read_text())), timeout=2)
    except OSError as error:
        return f"refused: {type(error).__name__}"
    return "connected"


def litter(request: Request) -> str:
    """Leave files behind that resist removal."""
    locked = request.work_dir / "locked"
    locked.mkdir()
    (locked / "secret.txt").write_text("left behind")
    locked.chmod(0)
    os.mkfifo(request.work_dir / "fifo")
    (request.work_dir / "link").symlink_to("/")
    return str(request.work_dir)


def print_noise(request: Request) -> str:
    print("noise on stdout")  # noqa: T201  # the point of the engine
    os.write(1, b'{"kind": "done"}\n')
    os.write(2, b"noise on stderr\n")
    return "quiet"


def link_result(request: Request) -> str:
    """Replace the result by a link to a file of the parent."""
    (request.work_dir.parent / "out" / "text.txt").symlink_to(request.path)
    return "x" * 100_000  # long enough for a file


def progress(request: Request) -> str:
    for page in range(1, 4):
        request.report("extract", page, 3)
        time.sleep(0.06)
    return "done"


def raise_error(error: Exception) -> Callable[[Request], str]:
    def act(request: Request) -> str:
        raise error

    return act


def nap(request: Request) -> str:
    """Sleep for as many seconds as the document says."""
    time.sleep(float(request.path.read_text()))
    return "rested"


def read_elsewhere(request: Request) -> str:
    """Read the file that the document names."""
    try:
        return Path(request.path.read_text()).read_text()
    except OSError as error:
        return f"refused: {type(error).__name__}"


def write_elsewhere(request: Request) -> str:
    """Write where the document tells, and over the document itself."""
    outcomes = []
    for path in (Path(request.path.read_text()), request.path):
        try:
            path.write_text("overwritten")
            outcomes.append("written")
        except OSError as error:
            outcomes.append(f"refused: {type(error).__name__}")
    return ", ".join(outcomes)


def unusual(request: Request) -> str:
    """Text of every kind of character, as long as the document says."""
    length = int(request.path.read_text())
    return ('aé€😀"\\\n\t\x01' * (length // 9 + 1))[:length]


def forge(request: Request) -> str:
    """Answer in the child's place, with what the document says."""
    os.write(json.loads(sys.argv[1])["replies"], request.path.read_bytes() + b"\n")
    time.sleep(600)
    return ""


good = Rogue("good", lambda request: "good text")

ENGINES: dict[str, tuple[Rogue, ...]] = {
    "good": (good,),
    "pid": (Rogue("pid", lambda request: str(os.getpid())),),
    "sleep": (Rogue("sleep", sleep),),
    "damaged-then-sleep": (Rogue("damaged", raise_error(Damaged())), Rogue("sleep", sleep)),
    "damaged-then-exit": (Rogue("damaged", raise_error(Damaged())), Rogue("exit", lambda request: os._exit(3))),
    "forge": (Rogue("forge", forge),),
    "nap": (Rogue("nap", nap),),
    "memory": (Rogue("memory", eat_memory),),
    "memory-then-good": (Rogue("memory", eat_memory), good),
    "segfault": (Rogue("segfault", crash(signal.SIGSEGV)),),
    "segfault-then-good": (Rogue("segfault", crash(signal.SIGSEGV)), good),
    "segfault-then-tool": (
        Rogue("segfault", crash(signal.SIGSEGV)),
        Rogue("tool", raise_error(MissingDependency(package="unrtf"))),
    ),
    "sigkill": (Rogue("sigkill", crash(signal.SIGKILL)),),
    "exit": (Rogue("exit", lambda request: os._exit(3)),),
    "sleepers": (Rogue("sleepers", start_sleepers, spawns=True),),
    "leave-sleepers": (Rogue("leave", start, spawns=True),),
    "tool": (Rogue("tool", wait_for_tool, spawns=True),),
    "environment": (Rogue("environment", lambda request: json.dumps(dict(os.environ))),),
    "modules": (Rogue("modules", lambda request: json.dumps(sorted(sys.modules))),),
    "descriptors": (Rogue("descriptors", lambda request: str(len(list(Path("/proc/self/fd").iterdir())))),),
    "connect": (Rogue("connect", connect),),
    "read-elsewhere": (Rogue("read-elsewhere", read_elsewhere),),
    "write-elsewhere": (Rogue("write-elsewhere", write_elsewhere),),
    "litter": (Rogue("litter", litter),),
    "noise": (Rogue("noise", print_noise),),
    "link": (Rogue("link", link_result),),
    "unusual": (Rogue("unusual", unusual),),
    "progress": (Rogue("progress", progress),),
    "flood": (Rogue("flood", lambda request: "x" * (3 * 1024 * 1024)),),
    "nul": (Rogue("nul", lambda request: "a\0b\ud800c"),),
    "bug": (Rogue("bug", raise_error(ZeroDivisionError("secret document text"))),),
    "bug-then-good": (Rogue("bug", raise_error(ZeroDivisionError())), good),
    "damaged-then-tool": (
        Rogue("damaged", raise_error(Damaged())),
        Rogue("tool", raise_error(MissingDependency(package="unrtf"))),
    ),
    "empty": (Rogue("empty", lambda request: " \n"),),
    "empty-then-good": (Rogue("empty", lambda request: " \n"), good),
}
