"""Ledger beside broker: what each says, where they differ, and a repair that does exactly what it showed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from queueadmin import inspection, operations, selectors
from queueadmin.broker import get_ledger_broker
from queueadmin.exceptions import BrokerUnavailable
from queueadmin.inspection import Difference
from queueadmin.models import Job, SweepReport
from queueadmin.pages.base import url
from queueadmin.pages.workers import InHand, in_hand
from queueadmin.selectors import Worker
from queueadmin.states import State

_SHOWN = 20
_LISTED = 500
"""Claims that are read to be listed, the oldest first."""


@dataclass(frozen=True, kw_only=True)
class Claims:
    """Jobs in the hands of one worker process; `worker` is None when the ledger knows no such process."""

    worker_id: int | None
    worker: Worker | None
    jobs: int
    listed: tuple[InHand, ...] = ()
    """Those of them that may be nobody's, when it is suspect or has some that it does not know."""

    @property
    def more(self) -> int:
        """Claims that are not listed although the row is about them."""
        return max(0, self.jobs - len(self.listed)) if self.is_in_doubt else 0

    @property
    def is_in_doubt(self) -> bool:
        return self.is_suspect or self.unknown > 0

    @property
    def is_suspect(self) -> bool:
        """Whether nobody seems to work on them: the next rescue takes them back."""
        return self.worker is None or self.worker.state != "alive"

    @property
    def unknown(self) -> int:
        """Claims beyond what their live worker says it holds: it gives them back with its next beats."""
        if self.worker is None or self.is_suspect:
            return 0
        return max(0, self.jobs - self.worker.busy - self.worker.unwritten)


def truth(request: HttpRequest) -> dict[str, Any] | HttpResponse:
    """GET shows both sides (`?compare=yes` id by id); POST publishes what the broker lacks."""
    sets = get_ledger_broker().ready_sets
    if request.method == "POST":
        return _repair(request)
    overview = inspection.overview(sets)
    claims = _claims()
    compared: list[Difference] = []
    if request.GET.get("compare") == "yes" and overview.broker.up:
        compared = _compared([queue.summary.name for queue in overview.queues])
    return {
        "overview": overview,
        "claims": claims,
        "suspect": sum(claim.jobs for claim in claims if claim.is_suspect),
        "unwritten": sum(worker.unwritten for worker in overview.workers),
        "lag": max((worker.writer_lag for worker in overview.workers), default=0.0),
        "sweep": SweepReport.objects.filter(pk=1).first(),
        "compared": [_shown(difference) for difference in compared],
        "missing": sum(len(difference.missing) for difference in compared),
        "may_repair": request.user.has_perm("queueadmin.repair_queue"),
    }


def _compared(queues: list[str]) -> list[Difference]:
    sets = get_ledger_broker().ready_sets
    try:
        return [inspection.compare(sets, queue) for queue in queues]
    except BrokerUnavailable:
        return []


def _shown(difference: Difference) -> dict[str, Any]:
    return {
        "queue": difference.queue, "complete": difference.complete,
        "missing": len(difference.missing), "missing_ids": difference.missing[:_SHOWN],
        "ghosts": len(difference.ghosts), "ghost_ids": difference.ghosts[:_SHOWN],
    }  # fmt: skip


def _claims() -> list[Claims]:
    """Running jobs by the process that claimed them, those that nobody seems to work on first."""
    held = Job.objects.filter(state=State.PROCESSING).values_list("worker_id").annotate(n=Count("pk")).order_by()
    counts: Counter[int | None] = Counter(dict(held))
    known = {worker.id: worker for worker in selectors.workers(include_ended=True)}
    found = [Claims(worker_id=key, worker=known.get(key or 0), jobs=n) for key, n in counts.items()]
    return _with_jobs(sorted(found, key=lambda claim: (not claim.is_suspect, -claim.jobs)))


def _with_jobs(claims: list[Claims]) -> list[Claims]:
    """With the jobs of those that are in doubt: first those of which their worker has said nothing yet."""
    doubtful = [claim.worker_id for claim in claims if claim.is_in_doubt]
    mine = Q(worker_id__in=[worker_id for worker_id in doubtful if worker_id is not None])
    held = in_hand((mine | Q(worker_id=None)) if None in doubtful else mine, most=_LISTED)
    return [
        replace(claim, listed=tuple(sorted(held[claim.worker_id], key=lambda one: bool(one.stage))[:_SHOWN]))
        if claim.worker_id in doubtful
        else claim
        for claim in claims
    ]


def _repair(request: HttpRequest) -> HttpResponse:
    try:
        swept = operations.repair(
            by=request.user.get_username(), source="admin", user=request.user,
            reason=request.POST.get("reason", "")[:1_000],
        )  # fmt: skip
    except BrokerUnavailable as error:
        messages.error(request, f"{error} Nothing was changed; try again when the broker answers.")
    else:
        messages.success(
            request, f"{swept.republished} of {swept.pending} pending jobs were missing, and are published."
        )
    return HttpResponseRedirect(url("truth"))
