"""Stored objects that no task knows any more: results and uploads whose task is gone, emptied, or never came to be.

Retention removes the objects of the tasks that it has emptied, so there should be none. There are some all the same: a
store that was away then, an upload whose request was rolled back, a result whose writer died, a database that was
restored from a backup. Once a day the dispatcher has them found: everything that was stored is listed, page by page,
and compared with the ledger.

Deleting by what a database does *not* say is dangerous: with the wrong database everything is an orphan. So a sweep
removes nothing when most of what it finds is unknown, until a person says so. What belongs to an emptied task is known.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.utils import timezone

from documents.models import IngestionTask
from documents.storage import DocumentStore, ResultStore, StoredObject
from documents.storage.keys import UPLOAD_PREFIX, uploaded_for

logger = logging.getLogger(__name__)

SPARED = timedelta(days=1)
"""What is younger is left alone: it may belong to an attempt, or to a submission, that is not committed yet."""

_PAGE = 500
"""Tasks that are looked up with one query."""

_MOST = 10_000
"""Tasks whose objects one sweep removes; the rest waits for the next. Bounds the sweep's memory, too."""

_SUSPICIOUS = 100
"""From this many orphans on, it matters what share of everything they are."""

_REST_SECONDS = 0.2
"""Pause after each page: at most some 2,500 tasks a second are asked for, and the store has other clients."""

Rest = Callable[[float], object]
"""Waits that many seconds."""


@dataclass(frozen=True, kw_only=True)
class _Belongings:
    """What lies in one store for one task."""

    task_id: UUID
    objects: int
    bytes: int
    newest: datetime
    remove: Callable[[], object]


@dataclass(kw_only=True)
class Report:
    """What a sweep found. Sizes are bytes."""

    tasks: int = 0
    """Tasks that have objects."""

    results: int = 0
    """Unknown or emptied tasks with results."""

    uploads: int = 0
    """Unknown or emptied tasks with uploads."""

    objects: int = 0
    """Objects of these."""

    bytes: int = 0
    emptied: int = 0
    """Of the results and uploads, those of tasks that this database knows, and retention has emptied."""

    refused: bool = False
    """Nothing was removed, because most of what is stored is unknown to this database."""

    @property
    def orphans(self) -> int:
        return self.results + self.uploads

    @property
    def unknown(self) -> int:
        """Those of which this database knows nothing."""
        return self.orphans - self.emptied

    @property
    def is_suspicious(self) -> bool:
        return self.unknown >= _SUSPICIOUS and 2 * self.unknown > self.tasks

    def as_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


def sweep(
    *,
    results: ResultStore,
    documents: DocumentStore,
    dry_run: bool = False,
    by_hand: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    rest: Rest = lambda seconds: None,
    now: datetime | None = None,
) -> Report:
    """Find and remove what no task knows; with `dry_run` only find it. Repeating it is harmless.

    With `by_hand` it also removes when most of what is stored is unknown. Ends early, between two pages, once
    `stopped()`, and calls `rest` after each. Raises StorageUnavailable (retryable) or StorageDenied.
    """
    report, found = Report(), list[_Belongings]()
    before = (now or timezone.now()) - SPARED
    for belongings, kind in ((_results(results), "results"), (_uploads(documents), "uploads")):
        for page in _pages(belongings):
            emptied = _emptied(page)
            orphans = [one for one in _unwanted(page, emptied) if one.newest < before]
            _count(report, page, orphans, kind)
            report.emptied += sum(one.task_id in emptied for one in orphans)
            found += orphans[: _MOST - len(found)]
            rest(_REST_SECONDS)
            if stopped():
                return report
    report.refused = report.is_suspicious and not by_hand
    if report.refused:
        logger.error("most of what is stored belongs to no task: nothing was removed", extra=report.as_dict())
    elif not dry_run:
        _remove(found, stopped=stopped, rest=rest)
    if report.orphans and not report.refused:
        logger.warning("stored objects belonged to no task", extra={"dry_run": dry_run, **report.as_dict()})
    return report


def _results(store: ResultStore) -> Iterator[_Belongings]:
    return _by_task(store.stored(), lambda found: _task_of(found.key), lambda task, _: partial(store.delete, task))


def _uploads(store: DocumentStore) -> Iterator[_Belongings]:
    def remover(_: UUID, keys: Sequence[str]) -> Callable[[], None]:
        def remove() -> None:
            for key in keys:
                store.delete(UPLOAD_PREFIX + key)

        return remove

    return _by_task(store.stored(UPLOAD_PREFIX), lambda found: uploaded_for(UPLOAD_PREFIX + found.key), remover)


def _task_of(key: str) -> UUID | None:
    try:
        return UUID(key.partition("/")[0])
    except ValueError:
        return None


def _by_task(
    stored: Iterable[StoredObject],
    task_of: Callable[[StoredObject], UUID | None],
    remover: Callable[[UUID, Sequence[str]], Callable[[], object]],
) -> Iterator[_Belongings]:
    """What lies side by side for one task, together. Objects that are not named as ours are left alone."""
    for task_id, group in itertools.groupby(stored, key=task_of):
        if task_id is not None:
            objects = list(group)
            yield _Belongings(
                task_id=task_id,
                objects=len(objects),
                bytes=sum(one.bytes for one in objects),
                newest=max(one.modified for one in objects),
                remove=remover(task_id, [one.key for one in objects]),
            )


def _pages(belongings: Iterable[_Belongings]) -> Iterator[list[_Belongings]]:
    remaining = iter(belongings)
    while page := list(itertools.islice(remaining, _PAGE)):
        yield page


def _emptied(page: Sequence[_Belongings]) -> dict[UUID, bool]:
    """Whether retention has emptied them, for those tasks that are there."""
    tasks = IngestionTask.objects.filter(pk__in=[one.task_id for one in page])
    return {pk: cleaned_at is not None for pk, cleaned_at in tasks.values_list("pk", "job__cleaned_at")}


def _unwanted(page: Sequence[_Belongings], emptied: dict[UUID, bool]) -> list[_Belongings]:
    """Those whose task is not there, or is emptied."""
    return [one for one in page if emptied.get(one.task_id, True)]


def _count(report: Report, page: Sequence[_Belongings], orphans: Sequence[_Belongings], kind: str) -> None:
    report.tasks += len(page)
    report.objects += sum(one.objects for one in orphans)
    report.bytes += sum(one.bytes for one in orphans)
    setattr(report, kind, getattr(report, kind) + len(orphans))


def _remove(found: Iterable[_Belongings], *, stopped: Callable[[], bool], rest: Rest) -> None:
    for page in _pages(found):
        for one in _unwanted(page, _emptied(page)):  # asked again: the listing may have taken long
            one.remove()
        rest(_REST_SECONDS)
        if stopped():
            return
