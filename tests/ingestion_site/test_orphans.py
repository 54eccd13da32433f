"""A worker process does not outlive its master, however the master ends."""

import os
import signal
import sys
from collections.abc import Callable

import pytest

from queueadmin.models import WorkerProcess
from tests.processes import alive, family
from tests.servers import ManageCommand, wait_until


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_worker_drains_and_ends_when_its_master_is_killed(live_worker: Callable[..., ManageCommand]) -> None:
    # Given a master with a worker process
    worker = live_worker(threads=1)
    pids = family(worker.pid)
    assert len(pids) > 1
    # When the master alone is killed, so that it can tell nobody
    os.kill(worker.pid, signal.SIGKILL)
    # Then its worker leaves in order
    wait_until(lambda: not alive(pids), seconds=25, what="the worker process to end")
    assert WorkerProcess.objects.get().stopped_at is not None
