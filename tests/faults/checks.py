"""What must hold after a run, read from the database, the broker and the effect log."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from tests.faults import effects
from tests.faults.effects import Effect
from tests.faults.world import World

_OUTCOMES = ("complete", "fail", "bury", "stop", "cancel", "discard")
_ENDS = ("complete", "retry_later", "fail", "bury", "release", "stop", "rescue")
_TERMINAL = ("completed", "failed", "dead_letter", "cancelled")
_TIDY_SECONDS = 20.0
"""How long ready sets, leases and worker rows may take to be tidied up once all jobs have ended."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """The jobs of one run: numbers from `first` to `last` - 1; `poisonous` ones should end as dead letters."""

    first: int
    last: int
    poisonous: tuple[int, int] = (0, 0)

    def holds(self, number: int) -> bool:
        return self.first <= number < self.last or self.is_poison(number)

    def is_poison(self, number: int) -> bool:
        return self.poisonous[0] <= number < self.poisonous[1]


@dataclass(kw_only=True)
class Findings:
    """What a run cost. `recoveries` are seconds from the end of the fault to the end of each job that it met."""

    fault: str
    jobs: int = 0
    lost: int = 0
    duplicated: int = 0
    """Executions beyond the first of each job, deaths by poison excluded."""

    doubled: int = 0
    """Jobs that committed two outcomes for one run (stock: that ran to their end twice)."""

    recoveries: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Invariants that do not hold, in words."""

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.broken)

    def recovery(self, share: float) -> float:
        """A percentile of the recoveries, in seconds; 0 when the fault met nobody."""
        ordered = sorted(self.recoveries)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "fault": self.fault, "jobs": self.jobs, "lost": self.lost, "duplicated_executions": self.duplicated,
            "double_outcomes": self.doubled, "recovery_p50": round(self.recovery(0.5), 2),
            "recovery_p99": round(self.recovery(0.99), 2), "broken": self.broken,
        }  # fmt: skip


# -- waiting -------------------------------------------------------------------------------------


def settle(world: World, span: Span, *, patience: float) -> None:
    """Wait until every accepted job has ended, or for `patience` seconds."""
    deadline = time.monotonic() + patience
    ended = _ended_on_ledger if world.is_ledger else _ended_on_stock
    while not ended(world, span) and time.monotonic() < deadline:
        time.sleep(0.25)


def _ended_on_ledger(world: World, span: Span) -> bool:
    wanted = {job for number, job in world.accepted().items() if span.holds(number)}
    with world.sql() as connection:
        found = connection.execute(
            "SELECT count(*) FROM queueadmin_job WHERE id = ANY(%s::uuid[]) AND state = ANY(%s)",
            (list(wanted), list(_TERMINAL)),
        ).fetchone()
        live = connection.execute(
            "SELECT count(*) FROM queueadmin_job WHERE queue = 'faults' AND state <> ALL(%s)", (list(_TERMINAL),)
        ).fetchone()
    return found == (len(wanted),) and live == (0,)


def _ended_on_stock(world: World, span: Span) -> bool:
    log = effects.read(world.effect_log)
    ended = {effect.number for effect in log if effect.kind == effects.ENDED}
    return all(
        number in ended or span.is_poison(number)
        for number in (effect.number for effect in log if effect.kind == effects.ACCEPTED)
        if span.holds(number)
    )


# -- stock ---------------------------------------------------------------------------------------


def check_stock(world: World, fault: str, span: Span, *, healed: float) -> Findings:
    """Lost: accepted, and never ran to its end."""
    log = [effect for effect in effects.read(world.effect_log) if span.holds(effect.number)]
    accepted = {effect.number: effect.at for effect in log if effect.kind == effects.ACCEPTED}
    ended: dict[int, list[float]] = defaultdict(list)
    for effect in log:
        if effect.kind == effects.ENDED:
            ended[effect.number].append(effect.at)
    ordinary = [number for number in accepted if not span.is_poison(number)]
    finished = {number: min(times) for number, times in ended.items()}
    return Findings(
        fault=fault,
        jobs=len(accepted),
        lost=sum(number not in ended for number in ordinary),
        duplicated=_repeated(log, span.is_poison),
        doubled=sum(len(times) > 1 for times in ended.values()),
        recoveries=_recoveries(accepted, finished, healed),
        broken=_endless_poison(log, span),
    )


