"""`manage.py corpus FOLDER`: extract every file of a folder through the sandbox, to measure and to try out."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from documents import conf
from documents.extraction.base import Extraction, to_dict
from documents.extraction.errors import ExtractionCancelled, ExtractionError, SandboxUnavailable
from documents.extraction.identify import identify
from documents.extraction.sandbox import Sandbox
from queueadmin.management.quiet import without_info_lines

Row = dict[str, Any]

_UNDECIDED = frozenset({SandboxUnavailable.code, ExtractionCancelled.code, "unreadable"})
"""Errors of this machine, or of a run that was stopped: they say nothing of the document."""


class Command(BaseCommand):
    help = (
        "Extract every file below FOLDER through the same sandbox, limits and engines that the service uses, on all "
        "cores. Writes one JSON object a line: path, status, text, engine, seconds, and what went wrong. Run it again "
        "to go on where it stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="the folder; paths in the output are relative to it")
        parser.add_argument(
            "--out", type=Path, default=Path("results.jsonl"), metavar="FILE", help="default: results.jsonl"
        )
        parser.add_argument("--restart", action="store_true", help="forget what FILE holds and begin again")

    @without_info_lines("documents")
    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"].resolve()
        if not folder.is_dir():
            raise CommandError(f"{options['folder']} is not a folder. Name one that holds documents.")
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        if not files:
            raise CommandError(f"{options['folder']} holds no files.")
        try:
            rows = {} if options["restart"] else _rows_of(options["out"])
            rows = self._run(folder, files, rows, options["out"])
        except OSError as error:
            raise CommandError(f"{options['out']} cannot be written: {error.strerror}.") from error
        Console(width=None if sys.stdout.isatty() else 140).print(
            _summary(rows[str(path.relative_to(folder))] for path in files)
        )
        self.stdout.write(f"Results: {options['out']}")

    def _run(self, folder: Path, files: list[Path], done: dict[str, Row], out: Path) -> dict[str, Row]:
        """Extract what is not done yet; return all rows. What is done is kept, whatever ends this early."""
        todo = [path for path in files if str(path.relative_to(folder)) not in done]
        if done and todo:
            self.stderr.write(f"{len(done)} files are done already; {len(todo)} are left.")
        console = Console(stderr=True)
        columns = (
            TextColumn("Extracting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[path]}"),
        )  # fmt: skip
        size = os.cpu_count() or 1
        sandbox = Sandbox(conf.extraction_limits(), size=size, temp_root=conf.work_directory())
        with (
            contextlib.closing(sandbox),
            _rewritten(out, done) as file,
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
            concurrent.futures.ThreadPoolExecutor(size) as pool,
        ):
            bar = progress.add_task("", total=len(files), completed=len(files) - len(todo), path="")
            lock = threading.Lock()

            def one(path: Path) -> None:
                name = str(path.relative_to(folder))
                row = {"path": name, **extract(sandbox, path)}
                with lock:
                    file.write(json.dumps(row, ensure_ascii=True) + "\n")
                    file.flush()
                    done[name] = row
                    progress.update(bar, advance=1, path=name[-40:])

            try:
                for future in [pool.submit(one, path) for path in todo]:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True, wait=False)
                sandbox.close()
                raise
        return done


def extract(sandbox: Sandbox, path: Path) -> Row:
    """Identify and extract one file as a task would be; whatever goes wrong becomes part of the row."""
    started = time.monotonic()
    try:
        identity = identify(path, declared="", file_name=path.name)
        found = sandbox.extract(path, identity=identity)
        row = _completed(found)
    except ExtractionError as error:
        tried = [to_dict(one) for one in error.tried]
        row = {"status": "failed", "error": error.code, "message": str(error), "tried": tried, **_last(tried)}
    except OSError as error:  # One file that this user may not read is no reason to stop.
        row = {"status": "failed", "error": "unreadable", "message": str(error.strerror or error), "tried": []}
    return {**row, "seconds": round(time.monotonic() - started, 4)}


def _completed(found: Extraction) -> Row:
    return {
        "status": "completed",
        "text": found.text,
        "engine": found.engine,
        "content_type": found.content_type,
        "pages": len(found.pages),
        "warnings": list(found.warnings),
        "tried": [to_dict(one) for one in found.tried],
    }


def _last(tried: list[dict[str, Any]]) -> Row:
    return {"engine": tried[-1]["engine"]} if tried else {}


def _rows_of(out: Path) -> dict[str, Row]:
    """Return the rows of an earlier run; what says nothing of its document is left out, and done again."""
    rows: dict[str, Row] = {}
    if out.exists():
        with out.open(encoding="utf-8") as lines:
            for line in lines:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    row = json.loads(line)
                    if row.get("error") not in _UNDECIDED:
                        rows[row["path"]] = row
    return rows


@contextlib.contextmanager
def _rewritten(out: Path, rows: dict[str, Row]) -> Iterator[TextIO]:
    """Open `out` with exactly `rows` in it, ready for more. The old file lives until the new one is complete."""
    new = out.with_name(out.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        for row in rows.values():
            file.write(json.dumps(row) + "\n")
        file.flush()
        new.replace(out)
        yield file


def _summary(rows: Iterator[Row]) -> Table:
    """A table of kinds (by folder or ending) and how their files ended."""
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    seconds: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        kind = Path(row["path"]).suffix.lower().lstrip(".") or "none"
        kinds[kind]["completed" if row["status"] == "completed" else row.get("error", "failed")] += 1
        kinds[kind]["without text"] += row["status"] == "completed" and not row["text"].strip()
        seconds[kind] += row["seconds"]
    table = Table(box=None, header_style="bold")
    for column in ("kind", "files", "completed", "without text", "seconds"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    table.add_column("failed")
    for kind, ends in sorted(kinds.items()):
        files = sum(count for end, count in ends.items() if end != "without text")
        failed = [f"{count} {end}" for end, count in ends.items() if end not in ("completed", "without text")]
        table.add_row(
            kind,
            str(files),
            str(ends["completed"]),
            str(ends["without text"]),
            f"{seconds[kind]:.1f}",
            ", ".join(failed),
        )
    return table
