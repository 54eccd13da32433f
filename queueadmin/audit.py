"""The audit: what people did to the queues, in rows that cannot be changed unnoticed.

Each operation is one row of OperationLog, for reading, and two entries of a chain, for trusting: one before it acts,
one with its outcome. An entry holds its facts as text and the SHA-256 of that text and the entry before it, so whoever
changes, removes or inserts one must rewrite all that follow, and then the last hash differs from the one that the logs
and the last export have seen. `verify` walks the chain and holds the rows against it.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Required, TypedDict, Unpack
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from queueadmin.models import AuditEntry, AuditHead, OperationLog
from queueadmin.sanitize import clean_text

logger = logging.getLogger(__name__)

ASKED, ENDED = "asked", "ended"
START = "0" * 64
"""What the first entry names as the hash before it."""
_NAME = 200
_PAGE = 1_000
_CHECKED = {
    ASKED: ("by", "source", "operation", "target", "reason"),
    ENDED: ("requested", "done", "outcome", "detail"),
}
"""What each kind of entry says about its operation."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The end of the chain: how many entries it has, and the hash of the last."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    @classmethod
    def of(cls, text: str) -> Head | None:
        """What `str` wrote; None for any other text."""
        number, _, digest = text.strip().partition(":")
        if not (number.isascii() and number.isdigit() and len(number) < 19 and len(digest) == len(START)):
            return None
        return cls(number=int(number), hash=digest)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What `verify` found. Sound when `problems` is empty."""

    head: Head
    entries: int
    operations: int
    problems: tuple[str, ...]


# -- writing -------------------------------------------------------------------------------------


class Who(TypedDict, total=False):
    """Who wants an operation, and why: keyword arguments of every one of them.

    Not a dataclass: what a command, a request and a form know of it is passed on as it is, by name.
    """

    by: Required[str]
    """In words: a user, an API key, a shell user."""
    source: Required[str]
    """admin, api, cli or system."""
    user: Any
    reason: str


def shell_user() -> str:
    """Who runs this process, for the audit row of a command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        return "unknown"


def begin(operation: str, target: str, requested: int, **who: Unpack[Who]) -> OperationLog:
    """Commit the row of an operation as "started"; `finish` completes it."""
    user = who.get("user")
    with transaction.atomic():
        log = OperationLog.objects.create(
            user=user if isinstance(user, get_user_model()) else None,
            by=clean_text(who["by"], _NAME), source=who["source"], operation=operation,
            target=clean_text(target, 200), reason=clean_text(who.get("reason", "")), requested=requested,
        )  # fmt: skip
        _append(log, ASKED)
    return log


def finish(log: OperationLog, *, outcome: str = "") -> None:
    """Complete the row of an operation with its `done`, `requested` and `detail`; the outcome follows from them."""
    log.outcome = outcome or _outcome(log)
    _end(log)
    logger.info(
        "an operation was carried out",
        extra={
            "operation": log.operation, "target": log.target, "by": log.by, "source": log.source, "done": log.done,
        },
    )  # fmt: skip


@contextmanager
def audited(operation: str, target: str, requested: int, **who: Unpack[Who]) -> Iterator[OperationLog]:
    """An operation: committed as "started" before the act, completed after it, whatever happens."""
    log = begin(operation, target, requested, **who)
    try:
        yield log
    except BaseException as error:
        log.detail = {"error": type(error).__name__}
        finish(log, outcome="failed")
        raise
    finish(log)


def _end(log: OperationLog) -> None:
    with transaction.atomic():
        log.save(update_fields=["outcome", "requested", "done", "detail"])
        _append(log, ENDED)


def _outcome(log: OperationLog) -> str:
    if log.done >= log.requested:
        return "done"
    return "partly" if log.done else "refused"


def _append(log: OperationLog, kind: str) -> None:
    """Add an entry behind the last one. The head's row is locked first, so that two cannot stand in one place."""
    AuditHead.objects.get_or_create(pk=1, defaults={"number": 0, "hash": START})
    AuditHead.objects.filter(pk=1).update(number=F("number") + 1)
    before = AuditHead.objects.get(pk=1)
    content = _content(log, kind)
    digest = _digest(before.hash, before.number, content)
    AuditEntry.objects.create(
        number=before.number, operation_id=log.pk, kind=kind, at=timezone.now(), content=content, hash=digest
    )
    AuditHead.objects.filter(pk=1).update(hash=digest)
    # The anchor outside the database: logs are usually kept where whoever can change rows cannot reach.
    logger.info("audit entry", extra={"number": before.number, "hash": digest})


