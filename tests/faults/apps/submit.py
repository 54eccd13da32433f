"""`python -m tests.faults.apps.submit '{...}'`: a client that submits jobs and insists until each is accepted.

What is accepted is written to the effect log, as a client remembers its 202. A job's message is the same however often
it is sent: that is what a client does whose reply was lost.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import sys
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import django
import redis

from tests.faults import effects

_PAUSE_SECONDS = 0.2
_BURST_SECONDS = 2.0
"""Submissions come in bursts, so that faults find jobs that wait as well as jobs that run."""

_DURATIONS = (0.0, 0.02, 0.1, 0.4)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Jobs `first` to `last` - 1, spread over `seconds`. `every` says which share has a delay or a follow-up."""

    run: str
    seed: int
    first: int
    last: int
    seconds: float
    actor: str = "work"
    delayed: float = 0.1
    followed: float = 0.2
    give_up_seconds: float = 60.0


def main(plan: Plan) -> None:
    django.setup()
    importlib.import_module(os.environ["DJANGO_SETTINGS_MODULE"].rpartition(".")[0] + ".tasks")
    started = time.monotonic()
    for place, number in enumerate(range(plan.first, plan.last)):
        due = plan.seconds * place / (plan.last - plan.first)
        ahead = started + due - due % _BURST_SECONDS - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        _insist(plan, number)


def _insist(plan: Plan, number: int) -> None:
    deadline = time.monotonic() + plan.give_up_seconds
    while True:
        try:
            effects.record(effects.ACCEPTED, number, 0, about=_send(plan, number))
            return
        except _passing_errors() as error:
            if time.monotonic() > deadline:
                print(f"job {number} was not accepted: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201  # the harness reads it
                return
            time.sleep(_PAUSE_SECONDS)


def _passing_errors() -> tuple[type[Exception], ...]:
    from django.db import DatabaseError, InterfaceError
    from dramatiq.errors import ConnectionError as BrokerConnectionError

    return (DatabaseError, InterfaceError, redis.RedisError, BrokerConnectionError, OSError)


def _send(plan: Plan, number: int) -> str:
    """Send job `number`; returns the id under which it was accepted."""
    import dramatiq
    from django.db import close_old_connections

    close_old_connections()
    dice = random.Random(f"{plan.seed}:{plan.run}:{number}")
    broker = dramatiq.get_broker()
    actor = broker.get_actor(plan.actor)
    digest = hashlib.sha256(f"{plan.run}:{number}".encode()).digest()
    options: dict[str, Any] = {}
    if "follow_up" in broker.actor_options | {"follow_up"} and "announce" in broker.actors:
        options = {"follow_up": broker.get_actor("announce")} if dice.random() < plan.followed else {}
    message = actor.message_with_options(args=(number, dice.choice(_DURATIONS)), **options).copy(
        message_id=str(UUID(bytes=digest[:16], version=4)), message_timestamp=1_700_000_000_000 + number
    )
    delay = int(dice.uniform(500, 2500)) if dice.random() < plan.delayed else None
    return str(broker.enqueue(message, delay=delay).message_id)


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))