def _endless_poison(log: Sequence[Effect], span: Span) -> list[str]:
    runs = Counter(effect.number for effect in log if effect.kind == effects.STARTED and span.is_poison(effect.number))
    return [f"poison ran {most} times" for most in [max(runs.values(), default=0)] if most > 3]


def _repeated(log: Sequence[Effect], excused: Callable[[int], bool]) -> int:
    starts = Counter(effect.number for effect in log if effect.kind == effects.STARTED and not excused(effect.number))
    return sum(count - 1 for count in starts.values())


def _recoveries(accepted: dict[int, float], finished: dict[int, float], healed: float) -> list[float]:
    return [
        finished[number] - healed
        for number, at in accepted.items()
        if at <= healed and finished.get(number, 0.0) > healed
    ]


# -- this service --------------------------------------------------------------------------------


def check_ledger(world: World, fault: str, span: Span, *, healed: float) -> Findings:
    """Every promise of the crash model that the database, the broker and the effect log can show."""
    log = effects.read(world.effect_log)
    accepted = [effect for effect in log if effect.kind == effects.ACCEPTED and span.holds(effect.number)]
    numbers = {effect.about: effect.number for effect in accepted}
    jobs, events = _jobs(world, list(numbers)), _events(world, list(numbers))
    ran = [effect for effect in log if effect.kind != effects.ACCEPTED and span.holds(effect.number)]
    finished = {numbers[job]: row["finished_at"] for job, row in jobs.items() if row["state"] in _TERMINAL}
    found = Findings(
        fault=fault,
        jobs=len(numbers),
        lost=len(numbers) - len(finished),
        duplicated=_repeated(ran, span.is_poison),
        doubled=_doubled(events),
        recoveries=_recoveries(
            {effect.number: effect.at for effect in accepted if not span.is_poison(effect.number)}, finished, healed
        ),
    )
    found.broken += _unfinished(jobs, events)
    found.broken += _wrong_ends(jobs, numbers, span)
    found.broken += _open_attempts(events)
    found.broken += _unrecorded_effects(ran, numbers, jobs, events)
    found.broken += _announcements(world, log, jobs)
    found.broken += tidy(world)
    return found


def _jobs(world: World, ids: list[str]) -> dict[str, dict[str, Any]]:
    query = (
        "SELECT id::text, state, error_code, payload->'options' ? 'follow_up' AS followed, "
        "extract(epoch FROM finished_at)::float AS finished_at FROM queueadmin_job WHERE id = ANY(%s::uuid[])"
    )
    with world.sql() as connection:
        cursor = connection.execute(query, (ids,))
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
    return {row["id"]: row for row in rows}


def _events(world: World, ids: list[str]) -> dict[str, list[tuple[str, int]]]:
    """Job id -> its (edge, attempt)s, in order."""
    query = "SELECT job_id::text, edge, attempt FROM queueadmin_jobevent WHERE job_id = ANY(%s::uuid[]) ORDER BY id"
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    with world.sql() as connection:
        for job, edge, attempt in connection.execute(query, (ids,)):
            found[job].append((edge, attempt))
    return found


def _doubled(events: dict[str, list[tuple[str, int]]]) -> int:
    """Nothing is retried by hand here, so each job has one run and one outcome."""
    return sum(sum(edge in _OUTCOMES for edge, _ in path) > 1 for path in events.values())


def _unfinished(jobs: dict[str, dict[str, Any]], events: dict[str, list[tuple[str, int]]]) -> list[str]:
    """The first few jobs that have not ended, and their way so far."""
    lost = [(job, row["state"]) for job, row in jobs.items() if row["state"] not in _TERMINAL]
    return [f"{job} is {state} after {' '.join(edge for edge, _ in events[job])}" for job, state in lost[:3]]


def _wrong_ends(jobs: dict[str, dict[str, Any]], numbers: dict[str, int], span: Span) -> list[str]:
    wrong = Counter(
        f"{row['state']} ({row['error_code']})"
        for job, row in jobs.items()
        if row["state"] in _TERMINAL
        and row["state"] != ("dead_letter" if span.is_poison(numbers[job]) else "completed")
    )
    return [f"{count} jobs ended as {state}" for state, count in wrong.items()]


