"""The actors of the harness, as stock Dramatiq runs them."""

import os
import signal
import time

import dramatiq

from tests.faults import effects


@dramatiq.actor(queue_name="faults")
def work(number: int, seconds: float) -> int:
    """An ordinary job: takes `seconds`."""
    effects.record(effects.STARTED, number, 0)
    time.sleep(seconds)
    effects.record(effects.ENDED, number, 0)
    return number


@dramatiq.actor(queue_name="faults")
def poison(number: int, seconds: float) -> None:
    """Kills its process."""
    effects.record(effects.STARTED, number, 0)
    os.kill(os.getpid(), signal.SIGKILL)


if os.environ.get("FAULTS_OLD_CODE") != "1":

    @dramatiq.actor(queue_name="faults")
    def brand_new(number: int, seconds: float) -> int:
        """An actor that workers of the last deployment do not have."""
        return work.fn(number, seconds)
