"""The processes that submit, started again where they left off when they are killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from tests.bench.environment import Process
from tests.faults import effects
from tests.faults.apps.plan import Plan
from tests.faults.findings import Span
from tests.faults.world import World

_CLIENT_SECONDS = 90.0


class Clients:
    """Several clients side by side, each with its part of a run's jobs; `more` is added to their environment."""

    def __init__(self, world: World, span: Span, *, count: int, more: Mapping[str, str]) -> None:
        world.clients.clear()
        self._world, self._span = world, span
        self._clients = [_Client(world, span, part, more) for part in _parts(span.plan, count)]

    def are_done(self) -> bool:
        return all(client.is_done for client in self._clients)

    def finish(self) -> int:
        """Wait until every job has been accepted; returns how many were not."""
        for client in self._clients:
            client.finish()
        plan = self._span.plan
        accepted = self._span.own(self._world.log.read(first=self._span.log_from), effects.ACCEPTED)
        return plan.last - plan.first - len({effect.number for effect in accepted} - set(range(*self._span.poisonous)))


def _parts(plan: Plan, count: int) -> list[Plan]:
    """The plan's numbers in `count` pieces, each over the whole time."""
    size = plan.last - plan.first
    edges = [plan.first + size * place // count for place in range(count + 1)]
    return [replace(plan, first=first, last=last) for first, last in pairwise(edges)]


class _Client:
    def __init__(self, world: World, span: Span, plan: Plan, more: Mapping[str, str]) -> None:
        self._world, self._span, self._plan, self._more = world, span, plan, more
        self._ends = time.monotonic() + plan.seconds
        self.is_done = False
        self._process = self._start(plan.first)
        self._thread = threading.Thread(target=self._watch, name="client", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        self._thread.join(max(0.0, self._ends - time.monotonic()) + _CLIENT_SECONDS)
        self.is_done = True
        self._process.close()

    def _start(self, first: int) -> Process:
        seconds = max(0.0, self._ends - time.monotonic())
        process = self._world.submit(replace(self._plan, first=first, seconds=seconds), self._more)
        self._world.clients.append(process)
        return process

    def _watch(self) -> None:
        while not self.is_done:
            assert self._process.process is not None
            code = self._process.process.poll()
            if code == 0:
                self.is_done = True
            elif code is not None:
                self._world.clients.remove(self._process)
                self._process.close()
                self._process = self._start(self._first_open())
            time.sleep(0.1)

    def _first_open(self) -> int:
        """The number after the last one that was accepted."""
        log = self._world.log.read(first=self._span.log_from)
        accepted = (effect.number for effect in log if effect.kind == effects.ACCEPTED)
        mine = (number for number in accepted if self._plan.first <= number < self._plan.last)
        return max(mine, default=self._plan.first - 1) + 1
