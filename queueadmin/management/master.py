"""Dramatiq's master process, with an eye on how its workers die: `python -m queueadmin.management.master ARGUMENTS`.

Only the parent of a process learns its exit code or signal. Dramatiq's master says it in one log record, which carries
the process id and the code as its arguments; from there it goes to the worker's row, for the rescuer of its jobs.

Django's settings and database layer are loaded before the workers are forked, so that the row can be written within
milliseconds; the workers need these modules anyway and share their memory. Nothing is connected before a worker died.
"""

from __future__ import annotations

import logging
import resource
import sys
import threading
from collections.abc import Sequence

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.utils.log import configure_logging
from dramatiq import cli

from queueadmin import memory, presence

logger = logging.getLogger(__name__)

_WRITE_SECONDS = 5.0
"""How long the master's exit may wait for a database that is away."""


class DeathNotice(logging.Handler):
    """Writes down each death that Dramatiq's master reports. Attach it to the logger MASTER_LOGGER."""

    def __init__(self) -> None:
        super().__init__(level=logging.CRITICAL)
        self._writing: list[threading.Thread] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Read (process id, exit code) from "Worker with PID %r exited unexpectedly (code %r)". Never waits."""
        match record.args:
            case (int(pid), int(exit_code)):
                thread = threading.Thread(target=_write, args=(pid, exit_code), daemon=True)
                self._writing.append(thread)
                thread.start()

    def wait(self, seconds: float) -> None:
        """Let what was begun come to its end."""
        for thread in self._writing:
            thread.join(seconds)


MASTER_LOGGER = "dramatiq.MainProcess"


def _write(pid: int, exit_code: int) -> None:
    try:
        presence.record_death(
            host=presence.this_host(),
            pid=pid,
            exit_code=exit_code,
            peak_memory=memory.largest_of(resource.RUSAGE_CHILDREN),
        )
    except (DatabaseError, InterfaceError) as error:
        logger.warning("the end of a worker could not be written down", extra={"error": str(error)})
    finally:
        connection.close()


def main(arguments: Sequence[str]) -> int:
    """Run Dramatiq's master; its exit code."""
    _ = connection.vendor  # loads the settings and the driver, and connects nothing
    # Before Dramatiq sets its own format up: its lines are to look like all the others.
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    notice = DeathNotice()
    logging.getLogger(MASTER_LOGGER).addHandler(notice)
    # What Dramatiq executes to start afresh, on SIGHUP and when files change.
    sys.argv = [sys.executable, "-m", __spec__.name, *arguments]
    parser = cli.make_argument_parser()  # type: ignore[no-untyped-call]  # Dramatiq's command line is not annotated
    code = cli.main(parser.parse_args(arguments))  # type: ignore[no-untyped-call]  # as above
    notice.wait(_WRITE_SECONDS)
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
