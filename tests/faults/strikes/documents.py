"""Faults of what documents need: the object store, the receiver of webhooks."""

from __future__ import annotations

import random
import time

from tests.faults.world import World

_SPELL_SECONDS = 6.0
_RECEIVER_SECONDS = 4.0


def store_errors(world: World, dice: random.Random) -> int:
    """The store answers 500 or 503 to everything, or breaks the connection."""
    return _spoil(world, ("500", "503", "reset"))


def store_slow(world: World, dice: random.Random) -> int:
    """Bodies trickle: 5 KiB a second."""
    return _spoil(world, ("slow",))


def store_truncates(world: World, dice: random.Random, *, seconds: float = _SPELL_SECONDS) -> int:
    """Bodies end early, after a head that promised all of it."""
    return _spoil(world, ("truncated",), seconds)


def _spoil(world: World, moods: tuple[str, ...], seconds: float = _SPELL_SECONDS) -> int:
    assert world.site is not None
    front = world.site.front
    before = front.spoilt
    front.moods = moods
    time.sleep(seconds)
    front.moods = ()
    return front.spoilt - before


def bad_receiver(world: World, dice: random.Random) -> int:
    """The receiver reads what it gets, and answers 500, 503 or with a reset."""
    assert world.site is not None
    inbox = world.site.inbox
    before = inbox.failed
    inbox.failing = 1.0
    time.sleep(_RECEIVER_SECONDS)
    inbox.failing = 0.0
    return inbox.failed - before


def hostile(world: World, dice: random.Random) -> None:
    """Nothing is done to the world: the documents that come in are what strikes."""
    time.sleep(_SPELL_SECONDS)
