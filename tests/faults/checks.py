"""What must hold after a run, read from the database, the broker and the effect log."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import httpx
import psutil
import redis

from tests.faults import checks_documents, effects
from tests.faults.checks_totals import wrong_totals
from tests.faults.effects import Effect
from tests.faults.findings import Findings, Span, measure, repeated
from tests.faults.world import World

_OUTCOMES = ("complete", "fail", "bury", "stop", "cancel", "discard")
_ENDS = ("complete", "retry_later", "fail", "bury", "release", "stop", "rescue")
_TERMINAL = ("completed", "failed", "dead_letter", "cancelled")
_TIDY_SECONDS = 20.0
"""How long ready sets, leases and worker rows may take to be tidied up once all jobs have ended."""

Path = list[tuple[str, int]]
"""A job's (edge, attempt)s, in order."""


def has_ended(world: World, span: Span) -> bool:
    """Whether every accepted job is in a terminal state, and so is everything that followed from one."""
    log = world.log.read(first=span.log_from)
    wanted = {effect.about for effect in span.own(log, effects.ACCEPTED)}
    with world.sql() as connection:
        found = connection.execute(
            "SELECT count(*) FROM queueadmin_job WHERE id = ANY(%s::uuid[]) AND state = ANY(%s)",
            (list(wanted), list(_TERMINAL)),
        ).fetchone()
        live = connection.execute(
            "SELECT count(*) FROM queueadmin_job WHERE queue <> 'maintenance' AND state <> ALL(%s)", (list(_TERMINAL),)
        ).fetchone()
    return found == (len(wanted),) and live == (0,)


def check(world: World, found: Findings, span: Span) -> None:
    """Every promise of the crash model that the database, the broker, the store and the effect log can show."""
    log = world.log.read(first=span.log_from)
    accepted = span.own(log, effects.ACCEPTED)
    numbers = {effect.about: effect.number for effect in accepted}
    jobs, events = _jobs(world, list(numbers)), _events(world, list(numbers))
    ran = span.own(log, effects.STARTED, effects.ENDED)
    found.jobs = len(numbers)
    found.lost = sum(row["state"] not in _TERMINAL for row in jobs.values()) + len(set(numbers) - set(jobs))
    found.duplicated = repeated(ran, span.is_poison)
    found.doubled = _doubled(events)
    finished = _finished(world, numbers, jobs)
    measure(
        found, span, {effect.number: effect.at for effect in accepted if not span.is_poison(effect.number)}, finished
    )
    found.broken += _unfinished(jobs, events)
    found.broken += _wrong_ends(jobs, numbers, span)
    found.broken += _open_attempts(events)
    found.broken += _unrecorded_effects(ran, numbers, jobs, events, span)
    found.broken += _announcements(world, log, jobs)
    found.broken += _refusals(span.own(log, effects.REFUSED))
    found.broken += _documents(world, span, numbers, jobs)
    found.broken += tidy(world)


def _jobs(world: World, ids: list[str]) -> dict[str, dict[str, Any]]:
    query = (
        "SELECT id::text, actor, state, error_code, result, payload->'options' ? 'follow_up' AS followed, "
        "extract(epoch FROM finished_at)::float AS finished_at FROM queueadmin_job WHERE id = ANY(%s::uuid[])"
    )
    with world.sql() as connection:
        cursor = connection.execute(query, (ids,))
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
    return {row["id"]: row for row in rows}


def _events(world: World, ids: list[str]) -> dict[str, Path]:
    query = "SELECT job_id::text, edge, attempt FROM queueadmin_jobevent WHERE job_id = ANY(%s::uuid[]) ORDER BY id"
    found: dict[str, Path] = defaultdict(list)
    with world.sql() as connection:
        for job, edge, attempt in connection.execute(query, (ids,)):
            found[job].append((edge, attempt))
    return found


def _finished(world: World, numbers: dict[str, int], jobs: dict[str, dict[str, Any]]) -> dict[int, float]:
    """When each job was over for whoever submitted it: documents when their webhook had arrived."""
    told = checks_documents.accepted_at(world.site.inbox) if world.site else {}
    return {
        numbers[job]: max(row["finished_at"], told.get(job, 0.0))
        for job, row in jobs.items()
        if row["state"] in _TERMINAL
    }


def _doubled(events: dict[str, Path]) -> int:
    """Nothing is retried by hand here, so each job has one run and one outcome."""
    return sum(sum(edge in _OUTCOMES for edge, _ in path) > 1 for path in events.values())


def _unfinished(jobs: dict[str, dict[str, Any]], events: dict[str, Path]) -> list[str]:
    """The first few jobs that have not ended, and their way so far."""
    lost = [(job, row["state"]) for job, row in jobs.items() if row["state"] not in _TERMINAL]
    return [f"{job} is {state} after {' '.join(edge for edge, _ in events[job])}" for job, state in lost[:3]]


