"""Faults of a Redis with replicas: behind Sentinels, or a Cluster."""

from __future__ import annotations

import random
import time

from tests.faults.world import NAMESPACE, World
from tests.redis_servers import cut_off


def kill_master(world: World, dice: random.Random) -> None:
    """SIGKILL of the master that holds our keys, after its replica has missed what was written for a while."""
    deployment = world.backends.deployment
    assert deployment is not None
    master, replica = deployment.master(NAMESPACE), deployment.replica(NAMESPACE)
    cut_off(replica, master=master)
    time.sleep(dice.uniform(1.0, 2.0))
    master.kill()
