"""The states of a job, and who leaves each one. The edges between them are in `lifecycle`."""

from django.db.models import TextChoices


class State(TextChoices):
    """Where a job stands. Only `lifecycle` writes it."""

    PENDING = "pending", "Pending"
    """Due now and not claimed. Its id is, or will be within one sweep, in a ready set. Left by claim, cancel."""

    SCHEDULED = "scheduled", "Scheduled"
    """Its first run lies in the future. Left by promote, cancel."""

    RETRYING = "retrying", "Retrying"
    """An attempt failed; the next one is due at `run_at`. Left by promote, cancel, retry (now)."""

    PROCESSING = "processing", "Processing"
    """A worker holds the claim token. Left by the worker's outcome, or by rescue when the worker is silent."""

    COMPLETED = "completed", "Completed"
    """Done, with its result recorded. Left by retention."""

    FAILED = "failed", "Failed"
    """A permanent fault: trying again cannot help. Left by retry, retention."""

    DEAD_LETTER = "dead_letter", "Dead letter"
    """Attempts are exhausted, or it took its worker down too often. Left by retry, discard."""

    CANCELLED = "cancelled", "Cancelled"
    """Stopped by a person. Left by retry, retention."""


LIVE = frozenset({State.PENDING, State.SCHEDULED, State.RETRYING, State.PROCESSING})
"""States in which a job still has work to do; a `unique_key` is held in these."""

TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.DEAD_LETTER, State.CANCELLED})
"""States that end a run."""
