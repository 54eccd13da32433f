"""The job whose overhead is measured."""

import dramatiq


@dramatiq.actor(queue_name="bench")
def noop(number: int) -> None:
    """Do nothing."""
