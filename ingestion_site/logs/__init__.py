"""What the service says of itself: one chain of structlog processors for every line, whoever wrote it.

Code logs with the standard library (`logger.info("extracted", extra={...})`), so that `queueadmin` and the libraries
need to know nothing of structlog. This package adds who and what a line is about, and renders it: for people, or as
JSON (`LOG_FORMAT=json`). `config()` is Django's LOGGING.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

from ingestion_site.logs import fields
from ingestion_site.logs.console import ConsoleRenderer
from ingestion_site.logs.lines import LineFormatter, collect_only_what_is_shown

FILE_BACKUPS = 5
"""Older log files that are kept beside LOG_FILE, as LOG_FILE.1 (the newest) to LOG_FILE.5."""

_QUIET_LIBRARIES = {
    name: {"level": "WARNING"} for name in ("botocore", "boto3", "s3transfer", "urllib3", "httpx", "httpcore")
}


def config(*, level: str, style: str, colours: bool, file: Path | None, file_bytes: int) -> dict[str, Any]:
    """Django's LOGGING: everything to standard error, and to `file` where one is named.

    `style` is `console` or `json`. `file` is rotated when it has grown to `file_bytes`.
    """
    collect_only_what_is_shown()
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_shared(), ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handlers: dict[str, Any] = {
        # The real one: in workers sys.stderr is a pipe of Dramatiq's, whose master copies it line by line. That cost
        # as much again as a line itself.
        "stderr": {"class": "logging.StreamHandler", "formatter": "stderr", "stream": "ext://sys.__stderr__"}
    }
    if file is not None:
        handlers["file"] = {
            "class": "ingestion_site.logs.files.SharedRotatingHandler",
            "formatter": "file",
            "filename": str(file),
            "max_bytes": file_bytes,
            "backups": FILE_BACKUPS,
        }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "stderr": {"()": "ingestion_site.logs.formatter", "style": style, "colours": colours},
            "file": {"()": "ingestion_site.logs.formatter", "style": style, "colours": False},
        },
        "handlers": handlers,
        "root": {"handlers": list(handlers), "level": level},
        "loggers": {
            # Django's own handlers mail to nobody; everything goes to the root.
            "django": {"handlers": [], "propagate": True, "level": "NOTSET"},
            "django.server": {"handlers": [], "propagate": True, "level": "NOTSET"},
            # One line per request is enough, and the middleware's carries the request's id; the traceback, too.
            "django.request": {"level": "CRITICAL"},
            # It writes down the arguments of every job that fails; the ledger's own lines say the same without them.
            "dramatiq.worker.WorkerThread": {"level": "CRITICAL"},
            # Dramatiq gives each actor a logger that tells its arguments at DEBUG.
            "documents.tasks": {"level": "INFO"},
            **_QUIET_LIBRARIES,
        },
    }


def formatter(*, style: str, colours: bool) -> LineFormatter:
    """The formatter of a handler: `json`, or `console` with or without colours."""
    if style == "json":
        # ASCII only: half a surrogate pair in a value must not make the whole line unwritable.
        rendered: list[Processor] = [structlog.processors.JSONRenderer(serializer=json.dumps, default=str)]
    else:
        rendered = [ConsoleRenderer(colours=colours)]
    return LineFormatter(
        foreign_pre_chain=_shared(),
        processors=[fields.add_time, ProcessorFormatter.remove_processors_meta, *rendered],
    )


def of_the_web_server() -> LineFormatter:
    """The formatter of granian's own lines, which begin before any settings are loaded (embedded/granian.json)."""
    return formatter(style=os.environ.get("LOG_FORMAT", "").strip().lower(), colours=False)


def _shared() -> list[Processor]:
    """What every line goes through, those of structlog's loggers and those of the standard library's."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        fields.add_origin,
        fields.drop_objects,
        structlog.processors.format_exc_info,
        fields.hide_secrets,
    ]
