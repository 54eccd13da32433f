"""A document of many pages, through the real sandbox and engines: seconds, memory, progress."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from documents.extraction.base import MIB, Limits
from documents.extraction.identify import identify
from documents.extraction.sandbox import Sandbox
from tests.slow_documents import long_pdf


def test_619_pages_take_seconds_and_little_memory_and_show_progress(tmp_path: Path) -> None:
    # Given a text PDF of 619 pages, with 1.7 MB of text, and the real engines
    path = tmp_path / "long.pdf"
    path.write_bytes(long_pdf(619))
    seen: list[tuple[str, int | None, int | None]] = []
    sandbox = Sandbox(Limits(memory_bytes=1024 * MIB), size=1, temp_root=tmp_path / "temp")
    try:
        worker = psutil.Process()
        before, started = worker.memory_info().rss, time.monotonic()
        # When it is read by a child that may use half of what is usual
        found = sandbox.extract(
            path,
            identity=identify(path, declared="", file_name="long.pdf"),
            on_progress=lambda *report: seen.append(report),
        )
        # Then it is there within seconds, every page of it
        assert time.monotonic() - started < 20
        assert len(found.pages) == 619
        assert len(found.text) > 1_500_000
        # And page n of m was told along the way, in order
        pages = [done for stage, done, total in seen if (stage, total) == ("extract", 619)]
        assert len(pages) > 5
        assert pages == sorted(pages)
        # And neither the worker nor the child has grown
        assert worker.memory_info().rss - before < 50 * MIB
        (child,) = (one for one in worker.children() if "documents.extraction.child" in " ".join(one.cmdline()))
        assert child.memory_info().rss < 256 * MIB
    finally:
        sandbox.close()
