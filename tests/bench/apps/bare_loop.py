"""`python -m tests.bench.apps.bare_loop FOLDER`: the shipped engines in a bare process pool, on every file.

No queue, no database, no sandbox, no limits, no stored result: what is left is the price of reading the documents.
Prints the seconds, by the clock and of the processor, as JSON; starting the pool and importing engines do not count.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

from documents.extraction import chain
from documents.extraction.base import Request
from documents.extraction.identify import identify
from documents.extraction.registry import ENGINES, FINISHERS
from tests.bench import machine

_WARM_UP = 120


@cache
def _work_dir() -> Path:
    return Path(tempfile.mkdtemp(prefix="bare-loop-"))


def read(path: Path) -> int:
    """Return the number of characters in one document."""
    request = Request(
        path=path,
        identity=identify(path, declared="", file_name=path.name),
        work_dir=_work_dir(),
        max_pages=10_000,
        output_bytes=64 * 1024 * 1024,
        report=lambda stage, done, total: None,
    )
    return len(chain.run(request, ENGINES, finishers=FINISHERS).text)


def main(folder: Path) -> None:
    """Read every document once to warm up, then once more by the clock."""
    paths = sorted(folder.iterdir())
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        sum(pool.map(read, paths[:_WARM_UP]))
        used, started = _cpu_seconds(), time.perf_counter()
        characters = sum(pool.map(read, paths, chunksize=4))
        seconds, used = time.perf_counter() - started, _cpu_seconds() - used
    told = {"documents": len(paths), "seconds": seconds, "cpu_seconds": used, "characters": characters}
    print(json.dumps(told))


def _cpu_seconds() -> float:
    """Processor seconds of this process and its pool so far."""
    return time.process_time() + (machine.children_cpu_seconds() or 0.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
