"""What the numbers were measured on, and how much processor time a measurement cost."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from statistics import median

import psycopg

from tests.bench.environment import Servers

PACKAGES = ("dramatiq", "django", "djangorestframework", "granian", "psycopg", "redis", "celery", "procrastinate")
_FSYNCS = 40


def describe(servers: Servers) -> dict[str, object]:
    """Processor, cores, versions, the load by others, and what one fsync costs (milliseconds)."""
    with psycopg.connect(servers.database_url) as connection:
        postgres = str(connection.execute("SHOW server_version").fetchone()[0])  # type: ignore[index]  # SHOW has a row
        durable = {
            name: str(connection.execute(f"SHOW {name}").fetchone()[0])  # type: ignore[index,call-overload]  # as above
            for name in ("fsync", "synchronous_commit", "full_page_writes")
        }
    with servers.redis() as client:
        info = client.info("server")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
        "fsync_milliseconds": _fsync_milliseconds(),
        "postgresql": postgres,
        "durability": durable,
        "valkey": str(info.get("valkey_version") or info.get("redis_version")),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _fsync_milliseconds() -> float:
    """The median of a few small writes with fsync, where the databases lie: the price of every commit."""
    seconds = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(_FSYNCS):
            file.write(b"x" * 8192)
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - started)
    return round(median(seconds) * 1000, 2)


def children_cpu_seconds() -> float | None:
    """Processor seconds used so far by every living descendant: workers, PostgreSQL, Valkey. None without /proc.

    It hardly depends on what else the machine does, so it tells contenders apart where rates are noisy.
    """
    found = _descendants()
    return None if found is None else sum(used for _, used in found)


def cpu_seconds_by_part(parts: Mapping[str, str]) -> dict[str, float]:
    """Processor seconds of the living descendants, by part: the first whose word is in the command line, or "other"."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for pid, used in _descendants() or ():
        line = _command_line(pid)
        seconds[next((part for part, word in parts.items() if word in line), "other")] += used
    return dict(seconds)


def _descendants() -> list[tuple[int, float]] | None:
    """(process id, processor seconds of it and of the children it has waited for) of every living descendant."""
    try:
        ticks = os.sysconf("SC_CLK_TCK")
        table = [_stat(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    except (OSError, ValueError):
        return None
    children = defaultdict(list)
    for row in table:
        if row is not None:
            children[row[1]].append(row)
    found, waiting = [], [os.getpid()]
    while waiting:
        for pid, _, used in children[waiting.pop()]:
            found.append((pid, used / ticks))
            waiting.append(pid)
    return found


def _stat(entry: Path) -> tuple[int, int, int] | None:
    """(process id, parent's id, ticks used), from fields 4 and 14 to 17 of proc_pid_stat(5); None when it is gone."""
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(entry.name), int(fields[1]), sum(map(int, fields[11:15]))


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
