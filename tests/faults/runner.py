"""One fault after the other, each while jobs are being submitted, and its cost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import InitVar, dataclass

from rich.console import Console

from tests.bench.environment import Process
from tests.faults import effects
from tests.faults.catalogue import BY_NAME, FAULTS, SERVER_FAULTS, Fault, Unavailable
from tests.faults.checks import Findings, Span, check_ledger, check_stock, settle
from tests.faults.world import World

MIXED = "mixed"
RATE = 60.0
"""Submissions per second: well below what the workers can do, so that recovery is not the time to clear a backlog."""
_SINGLE_SHARE = 15
_LEAST_JOBS = 150
_AROUND_SECONDS = 5.0
"""Submissions go on around a fault: some before it, some after it."""

_PATIENCE = {True: 60.0, False: 150.0}
"""Seconds for the jobs to end: this service promises 20; stock rescues by chance after a minute or two."""
_CLIENT_SECONDS = 90.0
_WORK_JOBS, _WORK_SECONDS = 10, 5.0


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
            return self._run(name, None, count=self.jobs)
        return self._run(name, [BY_NAME[name]], count=max(_LEAST_JOBS, self.jobs // _SINGLE_SHARE))

    def run_in_turn(self, names: Sequence[str], *, jobs: int) -> Findings:
        """Let several faults strike, one after the other, in one run of `jobs` jobs."""
        return self._run(", ".join(names), [BY_NAME[name] for name in names], count=jobs)

    def _run(self, name: str, faults: Sequence[Fault] | None, *, count: int) -> Findings:
        dice = random.Random(f"{self.seed}:{name}")
        span = Span(first=self._next, last=self._next + count, poisonous=(self._next + count, self._next + count + 2))
        self._next = span.poisonous[1]
        self.world.fleet.wait_ready()
        self.world.notes.clear()
        lasts = sum(fault.lasts for fault in faults) + _AROUND_SECONDS if faults else 0.0
        actor = faults[0].actor if faults else "work"
        client = Client(self.world, span, seed=self.seed, actor=actor, seconds=max(count / RATE, lasts))
        time.sleep(dice.uniform(0.8, 2.0))
        self.world.poison = span.poisonous
        if faults is None:
            self._mix(dice, client)
        for fault in faults or ():
            self._await_work(span)
            fault.act(self.world, dice)
        self.world.heal()
        healed = time.time()
        client.finish()
        settle(self.world, span, patience=_PATIENCE[self.world.is_ledger])
        check = check_ledger if self.world.is_ledger else check_stock
        found = check(self.world, name, span, healed=healed)
        found.broken += self.world.notes
        if client.refused:
            found.broken.append(f"{client.refused} jobs were not accepted")
        self._say(found)
        if not self.world.is_ledger:
            self._forget()
        return found

    def _await_work(self, span: Span) -> None:
        """Until jobs wait and run, so that the fault finds some; but not for long."""
        deadline = time.monotonic() + _WORK_SECONDS
        while time.monotonic() < deadline:
            log = [effect for effect in effects.read(self.world.effect_log) if span.holds(effect.number)]
            accepted = sum(effect.kind == effects.ACCEPTED for effect in log)
            ended = sum(effect.kind == effects.ENDED for effect in log)
            if accepted - ended >= _WORK_JOBS:
                return
            time.sleep(0.02)

    def _forget(self) -> None:
        """Stock cannot get rid of poison by itself, and what it lost may turn up in a later run: start from nothing."""
        with self.world.redis() as client:
            client.flushall()

    def _mix(self, dice: random.Random, client: Client) -> None:
        """Two streams of faults at once, of servers and of everything else, until the client is done."""
        streams = ([f for f in FAULTS if f.mixes and (f.name in SERVER_FAULTS) is server] for server in (True, False))
        threads = [
            threading.Thread(target=self._stream, args=(faults, random.Random(dice.random()), client))
            for faults in streams
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _stream(self, faults: list[Fault], dice: random.Random, client: Client) -> None:
        while not client.is_done:
            for fault in dice.sample(faults, len(faults)):
                if client.is_done:
                    return
                self.console.print(f"  {time.strftime('%H:%M:%S')} {fault.name}", style="dim")
                try:
                    fault.act(self.world, dice)
                except Unavailable as error:
                    self.console.print(f"  {fault.name} met another fault: {type(error).__name__}", style="dim")
                time.sleep(dice.uniform(1.0, 4.0))

    def _say(self, found: Findings) -> None:
        broken = f"; {'; '.join(found.broken)}" if found.broken else ""
        self.console.print(
            f"{self.world.kind} {found.fault}: {found.jobs} jobs, {found.lost} lost, {found.duplicated} run again, "
            f"{found.doubled} doubled, recovery {found.recovery(0.5):.1f} / {found.recovery(0.99):.1f} s{broken}",
            style="" if found.is_clean else "bold red",
            highlight=False,
        )


class Client:
    """The submitting process, started again where it left off when it is killed."""

    def __init__(self, world: World, span: Span, *, seed: int, actor: str, seconds: float) -> None:
        self._world, self._span, self._seed, self._actor = world, span, seed, actor
        self._ends = time.monotonic() + seconds
        self._process: Process | None = None
        self.is_done = False
        self.refused = 0
        self._start(span.first)
        self._thread = threading.Thread(target=self._watch, name="client", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until every job has been accepted."""
        self._thread.join(max(0.0, self._ends - time.monotonic()) + _CLIENT_SECONDS)
        self.is_done = True
        if self._process is not None:
            self._process.close()
        accepted = sum(self._span.first <= number < self._span.last for number in self._world.accepted())
        self.refused = self._span.last - self._span.first - accepted

    def _start(self, first: int) -> None:
        seconds = max(0.0, self._ends - time.monotonic())
        self._process = self._world.submit(
            seed=self._seed, first=first, last=self._span.last, seconds=seconds, actor=self._actor
        )
        self._world.client = self._process

    def _watch(self) -> None:
        while not self.is_done:
            assert self._process is not None
            assert self._process.process is not None
            code = self._process.process.poll()
            if code == 0:
                self.is_done = True
            elif code is not None:
                mine = [n for n in self._world.accepted() if self._span.first <= n < self._span.last]
                self._process.close()
                self._start(max(mine, default=self._span.first - 1) + 1)
            time.sleep(0.1)
