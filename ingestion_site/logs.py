"""Log lines for people: a constant message, then its data as key=value."""

import json
import logging
import time

# What every record has anyway; the rest came in by `extra={...}`.
STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Objects that Django and DRF attach to records: their repr says nothing and may hold a query string.
UNSHOWN_FIELDS = frozenset({"request", "response", "exc_info"})


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO queueadmin.broker: job claimed queue=ingest jobs=3` (UTC)."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  (logging's name)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{moment}.{int(record.msecs):03d}Z"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        line = super().formatMessage(record)
        extra = {
            key: value
            for key, value in vars(record).items()
            if key not in STANDARD_FIELDS and key not in UNSHOWN_FIELDS
        }
        return " ".join([line, *(f"{key}={_shown(value)}" for key, value in extra.items())])


def _shown(value: object) -> str:
    """One token: text with blanks or line breaks is quoted, so that a value cannot forge a log line."""
    if isinstance(value, str) and value.isprintable() and value and " " not in value and '"' not in value:
        return value
    return json.dumps(value, default=str)
