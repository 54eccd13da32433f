"""Faults of Valkey, and of the way to it."""

from __future__ import annotations

import random
import time

from tests.faults.strikes import wires
from tests.faults.world import LEDGER, STOCK, World

PUBLISH = {LEDGER: b"EVAL", STOCK: b"\r\nenqueue\r\n"}
"""What the command holds that makes a job known to the workers."""


def flushall(world: World, dice: random.Random) -> None:
    with world.redis() as client:
        client.flushall()


def restart_valkey(world: World, dice: random.Random) -> None:
    world.valkey.stop()
    time.sleep(dice.uniform(0.2, 2.0))
    world.valkey.start()


def kill_valkey_empty(world: World, dice: random.Random) -> None:
    """SIGKILL, and its files are gone: a Redis without persistence."""
    world.valkey.kill()
    for path in (world.valkey.directory / "appendonlydir").glob("*"):
        path.unlink()
    time.sleep(dice.uniform(0.2, 2.0))
    world.valkey.start()


def redis_full(world: World, dice: random.Random) -> None:
    """Redis refuses writes: its memory is used up."""
    with world.redis() as client:
        client.config_set("maxmemory", 1)
        time.sleep(6.0)
        client.config_set("maxmemory", 0)


def cut_redis(world: World, dice: random.Random) -> None:
    for _ in range(10):
        for proxy in world.redis_proxies:
            proxy.cut()
        time.sleep(dice.uniform(0.05, 0.4))


def hold_redis(world: World, dice: random.Random) -> None:
    with wires.held(world.redis_proxies):
        time.sleep(6.0)


def slow_redis(world: World, dice: random.Random) -> None:
    with wires.delayed(world.redis_proxies, 0.3):
        time.sleep(5.0)


def drop_publish(world: World, dice: random.Random, *, times: int = 20) -> int:
    """The reply to a publish (stock: to the enqueue script, and always empty) is lost after it took effect."""
    if world.is_ledger:
        return wires.drop(world.redis_proxies, PUBLISH[LEDGER], times)
    return wires.drop_one_by_one([world.links.client.redis], PUBLISH[STOCK], times // 2, even_empty=True)


def drop_pop(world: World, dice: random.Random, *, times: int = 20) -> int:
    """The reply to BZMPOP (stock: to the fetch script) is lost: the ids are out of Redis, and nobody has them."""
    return wires.drop(world.redis_proxies, b"BZMPOP" if world.is_ledger else b"\r\nfetch\r\n", times)
