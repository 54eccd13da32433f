"""Sending jobs to idle workers, as a person would: one now and then."""

import random
import time
from collections.abc import Callable
from typing import Any

WARM_UP = 3
"""Jobs sent first, which open the connections; nobody looks at their latency."""


def send(send_one: Callable[[float], Any], count: int) -> None:
    """Call `send_one(time.time())` `count` times, 100 to 200 ms apart."""
    spacing = random.Random(20)
    for _ in range(WARM_UP + count):
        send_one(time.time())
        time.sleep(spacing.uniform(0.1, 0.2))
