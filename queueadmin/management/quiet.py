"""Commands that answer a person show their answer, not the service's log beside it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def without_info_lines(*packages: str) -> Iterator[None]:
    """Log lines below WARNING of `packages` are dropped meanwhile, unless LOG_LEVEL=DEBUG asks for everything."""
    loggers = [] if logging.getLogger().level == logging.DEBUG else [logging.getLogger(name) for name in packages]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(max(logging.WARNING, logger.level, logging.getLogger().level))
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
