"""What the log says of the attempts of jobs.

Success is told of actors with the option `announced` only: a line costs as much processor time as a short job does.
Everything else is told of every job.
"""

from __future__ import annotations

import logging
from typing import Any

from queueadmin.hand import Held
from queueadmin.jobs import Outcome

logger = logging.getLogger(__name__)

_MESSAGE_CHARACTERS = 500


def started(held: Held) -> None:
    """The attempt of an announced actor begins; `of` counts as attempts do, over all runs: those that burned nothing,
    and those before somebody retried the job, may come again."""
    job = held.job
    of = job.attempt - 1 - job.failures + job.max_attempts
    logger.info("job started", extra={**held.context.describe(), "of": of})


def ended(held: Held, outcome: Outcome, *, announced: bool) -> None:
    """The attempt is over, and its outcome is on its way to the ledger."""
    match outcome.edge:
        case "complete":
            if announced:
                logger.info("job completed", extra=_about(held, outcome))
        case "retry_later":
            delay = {"delay": round(outcome.delay, 1)}
            logger.warning("job will be retried", extra=_about(held, outcome) | delay | _why(outcome))
        case "fail":
            logger.warning("job failed", extra=_about(held, outcome) | _why(outcome))
        case "bury":
            logger.error("job became a dead letter", extra=_about(held, outcome) | _why(outcome))
        case "release":
            logger.info("job given back", extra=_about(held, outcome) | {"reason": (outcome.detail or {})["reason"]})
        case "stop":
            logger.info("job cancelled", extra=_about(held, outcome))


def _about(held: Held, outcome: Outcome) -> dict[str, Any]:
    """The job, and for how many milliseconds it ran."""
    seconds = (outcome.detail or {}).get("seconds", 0.0)
    return {**held.context.describe(), "ms": round(seconds * 1000)}


def _why(outcome: Outcome) -> dict[str, Any]:
    """The error; with its traceback where nobody expected it."""
    why: dict[str, Any] = {"error_code": outcome.error_code, "error": outcome.error_message[:_MESSAGE_CHARACTERS]}
    traceback = (outcome.detail or {}).get("traceback")
    return why | {"exception": traceback} if traceback else why
