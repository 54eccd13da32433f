"""Faults of the workers: killed, stopped, deployed, poisoned, with a clock that is wrong."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Iterator, Mapping

import psutil

from tests.faults.apps.ledger.clock import VARIABLE as CLOCK
from tests.faults.apps.plan import Plan
from tests.faults.fleet import DRAIN_SECONDS, Master
from tests.faults.world import World

_POISON_SECONDS = 60.0
"""A poisonous job needs three deaths, and a worker takes seconds to start."""


_EXIT_BURIED = 70
"""`queueadmin.worker.EXIT_BURIED`, without Django."""

_LEADER_SECONDS = 8.0
"""Longer than the lease of the dispatcher's leader, shorter than a worker may be silent."""


def kill_worker(world: World, dice: random.Random) -> None:
    """The whole worker, as a machine's death, or only the process that runs the jobs."""
    master = dice.choice(world.fleet.masters)
    workers = master.workers()
    if dice.random() < 0.5 or not workers:
        master.kill()
    else:
        with contextlib.suppress(psutil.NoSuchProcess):
            dice.choice(workers).kill()


def kill_leader(world: World, dice: random.Random) -> None:
    if not world.is_ledger:
        return kill_worker(world, dice)
    with contextlib.suppress(psutil.NoSuchProcess):
        if leader := _leader(world):
            leader.kill()
    return None


def pause_leader(world: World, dice: random.Random) -> int:
    """The leader stops for longer than its lease lasts, and wakes up believing that it leads; 0 when nobody led."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if leader := _leader(world):
            leader.suspend()
            try:
                time.sleep(_LEADER_SECONDS)
            finally:
                leader.resume()
            return 1
    return 0


def _leader(world: World) -> psutil.Process | None:
    query = (
        "SELECT w.pid FROM queueadmin_lease l JOIN queueadmin_workerprocess w ON w.id = l.holder "
        "WHERE l.name = 'dispatcher'"
    )
    with world.sql() as connection:
        row = connection.execute(query).fetchone()
    return None if row is None else psutil.Process(int(row[0]))


def pause_worker(world: World, dice: random.Random) -> None:
    """Longer than a worker may be silent: it wakes up as a zombie."""
    _pause(world, dice, 14.0)


def pause_worker_shortly(world: World, dice: random.Random) -> None:
    _pause(world, dice, 4.0)


def _pause(world: World, dice: random.Random, seconds: float) -> None:
    master = dice.choice(world.fleet.masters)
    master.signal_all(signal.SIGSTOP)
    time.sleep(seconds)
    master.signal_all(signal.SIGCONT)


def deploy(world: World, dice: random.Random) -> None:
    """SIGTERM to one worker after the other, twice, without waiting for the first to be back; over when all are."""
    for _ in range(2):
        for master in world.fleet.masters:
            workers = [worker.pid for worker in master.workers()] if master.is_ready else []
            code, took = world.fleet.deploy(master)
            # One that another fault took down drains nothing; one that was condemned while it was cut off says so.
            condemned = code == _EXIT_BURIED and _buried(world, workers)
            if workers and not condemned and (code != 0 or took > DRAIN_SECONDS):
                world.notes.append(f"a drain ended with {code} after {took:.1f} s")
    world.fleet.wait_ready()


def _buried(world: World, pids: list[int]) -> bool:
    query = "SELECT count(*) FROM queueadmin_workerprocess WHERE pid = ANY(%s) AND buried_at IS NOT NULL"
    with world.sql() as connection:
        row = connection.execute(query, [pids]).fetchone()
    return bool(row and row[0])


def poison(world: World, dice: random.Random) -> None:
    """Two jobs that kill their process, among others; over when both are out of the way, which stock never is."""
    first, last = world.poison
    client = world.submit(Plan(run=world.run, seed=0, first=first, last=last, seconds=0.0, actor="poison"))
    assert client.process is not None
    client.process.wait(60)
    client.close()
    if not world.is_ledger:
        time.sleep(20.0)
        return
    deadline = time.monotonic() + _POISON_SECONDS
    while _live_poison(world) and time.monotonic() < deadline:
        time.sleep(0.1)


def _live_poison(world: World) -> bool:
    with world.sql() as connection:
        query = "SELECT 1 FROM queueadmin_job WHERE actor = 'poison' AND state <> 'dead_letter'"
        return connection.execute(query).fetchone() is not None


def old_code(world: World, dice: random.Random) -> None:
    """One worker still runs the last deployment's code, which lacks the actor."""
    with _environments({dice.choice(world.fleet.masters): {"FAULTS_OLD_CODE": "1"}}, world):
        time.sleep(8.0)


def clocks(world: World, dice: random.Random) -> None:
    """The hosts disagree about the time: a worker is two hours ahead, another two behind, the web server one behind."""
    offsets = (7200, -7200, -3600)
    wrong = {master: {CLOCK: str(offset)} for master, offset in zip(world.fleet.everybody, offsets, strict=False)}
    with _environments(wrong, world):
        time.sleep(8.0)


@contextlib.contextmanager
def _environments(changes: Mapping[Master, Mapping[str, str]], world: World) -> Iterator[None]:
    """Processes started anew with more in their environment, and at the end without it again."""
    plain = {master: master.environment for master in changes}
    for master, more in changes.items():
        master.environment = {**plain[master], **more}
        world.fleet.deploy(master)
    world.fleet.wait_ready()
    try:
        yield
    finally:
        for master, environment in plain.items():
            master.environment = environment
            world.fleet.deploy(master)
        world.fleet.wait_ready()
