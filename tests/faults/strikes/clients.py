"""Faults of whoever submits: a client or the web server dies, or stops, between its commit and its publish."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

from tests.faults.strikes.valkey import PUBLISH
from tests.faults.world import Link, World

_CATCH_SECONDS = 6.0
_PAUSE_SECONDS = 3.0


def kill_client(world: World, dice: random.Random, *, times: int = 3) -> int:
    """SIGKILL of the submitter when its publish has left it and has not reached Valkey (of all of them, if several)."""

    def kill() -> None:
        for client in list(world.clients):
            client.kill()

    return sum(_strike_before_publish(world, world.links.client, kill) for _ in range(times))


def kill_web(world: World, dice: random.Random, *, times: int = 3) -> int:
    """SIGKILL of the web server, all its processes, in the same moment of a POST."""
    web = world.fleet.web
    assert web is not None
    killed = 0
    for _ in range(times):
        killed += _strike_before_publish(world, world.links.web, web.kill)
        world.fleet.wait_ready()
    return killed


def pause_web(world: World, dice: random.Random, *, times: int = 3) -> int:
    """SIGSTOP of the web server in that moment; 3 s later SIGCONT, and its connections to Valkey are gone."""
    web = world.fleet.web
    assert web is not None

    def pause() -> None:
        web.signal_all(signal.SIGSTOP)
        time.sleep(_PAUSE_SECONDS)
        web.signal_all(signal.SIGCONT)

    return sum(_strike_before_publish(world, world.links.web, pause) for _ in range(times))


def _strike_before_publish(world: World, link: Link, strike: Callable[[], None]) -> bool:
    """Whether there was anybody to strike in time."""
    caught = link.redis.catch(PUBLISH[world.kind])
    was_caught = caught.caught.wait(_CATCH_SECONDS)
    if was_caught:
        strike()
        time.sleep(0.1)
        link.redis.cut()  # what was caught never reaches the server
    link.redis.catches.clear()
    return was_caught