def _wrong_ends(jobs: dict[str, dict[str, Any]], numbers: dict[str, int], span: Span) -> list[str]:
    wrong: Counter[str] = Counter()
    for job, row in jobs.items():
        if row["state"] in _TERMINAL and not _is_right(row, numbers[job], span):
            wrong[f"{row['actor']} {row['state']} ({row['error_code']})"] += 1
    return [f"{count} jobs ended as {state}" for state, count in wrong.items()]


def _is_right(row: dict[str, Any], number: int, span: Span) -> bool:
    if span.is_poison(number):
        return bool(row["state"] == "dead_letter")
    return (row["state"], row["error_code"]) == checks_documents.expected_end(span.plan, number)


def _open_attempts(events: dict[str, Path]) -> list[str]:
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
    events: dict[str, Path],
    span: Span,
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
    """Every promised follow-up exists once; those of plain jobs ran at least once (webhooks: see `_documents`)."""
    owed = {job: row["actor"] for job, row in jobs.items() if row["followed"] and row["state"] in _TERMINAL}
    query = "SELECT parent_id::text FROM queueadmin_job WHERE parent_id = ANY(%s::uuid[])"
    with world.sql() as connection:
        made = Counter(row[0] for row in connection.execute(query, (list(owed),)))
    told = {effect.about for effect in log if effect.kind == effects.ANNOUNCED}
    plain = {job for job, actor in owed.items() if actor != "ingest_document"}
    words = {
        "announcements missing": len(set(owed) - set(made)),
        "announcements made twice": sum(count > 1 for count in made.values()),
        "announcements never delivered": len(plain - told),
    }
    return [f"{count} {what}" for what, count in words.items() if count]


def _refusals(refused: Iterable[Effect]) -> list[str]:
    """Answers of the web server that are neither a 202 nor a promise to be there in a moment."""
    return [
        f"{count} submissions were answered {status}"
        for status, count in Counter(effect.about for effect in refused).items()
    ]


def _documents(world: World, span: Span, numbers: dict[str, int], jobs: dict[str, dict[str, Any]]) -> list[str]:
    if world.site is None:
        return []
    ended = {job: row for job, row in jobs.items() if row["actor"] == "ingest_document" and row["state"] in _TERMINAL}
    completed = {numbers[job]: row for job, row in ended.items() if row["state"] == "completed"}
    return [
        *checks_documents.results(world.site, span.plan, completed),
        *checks_documents.webhooks(world.site.inbox, ended),
    ]


# -- what is left behind -------------------------------------------------------------------------


def tidy(world: World) -> list[str]:
    """What is left behind once everything has ended: tried for a while, because some of it is tidied up late."""
    deadline = time.monotonic() + _TIDY_SECONDS
    while (left := look_round(world)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


def look_round(world: World) -> list[str]:
    """What is left behind at this moment, in words."""
    try:
        return _leftovers(world)
    except (redis.RedisError, httpx.HTTPError) as error:  # a master that has just taken over, a web server that starts
        return [f"nobody can be asked what is left: {type(error).__name__}"]


def _leftovers(world: World) -> list[str]:
    with world.redis() as client:
        ids = sum(client.zcard(key) for key in client.scan_iter("{ingestion}:ready:*"))
    with world.sql() as connection:
        living = connection.execute(
            "SELECT pid FROM queueadmin_workerprocess WHERE stopped_at IS NULL AND buried_at IS NULL"
        ).fetchall()
        held = connection.execute(
            "SELECT count(*) FROM queueadmin_job WHERE state <> 'processing' AND (worker_id IS NOT NULL OR token IS "
            "NOT NULL) OR state = 'processing'"
        ).fetchone()
        leases = connection.execute(
            "SELECT count(*) FROM queueadmin_lease l LEFT JOIN queueadmin_workerprocess w ON w.id = l.holder AND "
            "w.stopped_at IS NULL AND w.buried_at IS NULL WHERE l.name = 'dispatcher' AND w.id IS NULL"
        ).fetchone()
        pending = connection.execute("SELECT count(*) FROM queueadmin_job WHERE state = 'pending'").fetchone()
    words = {
        "ids in ready sets without a pending job": max(0, ids - (pending[0] if pending else 0)),
        "rows of workers that are gone": sum(not psutil.pid_exists(row[0]) for row in living),
        "claims left behind": held[0] if held else 1,
        "leases of the dead": leases[0] if leases else 1,
    }
    return [*(f"{count} {what}" for what, count in words.items() if count), *wrong_totals(world)]
