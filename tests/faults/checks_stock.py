"""What stock Dramatiq made of a run, read from the effect log and django_dramatiq's table."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.faults import effects
from tests.faults.effects import Effect
from tests.faults.findings import Findings, Span, measure, repeated
from tests.faults.world import World

_RECORD_SECONDS = 5.0


def has_ended(world: World, span: Span) -> bool:
    """Whether every accepted job has run to its end."""
    log = world.log.read(first=span.log_from)
    ended = {effect.number for effect in span.own(log, effects.ENDED)}
    return all(effect.number in ended or span.is_poison(effect.number) for effect in span.own(log, effects.ACCEPTED))


def check(world: World, found: Findings, span: Span) -> None:
    """Lost: accepted, and never ran to its end. Doubled: ran to its end twice."""
    log = world.log.read(first=span.log_from)
    accepted = {effect.number: effect for effect in span.own(log, effects.ACCEPTED)}
    ran = span.own(log, effects.STARTED, effects.ENDED)
    ended: dict[int, list[float]] = defaultdict(list)
    for effect in ran:
        if effect.kind == effects.ENDED:
            ended[effect.number].append(effect.at)
    found.jobs = len(accepted)
    found.lost = sum(number not in ended for number in accepted if not span.is_poison(number))
    found.duplicated = repeated(ran, span.is_poison)
    found.doubled = sum(len(times) > 1 for times in ended.values())
    measure(
        found,
        span,
        {number: effect.at for number, effect in accepted.items()},
        {number: min(times) for number, times in ended.items()},
    )
    found.broken += _endless_poison(ran, span)
    found.broken += _false_records(world, {accepted[number].about for number in ended if number in accepted})


def _endless_poison(ran: Sequence[Effect], span: Span) -> list[str]:
    runs = Counter(effect.number for effect in ran if effect.kind == effects.STARTED and span.is_poison(effect.number))
    return [f"poison ran {most} times" for most in [max(runs.values(), default=0)] if most > 3]


def _false_records(world: World, ended: set[str]) -> list[str]:
    """Jobs that ran to their end, of which the table says something else, or nothing, also a while later."""
    deadline = time.monotonic() + _RECORD_SECONDS
    while (wrong := len(ended) - _on_record(world, ended)) and time.monotonic() < deadline:
        time.sleep(0.25)
    return [f"{wrong} jobs that ended are not on record as done"] if wrong else []


def _on_record(world: World, ids: set[str]) -> int:
    query = "SELECT count(*) FROM django_dramatiq_task WHERE id = ANY(%s::uuid[]) AND status = 'done'"
    with world.sql() as connection:
        row = connection.execute(query, (list(ids),)).fetchone()
    return int(row[0]) if row else 0
