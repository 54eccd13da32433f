"""From terms to rows, quickly at any size.

What an index finds is found among all rows. What no index finds (free text, a queue, an argument) is looked for
among the newest `ROWS` rows that the indexed terms leave, and without a state within the last `WINDOW` too; the
answer says so, so that nobody takes "not found here" for "does not exist". `everything` has no such bound: for
operations in the background, which read page after page.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from queueadmin.ids import first_id_at
from queueadmin.models import Job
from queueadmin.search.fields import Field, field_named, is_id, words
from queueadmin.search.language import SearchError, Term, parse

ROWS = 50_000
WINDOW = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Jobs that a search finds, unordered. `bound` says in words where it stopped looking; empty: nowhere."""

    jobs: QuerySet[Job]
    bound: str = ""


def matching(text: str, *, now: datetime, within: QuerySet[Job] | None = None) -> Matches:
    """What a search finds among `within` (default: all jobs), bounded. Raises SearchError."""
    terms = parse(text)
    jobs = Job.objects.all() if within is None else within
    indexed, others = _conditions(terms, now)
    jobs = jobs.filter(indexed)
    if not others:
        return Matches(jobs=jobs)
    has_state = any(_narrows(term) for term in terms)
    if not has_state:
        jobs = jobs.filter(pk__gte=first_id_at(now - WINDOW))
    floor = _floor(jobs)
    bound = []
    if not has_state:
        bound.append(f"the last {WINDOW.days} days")
    if floor is not None:
        jobs = jobs.filter(pk__gte=floor)
        bound.append(f"the newest {ROWS:,} jobs")
    return Matches(jobs=jobs.filter(others), bound=" and ".join(bound))


def everything(text: str, *, now: datetime, within: QuerySet[Job] | None = None) -> QuerySet[Job]:
    """All that a search finds, whatever it costs. Raises SearchError."""
    indexed, others = _conditions(parse(text), now)
    jobs = Job.objects.all() if within is None else within
    return jobs.filter(indexed).filter(others)


def _floor(jobs: QuerySet[Job]) -> UUID | None:
    """The id of the last of the newest `ROWS` rows; None when there are no more than that."""
    found = list(jobs.order_by("-pk").values_list("pk", flat=True)[ROWS - 1 : ROWS + 1])
    return found[0] if len(found) > 1 else None


def _conditions(terms: tuple[Term, ...], now: datetime) -> tuple[Q, Q]:
    """What indexes find, and the rest."""
    indexed, others = Q(), Q()
    for term in terms:
        condition = _condition(term, now)
        if _is_indexed(term):
            indexed &= condition
        else:
            others &= condition
    return indexed, others


def _condition(term: Term, now: datetime) -> Q:
    if not term.name:
        found = words(term.values, now)
    else:
        field = field_named(term.name)
        if term.operator not in field.conditions:
            raise SearchError(_wrong_operator(field, term))
        found = field.conditions[term.operator](term.values, now)
    return ~found if term.is_negated else found


def _wrong_operator(field: Field, term: Term) -> str:
    takes = ", ".join(f"{field.name}{operator}…" for operator in field.conditions)
    hint = f" For example {field.example}." if field.example else ""
    return f"{field.name} cannot be used with {term.operator!r}: write {takes}.{hint}"


def _is_indexed(term: Term) -> bool:
    if term.is_negated:
        return False
    return field_named(term.name).is_indexed if term.name else is_id(term.value)


def _narrows(term: Term) -> bool:
    """Whether a term leaves few enough rows to look at all of them without a window of time."""
    return _is_indexed(term) and term.name not in ("age", "created")
