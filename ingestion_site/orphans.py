"""What a worker process does when its Dramatiq master dies without a word: it drains and ends, too.

Stock Dramatiq lets such workers run on, unseen by whoever restarts the master; after a SIGKILL of `manage.py up` and
of its leash together, nobody would be left to end them.
"""

import multiprocessing
import os
import signal
import threading
from types import FrameType

import dramatiq
from dramatiq.middleware import Middleware

from ingestion_site.embedded import leash

MASTER_DIED = signal.SIGUSR1
"""Not SIGTERM itself: Linux sends it once for each thread of the master, and Dramatiq takes a second SIGTERM for
an order to drop everything."""


class FollowMaster(Middleware):
    """Asks the kernel to tell when the master is gone. Linux only, as PR_SET_PDEATHSIG is."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        master = multiprocessing.parent_process()
        if master is None or threading.current_thread() is not threading.main_thread():
            return  # no process of Dramatiq's: a test, a shell
        signal.signal(MASTER_DIED, _drain)
        leash.prctl(leash.PR_SET_PDEATHSIG, MASTER_DIED)
        if os.getppid() != master.pid:  # it died before the kernel was asked
            os.kill(os.getpid(), MASTER_DIED)


def _drain(number: int, frame: FrameType | None) -> None:
    """End as after SIGTERM: running documents are given back, within the budget for that."""
    signal.signal(MASTER_DIED, signal.SIG_IGN)
    os.kill(os.getpid(), signal.SIGTERM)
