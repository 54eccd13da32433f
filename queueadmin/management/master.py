"""Dramatiq's master process, with an eye on how its workers die: `python -m queueadmin.management.master ARGUMENTS`.

Only the parent of a process learns its exit code or signal. Dramatiq's master tells the first death alone, and none
after it was asked to stop; so each worker is watched by a thread of the master's, which writes the end to the worker's
row, for the rescuer of its jobs.

Django's settings and database layer are loaded before the workers are forked, so that the row can be written within
milliseconds; the workers need these modules anyway and share their memory. Nothing is connected before a worker died.
"""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import os
import resource
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.utils.log import configure_logging
from dramatiq import cli

from queueadmin import memory, presence

logger = logging.getLogger(__name__)

_WRITE_SECONDS = 5.0
"""How long the master's exit may wait for a database that is away."""
_REAPED_SECONDS = 0.01


class DeathWatch(logging.Filter):
    """Writes down how each worker of this master ends, but for those that leave in order.

    The master's first line, from its main thread, is the moment at which all workers are forked and no signal can come
    yet; not before, because a process with threads should not fork. A filter sees it whatever LOG_LEVEL is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._watching: list[threading.Thread] = []
        self._shown = 0

    def attach(self, logger: logging.Logger) -> None:
        """See every record of this logger's, and show those that were shown before."""
        self._shown = logger.getEffectiveLevel()
        logger.setLevel(logging.INFO)
        logger.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Begin to watch, at the first record. Never waits."""
        if not self._watching:
            self._begin()
        return record.levelno >= self._shown

    def _begin(self) -> None:
        workers = [child for child in multiprocessing.active_children() if not child.daemon]
        for worker in workers:
            thread = threading.Thread(target=_outlive, args=(worker, len(workers) == 1), daemon=True)
            self._watching.append(thread)
            thread.start()

    def wait(self, seconds: float) -> None:
        """Let what is being written come to its end."""
        deadline = time.monotonic() + seconds
        for thread in self._watching:
            thread.join(max(0.0, deadline - time.monotonic()))


MASTER_LOGGER = "dramatiq.MainProcess"


def _outlive(worker: BaseProcess, is_only: bool) -> None:
    """Wait for the worker's end, and write it down unless it was an orderly one."""
    multiprocessing.connection.wait([worker.sentinel])
    # The main thread waits for it as well, and who comes second sees nothing for a moment.
    while worker.exitcode is None:
        time.sleep(_REAPED_SECONDS)
    if worker.exitcode and worker.pid:
        # The system tells the largest of all children; whose that was is known of an only child.
        peak = memory.largest_of(resource.RUSAGE_CHILDREN) if is_only else None
        _write(pid=worker.pid, exit_code=worker.exitcode, peak_memory=peak)


def _write(*, pid: int, exit_code: int, peak_memory: int | None) -> None:
    try:
        presence.record_death(host=presence.this_host(), pid=pid, exit_code=exit_code, peak_memory=peak_memory)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("the end of a worker could not be written down", extra={"error": str(error)})
    finally:
        connection.close()


def _redirect_errors(file: Path) -> None:
    """Let standard error, which the workers inherit, go where Dramatiq writes its own lines."""
    with file.open("ab") as log:
        os.dup2(log.fileno(), sys.stderr.fileno())


def main(arguments: Sequence[str]) -> int:
    """Run Dramatiq's master; its exit code."""
    _ = connection.vendor  # loads the settings and the driver, and connects nothing
    # Before Dramatiq sets its own format up: its lines are to look like all the others.
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    watch = DeathWatch()
    watch.attach(logging.getLogger(MASTER_LOGGER))
    # What Dramatiq executes to start afresh, on SIGHUP and when files change.
    sys.argv = [sys.executable, "-m", __spec__.name, *arguments]
    parser = cli.make_argument_parser()  # type: ignore[no-untyped-call]  # Dramatiq's command line is not annotated
    options = parser.parse_args(arguments)
    if options.log_file:
        _redirect_errors(Path(options.log_file))
    code = cli.main(options)  # type: ignore[no-untyped-call]  # as above
    watch.wait(_WRITE_SECONDS)
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
