"""A host whose clock is wrong, for the processes whose environment says so.

Turns every clock that tells the time of day to Python code forward: a stand-in for the host's own, below everything
that runs on it. Clocks that measure durations stay, as they do on such a host.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

from django.utils import timezone

VARIABLE = "FAULTS_CLOCK_OFFSET"
"""Seconds that this host's clock is ahead; negative: behind."""


def apply() -> None:
    """Turn the clocks, if the environment asks for it. Before anything else is imported that might keep one."""
    seconds = float(os.environ.get(VARIABLE, "0"))
    if not seconds:
        return
    true_time, true_nanoseconds = time.time, time.time_ns
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_nanoseconds() + int(seconds * 1e9)
    timezone.now = lambda: datetime.now(UTC) + timedelta(seconds=seconds)
