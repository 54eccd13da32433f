"""One fault after the other, each while jobs are being submitted, and its cost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, replace

from rich.console import Console

from tests.faults import checks, checks_stock, effects
from tests.faults.apps.plan import Plan
from tests.faults.catalogue import (
    BY_NAME,
    FAULTS,
    MIXED_DOCUMENTS,
    MIXED_HOSTILE,
    SERVER_FAULTS,
    Fault,
    Unavailable,
)
from tests.faults.client import Clients
from tests.faults.findings import Findings, Span
from tests.faults.world import World

MIXED = "mixed"
RATE = 60.0
"""Submissions per second: well below what the workers can do, so that recovery is not the time to clear a backlog."""
SINGLE_SHARE = 50
"""A single fault gets this part of the jobs of the mixed schedule, but not fewer than `LEAST_JOBS`."""
LEAST_JOBS = 200
_AROUND_SECONDS = 5.0
"""Submissions go on around a fault: some before it, some after it."""

_PATIENCE = {True: 60.0, False: 150.0}
"""Seconds for the jobs to end: this service promises 20; stock rescues by chance after a minute or two."""
_MIXED_CLIENTS = 3
"""A client that waits for a reply that is slow to come would keep the others waiting."""
_WORK_JOBS, _WORK_SECONDS = 10, 5.0
_CLIENT_SECONDS = 30.0


@dataclass(eq=False)
class Campaign:
    """Runs faults in one world, giving each its own range of job numbers from `first` on."""

    world: World
    seed: int
    jobs: int
    console: Console
    first: InitVar[int] = 0

    def __post_init__(self, first: int) -> None:
        self._next = first

    def run(self, name: str) -> Findings:
        """Let one fault (or the mixed schedule) strike while jobs are submitted; what it cost."""
        if name == MIXED:
            return self._run(name, [], count=self.jobs)
        return self._run(name, [BY_NAME[name]], count=max(LEAST_JOBS, self.jobs // SINGLE_SHARE))

    def run_in_turn(self, faults: Sequence[Fault], *, jobs: int) -> Findings:
        """Let several faults strike, one after the other, in one run of `jobs` jobs."""
        return self._run(", ".join(fault.name for fault in faults), faults, count=jobs)

    def _run(self, name: str, faults: Sequence[Fault], *, count: int) -> Findings:
        dice = random.Random(f"{self.seed}:{name}")
        self.world.fleet.wait_ready()
        self.world.notes.clear()
        span = self._span(name, faults, count)
        more = faults[0].client if faults else {}
        clients = Clients(self.world, span, count=1 if faults else _MIXED_CLIENTS, more=more)
        self._await_submissions(span)
        time.sleep(dice.uniform(0.8, 2.0))
        self.world.poison = span.poisonous
        self._await_work(span)
        struck_at, struck = time.time(), 0
        for fault in faults:
            self._await_work(span)
            times = fault.act(self.world, dice)
            struck += 1 if times is None else times
        if not faults:
            struck = self._mix(dice, clients)
        self.world.heal()
        span = replace(span, struck_at=struck_at, healed_at=time.time())
        refused = clients.finish()
        found = Findings(fault=name, struck=struck, lasted=span.healed_at - span.struck_at)
        self._settle(span)
        (checks if self.world.is_ledger else checks_stock).check(self.world, found, span)
        found.broken += self.world.notes
        if refused:
            found.broken.append(f"{refused} jobs were not accepted")
        self._say(found)
        if not self.world.is_ledger:
            self._forget()
        return found

    def _span(self, name: str, faults: Sequence[Fault], count: int) -> Span:
        """The next range of numbers and what they are; documents only where there is a site for them."""
        last = self._next + count
        lasts = sum(fault.lasts for fault in faults) + _AROUND_SECONDS if faults else 0.0
        documents = max(fault.documents for fault in faults) if faults else MIXED_DOCUMENTS
        plan = Plan(
            run=self.world.run, seed=self.seed, first=self._next, last=last, seconds=max(count / RATE, lasts),
            actor=faults[0].actor if faults else "work", documents=documents if self.world.site else 0.0,
            hostile=max(fault.hostile for fault in faults) if faults else MIXED_HOSTILE,
        )  # fmt: skip
        self._next = last + 2
        return Span(plan=plan, poisonous=(last, last + 2), log_from=len(self.world.log.read()))

    def _await_submissions(self, span: Span) -> None:
        """Until the clients are up: on a busy machine that takes longer than a fault may wait for work."""
        deadline = time.monotonic() + _CLIENT_SECONDS
        while time.monotonic() < deadline:
            if span.own(self.world.log.read(first=span.log_from), effects.ACCEPTED):
                return
            time.sleep(0.1)

    def _await_work(self, span: Span) -> None:
        """Until jobs wait and run, so that the fault finds some; but not for long."""
        deadline = time.monotonic() + _WORK_SECONDS
        while time.monotonic() < deadline:
            log = self.world.log.read(first=span.log_from)
            accepted = {effect.number for effect in span.own(log, effects.ACCEPTED)}
            ended = {effect.number for effect in span.own(log, effects.ENDED)}
            if len(accepted - ended) >= _WORK_JOBS:
                return
            time.sleep(0.02)

    def _settle(self, span: Span) -> None:
        """Wait until every accepted job has ended, but not for ever."""
        has_ended = (checks if self.world.is_ledger else checks_stock).has_ended
        deadline = time.monotonic() + _PATIENCE[self.world.is_ledger]
        while not has_ended(self.world, span) and time.monotonic() < deadline:
            time.sleep(0.25)

    def _forget(self) -> None:
        """Stock cannot get rid of poison by itself, and what it lost may turn up in a later run: start from nothing."""
        with self.world.redis() as client:
            client.flushall()

    def _mix(self, dice: random.Random, clients: Clients) -> int:
        """Two streams of faults at once, of servers and of everything else, until the clients are done; how many."""
        drawn = [fault for fault in FAULTS if fault.mixes and self._can_strike(fault)]
        streams = ([fault for fault in drawn if (fault.name in SERVER_FAULTS) is server] for server in (True, False))
        struck: list[str] = []
        threads = [
            threading.Thread(target=self._stream, args=(faults, random.Random(dice.random()), clients, struck))
            for faults in streams
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(struck)

    def _can_strike(self, fault: Fault) -> bool:
        if not self.world.is_ledger:
            return fault.stock
        return self.world.site is not None or not fault.documents

    def _stream(self, faults: list[Fault], dice: random.Random, clients: Clients, struck: list[str]) -> None:
        while not clients.are_done():
            for fault in dice.sample(faults, len(faults)):
                if clients.are_done():
                    break
                self.console.print(f"  {time.strftime('%H:%M:%S')} {fault.name}", style="dim")
                struck.append(fault.name)
                self.strike(fault, dice)
                time.sleep(dice.uniform(1.0, 4.0))

    def strike(self, fault: Fault, dice: random.Random) -> None:
        """One fault of the mixture. One that breaks by itself is told: it would end the stream, and what the schedule
        had in store would not be struck, while the run passes."""
        try:
            fault.act(self.world, dice)
        except Unavailable as error:
            self.console.print(f"  {fault.name} met another fault: {type(error).__name__}", style="dim")
        except Exception as error:
            self.world.notes.append(f"{fault.name} failed with {type(error).__name__}: {error}")

    def _say(self, found: Findings) -> None:
        broken = f"; {'; '.join(found.broken)}" if found.broken else ""
        self.console.print(
            f"{self.world.kind} {found.fault}: {found.lasted:.0f} s, {found.jobs} jobs, {found.met} met, "
            f"{found.lost} lost, {found.duplicated} run again, {found.doubled} doubled, "
            f"recovery {found.recovery(0.5):.1f} / {found.recovery(0.99):.1f} s{broken}",
            style="" if found.is_clean else "bold red",
            highlight=False,
            soft_wrap=True,
        )