def _content(log: OperationLog, kind: str) -> str:
    """The facts as one exact text: what is hashed must come back letter for letter."""
    facts = {"operation_id": str(log.pk), "kind": kind} | {name: getattr(log, name) for name in _CHECKED[kind]}
    if kind == ASKED:
        facts["at"] = log.at.isoformat()
    return _exactly(facts)


def _exactly(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _digest(before: str, number: int, content: str) -> str:
    return hashlib.sha256(f"{before}\n{number}\n{content}".encode()).hexdigest()


# -- reading -------------------------------------------------------------------------------------


def head() -> Head:
    """The end of the chain; worth keeping outside the database, to `verify` against later."""
    row = AuditHead.objects.filter(pk=1).first()
    return Head(number=row.number, hash=row.hash) if row else Head(number=0, hash=START)


def entries(*, after: int = 0) -> Iterator[AuditEntry]:
    """Every entry in order, page by page."""
    while page := list(AuditEntry.objects.filter(number__gt=after).order_by("number")[:_PAGE]):
        yield from page
        after = page[-1].number


def verify(*, anchor: Head | None = None) -> Verdict:
    """Walk the whole chain and hold the operations' rows against it. With `anchor`, a head that was noted earlier."""
    walk = _Walk(anchor)
    for entry in entries():
        walk.step(entry)
    end = head()
    if (end.number, end.hash) != (walk.number, walk.hash):
        walk.problems.append(f"The chain ends at entry {walk.number}, and its head says {end.number}.")
    if anchor is not None and not walk.met_anchor:
        walk.problems.append(f"Entry {anchor.number} is not the one that was noted, or is gone.")
    problems = [*walk.problems, *_differences(walk.facts, walk.began)]
    return Verdict(head=end, entries=walk.number, operations=len(walk.facts), problems=tuple(problems))


class _Walk:
    """Where a verification stands."""

    def __init__(self, anchor: Head | None) -> None:
        self.anchor, self.met_anchor = anchor, anchor is not None and anchor.number == 0
        self.number, self.hash = 0, START
        self.began: Any = None
        self.facts: dict[UUID, dict[str, Any]] = {}
        self.problems: list[str] = []

    def step(self, entry: AuditEntry) -> None:
        if entry.number != self.number + 1:
            self.problems.append(f"Entries {self.number + 1} to {entry.number - 1} are gone.")
        elif entry.hash != _digest(self.hash, entry.number, entry.content):
            self.problems.append(f"Entry {entry.number} was changed, or one before it.")
        self.number, self.hash = entry.number, entry.hash
        self.began = self.began or entry.at
        if self.anchor is not None and (entry.number, entry.hash) == (self.anchor.number, self.anchor.hash):
            self.met_anchor = True
        self._remember(entry)

    def _remember(self, entry: AuditEntry) -> None:
        try:
            facts = json.loads(entry.content)
        except ValueError:
            self.problems.append(f"Entry {entry.number} cannot be read.")
            return
        self.facts.setdefault(entry.operation_id, {}).update(facts)


def _differences(facts: dict[UUID, dict[str, Any]], began: Any) -> Iterator[str]:
    """Operations whose rows say something else than the chain, are gone, or were slipped in."""
    seen = set()
    for log in OperationLog.objects.order_by("at").iterator():
        told = facts.get(log.pk)
        if told is None:
            if began is not None and log.at >= began:  # rows from before the chain are not in it
                yield f"The operation {log.pk} ({log.operation}) is not in the chain."
            continue
        seen.add(log.pk)
        names = [name for kind in (ASKED, ENDED) for name in _CHECKED[kind] if name in told]
        changed = [name for name in names if _exactly(told[name]) != _exactly(getattr(log, name))]
        if "outcome" not in told and log.outcome != "started":
            changed.append("outcome")
        if changed:
            yield f"The operation {log.pk} ({log.operation}) was changed: {', '.join(changed)}."
    for missing in facts.keys() - seen:
        yield f"The row of the operation {missing} is gone."