def _open_attempts(events: dict[str, list[tuple[str, int]]]) -> list[str]:
    """Every claim has one event that ends it."""
    bad = 0
    for path in events.values():
        claims = Counter(attempt for edge, attempt in path if edge == "claim")
        ends = Counter(attempt for edge, attempt in path if edge in _ENDS)
        bad += claims != ends or any(count > 1 for count in claims.values())
    return [f"{bad} jobs have attempts without exactly one end"] if bad else []


def _unrecorded_effects(
    ran: Sequence[Effect],
    numbers: dict[str, int],
    jobs: dict[str, dict[str, Any]],
    events: dict[str, list[tuple[str, int]]],
) -> list[str]:
    """Nothing ran without a claim, and nothing is called complete that never ran to its end."""
    claimed = {(numbers[job], attempt) for job, path in events.items() for edge, attempt in path if edge == "claim"}
    executions = Counter((effect.number, effect.attempt) for effect in ran if effect.kind == effects.STARTED)
    ended = {effect.number for effect in ran if effect.kind == effects.ENDED}
    known = set(numbers.values())
    strange = sum(key not in claimed for key in executions if key[0] in known)
    twice = sum(count > 1 for count in executions.values())
    hollow = sum(row["state"] == "completed" and numbers[job] not in ended for job, row in jobs.items())
    words = {"executions without a claim": strange, "attempts that ran twice": twice, "hollow completions": hollow}
    return [f"{count} {what}" for what, count in words.items() if count]


def _announcements(world: World, log: Sequence[Effect], jobs: dict[str, dict[str, Any]]) -> list[str]:
    """Every promised follow-up exists once and ran at least once."""
    owed = {job for job, row in jobs.items() if row["followed"] and row["state"] in _TERMINAL}
    query = "SELECT parent_id::text FROM queueadmin_job WHERE parent_id = ANY(%s::uuid[])"
    with world.sql() as connection:
        made = Counter(row[0] for row in connection.execute(query, (list(owed),)))
    told = {effect.about for effect in log if effect.kind == effects.ANNOUNCED}
    words = {
        "announcements missing": len(owed - set(made)),
        "announcements made twice": sum(count > 1 for count in made.values()),
        "announcements never delivered": len(owed - told),
    }
    return [f"{count} {what}" for what, count in words.items() if count]


def tidy(world: World) -> list[str]:
    """What is left behind once everything has ended: tried for a while, because some of it is tidied up late."""
    deadline = time.monotonic() + _TIDY_SECONDS
    while (left := _leftovers(world)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


def _leftovers(world: World) -> list[str]:
    with world.redis() as client:
        ids = sum(client.zcard(key) for key in client.scan_iter("{ingestion}:ready:faults:*"))
    with world.sql() as connection:
        living = connection.execute(
            "SELECT pid FROM queueadmin_workerprocess WHERE stopped_at IS NULL AND buried_at IS NULL"
        ).fetchall()
        held = connection.execute(
            "SELECT count(*) FROM queueadmin_job WHERE state <> 'processing' AND (worker_id IS NOT NULL OR token IS "
            "NOT NULL) OR state = 'processing' AND queue = 'faults'"
        ).fetchone()
        leases = connection.execute(
            "SELECT count(*) FROM queueadmin_lease l LEFT JOIN queueadmin_workerprocess w ON w.id = l.holder AND "
            "w.stopped_at IS NULL AND w.buried_at IS NULL WHERE l.name = 'dispatcher' AND w.id IS NULL"
        ).fetchone()
        totals = connection.execute(
            "SELECT (SELECT coalesce(sum(completed), 0) FROM queueadmin_jobminute) = "
            "(SELECT count(*) FROM queueadmin_jobevent WHERE edge = 'complete'), "
            "(SELECT coalesce(sum(dead_letter), 0) FROM queueadmin_jobminute) = "
            "(SELECT count(*) FROM queueadmin_job WHERE state = 'dead_letter')"
        ).fetchone()
    words = {
        "ids left in ready sets": ids,
        "rows of workers that are gone": sum(not psutil.pid_exists(row[0]) for row in living),
        "claims left behind": held[0] if held else 1,
        "leases of the dead": leases[0] if leases else 1,
        "totals that differ from the rows": sum(not equal for equal in totals or (False,)),
    }
    return [f"{count} {what}" for what, count in words.items() if count]
