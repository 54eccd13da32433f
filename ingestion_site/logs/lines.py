"""From a record to a line: structlog's processors, without structlog's price for records of the standard library."""

from __future__ import annotations

import logging
import sys
from typing import Any

from structlog.stdlib import ProcessorFormatter


class LineFormatter(ProcessorFormatter):
    """structlog's formatter, quicker for what the standard library's loggers write: every line of ours.

    structlog makes a copy of each record and formats that in the end, so that formatters do not see each other's
    changes. Here nothing is changed: the processors work on the event, and what the last one returns is the line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines where there is a traceback."""
        if isinstance(record.msg, dict):  # from one of structlog's own loggers
            return super().format(record)
        event: Any = {"event": record.getMessage(), "_record": record, "_from_structlog": False}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        if record.stack_info:
            event["stack_info"] = record.stack_info
        level = record.levelname.lower()
        for processor in (*(self.foreign_pre_chain or ()), *self.processors):
            event = processor(self.logger, level, event)
        return str(event)


def collect_only_what_is_shown() -> None:
    """Leave out of each record what no line of ours says: source line, thread, process. It takes a third of the time.

    See https://docs.python.org/3/howto/logging.html#optimization
    """
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if sys.version_info >= (3, 12):
        logging.logAsyncioTasks = False
